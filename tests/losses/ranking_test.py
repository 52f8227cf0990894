"""Tests of losses of rankings, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import losses


def test_binary_is_the_mean_log_loss():
  from sklearn.metrics import log_loss

  rng = np.random.default_rng(0)
  logits = rng.normal(size=(7, 5)).astype(np.float32)
  found = losses.binary_ranking(logits[:, 0], logits[:, 1:])
  for row in range(7):
    probabilities = 1 / (1 + np.exp(-logits[row]))
    expected = log_loss([1, 0, 0, 0, 0], probabilities)
    assert found[row] == pytest.approx(expected, rel=1e-5)


def test_softmax_is_the_cross_entropy_of_the_first():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, 7, 5))
  found = losses.softmax_ranking(logits[..., 0], logits[..., 1:])
  expected = np.log(np.exp(logits).sum(-1)) - logits[..., 0]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_correction_makes_a_batch_by_popularity_the_softmax_over_all_items():
  """If an item has q of the rows of a batch, the corrected sum over it is exact.

  A sum over rows of exp(logit) / q is then that over all items, times the number of
  rows: the loss is the cross-entropy over all items plus the logarithm of that number.
  """
  counts = np.array([1, 2, 3, 6])  # of four items, in a batch of 12
  items = np.repeat(np.arange(4), counts)
  scores = np.random.default_rng(0).normal(size=(12, 4))  # users by items
  log_q = np.log(counts / 12)[items]
  every = ~np.eye(12, dtype=bool)
  found = losses.in_batch_softmax(scores[:, items], log_q, jnp.asarray(every))
  exact = np.log(np.exp(scores).sum(1)) - scores[np.arange(12), items]
  # The item's own logit is corrected, too.
  np.testing.assert_allclose(found, exact + np.log(12) + log_q, rtol=1e-5)
  without = losses.in_batch_softmax(scores[:, items], 0 * log_q, jnp.asarray(every))
  assert np.abs(without - np.log(12) - exact).max() > 0.1


def test_rows_that_do_not_count_have_no_gradient():
  others = np.array([[False, True, False], [True, False, True], [False, True, False]])
  gradient = jax.grad(lambda x: losses.in_batch_softmax(
    x, jnp.zeros(3), jnp.asarray(others)).sum())(jnp.ones((3, 3)))
  assert (np.asarray(gradient)[~others & ~np.eye(3, dtype=bool)] == 0).all()
  assert (np.asarray(gradient)[others] > 0).all()
