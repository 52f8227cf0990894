"""Tests of what counts as a logged value."""

import math

import numpy as np
import pytest

from bigmodels.logs import values


@pytest.mark.parametrize(('value', 'expected'), [
  (3, 3.0), (0.5, 0.5), (None, math.nan), ([1, 2.0], [1.0, 2.0]),
  ([1.0, None], [1.0, math.nan]), (np.float32(2), 2.0), ([math.inf], [math.inf])])
def test_numbers_and_lists_of_numbers_are_values(value, expected):
  found = values.members(value)
  assert found.dtype == np.float64
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('value', [
  'text', '3', b'3', {'a': 1}, [], [[1, 2]], [[1], [2, 3]], ['a'], [{}], object()])
def test_other_values_are_none(value):
  assert values.members(value) is None and values.mean(value) is None


def test_the_mean_is_that_of_the_members():
  assert values.mean([1.0, 2.0, 6.0]) == 3 and values.mean(4) == 4
  assert values.mean([1.0, None]) == 1 and math.isnan(values.mean([None, None]))
  assert math.isnan(values.mean(None))


def test_a_line_has_the_monitored_metric_the_first_ones_and_the_loss():
  record = {'test/accuracy': 0.5, 'test/roc_auc': 0.75, 'test/brier': [0.0, 0.5],
            'test/f1/1': 0.1, 'test/loss': 2, 'train/loss': 1, 'other/loss': 3,
            'test/matrix': [[1, 2]], 'test/log_loss': 1, 'test/kappa': 1,
            'test/matthews': 1}
  assert values.line(record, None) == (
    'test/accuracy 0.5000, test/roc_auc 0.7500, test/loss 2.0000, other/loss 3.0000')
  assert values.line(record, 'test/brier') == (
    'test/brier 0.2500, test/accuracy 0.5000, test/loss 2.0000, other/loss 3.0000')
  assert values.line(record, 'test/f1/1') == (
    'test/f1/1 0.1000, test/accuracy 0.5000, test/loss 2.0000, other/loss 3.0000')
  assert values.line({}, None) == ''


def test_a_line_has_all_of_a_few_metrics():
  record = {'test/r2': 0.5, 'test/mae': 1, 'test/mse': 2, 'test/rms': 3, 'test/loss': 4}
  assert values.line(record, None) == (
    'test/r2 0.5000, test/mae 1.0000, test/mse 2.0000, test/rms 3.0000, '
    'test/loss 4.0000')
