"""Tests of losses against real-valued targets, by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error

from bigmodels import losses


@pytest.mark.parametrize('loss, expected', [
  (losses.squared_error, mean_squared_error),
  (losses.absolute_error, mean_absolute_error),
])
def test_errors_are_means_over_the_targets(loss, expected):
  a = (3 * np.random.default_rng(0).normal(size=(12, 4))).astype(np.float32)
  b = a[::-1]
  np.testing.assert_allclose(
    loss(a, b), [expected(x, y) for x, y in zip(a, b, strict=True)], rtol=1e-6)
