"""Tests of losses.style against NumPy's sums and PyTorch."""

import numpy as np
import pytest

from bigmodels import losses
from tests.losses.grams import gram

RNG = np.random.default_rng(0)
ONE, OTHER = RNG.normal(size=(2, 3, 5, 4, 6)).astype(np.float32)


def test_gram_matrices_are_mean_products_of_channels():
  np.testing.assert_allclose(
    losses.gram_matrix(ONE), [gram(each) for each in ONE], rtol=1e-5, atol=1e-7)


def test_a_gram_matrix_does_not_depend_on_where_and_how_often():
  shuffled = ONE.reshape(3, 20, 6)[:, RNG.permutation(20)].reshape(3, 4, 5, 6)
  repeated = np.concatenate([ONE, ONE, ONE], 1)
  for each in (shuffled, repeated):
    np.testing.assert_allclose(losses.gram_matrix(each), losses.gram_matrix(ONE),
                               rtol=1e-5, atol=1e-7)


def test_distances():
  np.testing.assert_allclose(
    losses.content_distance(ONE, OTHER),
    [np.mean((a.astype(float) - b) ** 2) for a, b in zip(ONE, OTHER, strict=True)],
    rtol=1e-5)
  np.testing.assert_allclose(
    losses.style_distance(losses.gram_matrix(ONE), losses.gram_matrix(OTHER)),
    [np.sum((gram(a) - gram(b)) ** 2) for a, b in zip(ONE, OTHER, strict=True)],
    rtol=1e-5)


def test_style_is_four_times_that_of_gatys():
  """1 / (4 N^2 M^2) of sums over M positions, of N channels (equation 4)."""
  positions, channels = 20, 6
  one, other = (each[0].reshape(positions, channels).astype(float)
                for each in (ONE, OTHER))
  theirs = np.sum((one.T @ one - other.T @ other) ** 2) / (
    4 * channels**2 * positions**2)
  ours = losses.style_distance(losses.gram_matrix(ONE), losses.gram_matrix(OTHER))[0]
  assert ours == pytest.approx(4 * theirs, rel=1e-5)


def test_total_variation():
  columns = np.arange(4.0)[:, None] * np.ones((1, 5, 4, 1))
  assert losses.total_variation(columns)[0] == 1  # beside, 0 below
  assert losses.total_variation(3 * columns.swapaxes(1, 2))[0] == 9
  below, beside = (np.diff(ONE.astype(float), axis=axis) for axis in (1, 2))
  np.testing.assert_allclose(
    losses.total_variation(ONE), (below**2).mean((1, 2, 3)) + (beside**2).mean(
      (1, 2, 3)), rtol=1e-5)


@pytest.mark.reference
def test_as_in_pytorch():
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional
  one, other = (torch.tensor(each.transpose(0, 3, 1, 2).copy())
                for each in (ONE, OTHER))

  def gram(x):
    rows = x.flatten(2)
    return rows @ rows.transpose(1, 2) / x[0].numel()

  def mean_square(a, b):
    return functional.mse_loss(a, b, reduction='none').mean((1, 2, 3))

  pairs = (
    (losses.content_distance(ONE, OTHER), mean_square(one, other)),
    (losses.gram_matrix(ONE), gram(one)),
    (losses.style_distance(losses.gram_matrix(ONE), losses.gram_matrix(OTHER)),
     functional.mse_loss(gram(one), gram(other), reduction='none').sum((1, 2))),
    (losses.total_variation(ONE), mean_square(one[:, :, 1:], one[:, :, :-1])
     + mean_square(one[..., 1:], one[..., :-1])))
  for ours, theirs in pairs:
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-7)
