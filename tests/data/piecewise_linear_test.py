"""The piecewise-linear encoding against its definition."""

import numpy as np
import pytest

from bigmodels.data import piecewise_linear


def encode(train, values, **settings):
  step = piecewise_linear(**settings)
  parameters = step.fit({'x': np.asarray(train, np.float64)})
  return step.apply(parameters, {'x': np.asarray(values, np.float64)})


def test_few_values_are_the_edges():
  found = encode([0, 0, 1, 5], [-3, 0, 0.5, 1, 2, 5, 9])
  assert [*found] == ['x 0 to 1', 'x 1 to 5']
  np.testing.assert_allclose(found['x 0 to 1'], [0, 0, 0.5, 1, 1, 1, 1])
  np.testing.assert_allclose(found['x 1 to 5'], [0, 0, 0, 0, 0.25, 1, 1])


def test_the_edges_are_quantiles_of_rows_and_of_distinct_values():
  rng = np.random.default_rng(0)
  train = np.where(np.arange(1000) < 900, 0.0, rng.uniform(1, 100, 1000))
  limits = piecewise_linear(bins=8).fit({'x': train})['x']
  at = np.linspace(0, 1, 5)
  expected = np.union1d(np.quantile(train, at), np.quantile(np.unique(train), at))
  np.testing.assert_allclose(limits, expected)
  # Where nine of ten rows are 0, quantiles of rows alone would be 0 and the maximum.
  assert len(limits) == 5


def test_the_sum_is_monotonic_and_loses_no_order_within_the_range():
  train = np.random.default_rng(0).normal(size=500)
  total = sum(encode(train, np.sort(train)).values())
  assert np.all(np.diff(total) > 0)


def test_missing_values_stay_missing_and_others_are_left_alone():
  step = piecewise_linear()
  frame = {'x': np.array([1.0, np.nan, 3.0, 2.0]), 'flag': np.array([0.0, 1, 1, 0]),
           'text': np.array(['a', 'b', '', 'a'], object)}
  found = step.apply(step.fit(frame), frame)
  assert [*found] == ['x 1 to 2', 'x 2 to 3', 'flag', 'text']
  np.testing.assert_array_equal(found['x 1 to 2'], [0, np.nan, 1, 1])
  assert step.describe(step.fit(frame), frame, found) == 'x as 2 columns'


def test_bins_out_of_range_are_refused():
  with pytest.raises(ValueError, match='bins: must be >= 2, got 1'):
    piecewise_linear(1)
