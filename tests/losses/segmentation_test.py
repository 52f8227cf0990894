"""Tests of losses.segmentation: the Dice loss against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import losses

rng = np.random.default_rng(0)
LOGITS = rng.normal(size=(3, 5, 4, 6)).astype(np.float32)
LABELS = rng.integers(0, 5, (3, 5, 4))  # no pixel of the last class
COUNTED = rng.random((3, 5, 4)) < 0.7
dice = jax.jit(losses.dice, static_argnames='smooth')


def by_definition(logits, labels, counted, smooth):
  """One image, a pixel at a time."""
  p = np.exp(logits - logits.max(-1, keepdims=True)).astype(np.float64)
  p /= p.sum(-1, keepdims=True)
  values = []
  for c in range(logits.shape[-1]):
    both = mine = true = 0.0
    for place in zip(*np.nonzero(counted), strict=True):
      both += p[place][c] * (labels[place] == c)
      mine += p[place][c]
      true += labels[place] == c
    values.append((2 * both + smooth) / (mine + true + smooth))
  return 1 - np.mean(values)


@pytest.mark.parametrize('smooth', [1.0, 0.01])
def test_is_its_definition(smooth):
  labels = np.where(COUNTED, LABELS, 255)
  found = dice(LOGITS, labels, COUNTED, smooth=smooth)
  expected = [by_definition(*each, smooth) for each in zip(
    LOGITS, LABELS, COUNTED, strict=True)]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_closed_forms():
  labels = np.array([[[0, 0, 1, 1]]])
  counted = np.ones(labels.shape, bool)
  sure = 50 * np.eye(2, dtype=np.float32)[labels]
  assert dice(sure, labels, counted)[0] == pytest.approx(0, abs=1e-6)
  # All wrong: no intersection, four pixels on both sides of each class.
  assert dice(sure, 1 - labels, counted)[0] == pytest.approx(1 - 1 / 5, abs=1e-6)
  # One half everywhere: 2 * 1 + 1 over 2 + 2 + 1.
  assert dice(0 * sure, labels, counted)[0] == pytest.approx(1 - 3 / 5)
  assert dice(sure, labels, ~counted)[0] == 0


def test_gradients_of_pixels_that_do_not_count_are_zero():
  slope = jax.jit(jax.grad(lambda x: losses.dice(
    x, jnp.asarray(LABELS), COUNTED).sum()))(LOGITS)
  assert np.isfinite(slope).all() and not slope[~COUNTED].any()
  assert np.abs(slope[COUNTED]).max(-1).all()


def test_smooth_must_be_above_0():
  with pytest.raises(ValueError, match='smooth must be > 0, got 0'):
    losses.dice(LOGITS, LABELS, COUNTED, smooth=0)
