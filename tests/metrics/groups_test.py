"""Tests of metrics.error_by_group."""

import numpy as np
import pytest

from bigmodels import metrics


def test_each_group_and_the_mean_over_groups():
  right = np.array([1, 1, 0, 1, 0, 0, 1], bool)
  found = metrics.error_by_group(right, np.array([0, 0, 0, 0, 2, 2, 3]), 'abcd')
  # The mean of 1/4, 1 and 0, not of the seven examples.
  assert found == {'mean_error': pytest.approx(5 / 12), 'failed': 2, 'error/a': 0.25,
                   'error/c': 1.0, 'error/d': 0.0}
  assert metrics.error_by_group(right[:0], np.zeros(0, int), 'ab') == {}


def test_five_percent_is_not_failed():
  right = np.arange(40) >= 2
  assert metrics.error_by_group(right, np.zeros(40, int), 'a')['failed'] == 0
  assert metrics.error_by_group(right[:39], np.zeros(39, int), 'a')['failed'] == 1
