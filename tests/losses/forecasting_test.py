"""Tests of bigmodels.losses.forecasting against scikit-learn and a closed form."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_pinball_loss

from bigmodels import losses

RNG = np.random.default_rng(0)


def test_pinball_is_scikit_learns():
  levels = (0.1, 0.5, 0.9)
  predictions = RNG.normal(size=(5, 4, 3)).astype(np.float32)
  targets = RNG.normal(size=(5, 4)).astype(np.float32)
  found = losses.pinball(predictions, targets, levels)
  assert found.shape == (5, 4)
  expected = np.mean([mean_pinball_loss(
    targets.ravel(), predictions[..., i].ravel(), alpha=level)
    for i, level in enumerate(levels)])
  assert float(found.mean()) == pytest.approx(expected, rel=1e-5)


def test_quantiles_of_a_sample_have_the_least_loss():
  sample = RNG.exponential(size=2001).astype(np.float32)
  for level in (0.1, 0.5, 0.9):
    at = np.linspace(0.01, 4, 800, dtype=np.float32)
    loss = losses.pinball(at[:, None, None], sample, (level,)).mean(1)
    assert at[int(np.argmin(loss))] == pytest.approx(
      np.quantile(sample, level), abs=0.01)


def test_twice_the_loss_of_many_quantiles_is_the_crps_of_a_normal_distribution():
  """Gneiting and Raftery, 2007, equation 5."""
  levels = (np.arange(2000) + 0.5) / 2000
  for y in (-1.5, 0.0, 2.0):
    exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    quantiles = stats.norm.ppf(levels).astype(np.float32)
    found = 2 * losses.pinball(quantiles, np.float32(y), levels)
    assert float(found) == pytest.approx(exact, abs=1e-3)
