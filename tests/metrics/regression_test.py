"""Tests of metrics.regression against scikit-learn and definitions written out."""

import math

import numpy as np
import pytest
from sklearn import metrics as scikit

from bigmodels import metrics


@pytest.mark.parametrize('targets', [1, 3])
def test_regression_equals_definitions_and_scikit_learn(targets):
  rng = np.random.default_rng(0)
  y = (100 + 5 * rng.normal(size=(50, targets))).astype(np.float32)
  p = y + rng.normal(size=y.shape).astype(np.float32)
  result = metrics.regression({'targets': y, 'predictions': p})
  y, p = y.astype(np.float64), p.astype(np.float64)
  errors = y - p
  assert result['mse'] == pytest.approx(np.mean(errors**2))
  assert result['mae'] == pytest.approx(np.mean(np.abs(errors)))
  explained = 1 - (errors**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
  assert result['r2'] == pytest.approx(explained.mean())
  assert result['r2'] == pytest.approx(scikit.r2_score(y, p))


@pytest.mark.parametrize('y', [
  np.full((7, 1), 0.1, np.float32),
  np.stack([np.full(7, 1 / 3), np.arange(7)], -1).astype(np.float32),
  np.ones((1, 1), np.float32),
  np.full((3, 1), 0.1),  # whose deviation in float64 is 1.4e-17
  np.zeros((5, 1)), np.full((9, 3), 1e-3),
])
def test_targets_that_never_change_leave_r2_out(y):
  result = metrics.regression({'targets': y, 'predictions': y + 2})
  assert set(result) == {'mse', 'mae'}
  assert result['mse'] == pytest.approx(4)
  assert result['mae'] == pytest.approx(2)


# R2 by hand: 1 - sum of squared errors / sum of squared distances from the mean.
@pytest.mark.parametrize('targets, predictions, mse, mae, r2', [
  ([0, 2], [0, 2], 0, 0, 1),
  ([0, 2], [1, 1], 1, 1, 0),
  ([0, 2], [2, 0], 4, 2, -3),
  ([1, 2, 3], [1, 2, 6], 3, 1, -3.5),
  ([5], [3], 4, 2, None),  # one example
  ([5, 5], [5, 5], 0, 0, None),
  ([5, 5], [4, 7], 2.5, 1.5, None),
  ([[0, 5], [2, 5]], [[0, 5], [2, 5]], 0, 0, None),
  ([[0, 1], [2, 3]], [[0, 1], [2, 3]], 0, 0, 1),
  ([[0, 1], [2, 3]], [[1, 1], [1, 3]], 0.5, 0.5, 0.5),  # the mean of 0 and 1
  ([1e9, 1e9 + 64], [1e9, 1e9 + 64], 0, 0, 1),
  ([1e-30, 2e-30], [1e-30, 2e-30], 0, 0, 1),
])
def test_regression_by_hand(targets, predictions, mse, mae, r2):
  targets, predictions = (np.array(x, np.float32).reshape(len(x), -1)
                          for x in (targets, predictions))
  expected = {'mse': mse, 'mae': mae} | ({} if r2 is None else {'r2': r2})
  assert metrics.regression({'targets': targets, 'predictions': predictions}) == (
    pytest.approx(expected))


def test_targets_and_predictions_are_never_broadcast():
  out = {'targets': np.zeros(3), 'predictions': np.zeros((3, 1))}
  with pytest.raises(ValueError, match=r'targets are \(3,\), predictions \(3, 1\)'):
    metrics.regression(out)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_targets_not_finite_give_nan(bad):
  y = np.arange(4.0)[:, None]
  result = metrics.regression({'targets': np.where(y == 2, bad, y), 'predictions': y})
  assert all(math.isnan(value) for value in result.values())


@pytest.mark.parametrize('bad', [np.nan, -np.inf])
def test_predictions_not_finite_give_nan(bad):
  y = np.arange(4.0)[:, None]
  result = metrics.regression({'targets': y, 'predictions': np.where(y == 2, bad, y)})
  assert set(result) == {'mse', 'mae'}
  assert all(math.isnan(value) for value in result.values())


def test_weights_are_repetitions():
  rng = np.random.default_rng(0)
  outputs = {name: rng.normal(size=(20, 2)) for name in ('targets', 'predictions')}
  times = np.arange(20) % 3
  repeated = {name: np.repeat(x, times, 0) for name, x in outputs.items()}
  assert metrics.regression(outputs | {'weights': times}) == pytest.approx(
    metrics.regression(repeated))
  assert metrics.regression(outputs | {'weights': np.zeros(20)}) == {}
