"""Tests of bigmodels.data.transforms.excerpts: which steps, and which count."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.data.transforms import excerpt

ROWS, SIZE = 400, 50


def batch(lengths, size=SIZE):
  steps = np.arange(1, size + 1) * (np.arange(size) < np.array(lengths)[:, None])
  return {'inputs': jnp.asarray(steps), 'lengths': jnp.asarray(lengths)}


def test_steps_of_an_excerpt_follow_one_another():
  lengths = np.random.default_rng(0).integers(0, SIZE + 1, ROWS)
  found = jax.jit(partial(excerpt, length=8, context=5))(
    batch(lengths), jax.random.key(0))
  inputs, weights = np.asarray(found['inputs']), np.asarray(found['weights'])
  assert inputs.shape == weights.shape == (ROWS, 13)
  scored, starts = 0, set()
  for row, whole in enumerate(lengths):
    kept = int(found['lengths'][row])
    start = inputs[row, 0] - 1 if kept else 0
    np.testing.assert_array_equal(
      inputs[row], [i + 1 if i < whole else 0 for i in range(start, start + 13)])
    assert kept == min(13, max(0, whole - start))
    if start == 0:  # nothing precedes it
      np.testing.assert_array_equal(weights[row], np.arange(13) < whole)
    else:  # some context, and then all that follows
      first = int(weights[row].argmax())
      assert first >= 5
      np.testing.assert_array_equal(weights[row], (np.arange(13) >= first) & (
        np.arange(13) < kept))
      assert weights[row].sum() >= 8
    scored += weights[row].sum()
    starts.add(int(start))
  assert len(starts) > 30 and scored > 0


def test_every_step_counts_at_times():
  counts = np.zeros(SIZE + 1)
  for seed in range(20):
    found = excerpt(batch([SIZE] * 50), jax.random.key(seed), length=8, context=5)
    counts += np.bincount(np.asarray(found['inputs']).reshape(-1), np.asarray(
      found['weights']).reshape(-1), SIZE + 1)
  assert (counts[1:] > 0).all()
  assert counts[15:35].std() < 0.2 * counts[15:35].mean()


def test_short_inputs_and_no_lengths():
  inputs = jnp.arange(12.0).reshape(2, 6)
  found = excerpt({'inputs': inputs}, jax.random.key(0), length=8, context=5)
  np.testing.assert_array_equal(found['inputs'], inputs)
  np.testing.assert_array_equal(found['weights'], np.ones((2, 6)))
  frames = jnp.zeros((2, 30, 3))
  assert excerpt({'inputs': frames}, jax.random.key(0), length=4)['inputs'].shape == (
    2, 4, 3)


@pytest.mark.parametrize(('given', 'message'), [
  ({'length': 0}, 'excerpt: length must be >= 1, got 0'),
  ({'length': 4, 'context': -1}, 'excerpt: context must be >= 0, got -1')])
def test_what_is_refused(given, message):
  with pytest.raises(ValueError, match=message):
    excerpt(batch([5, 5]), jax.random.key(0), **given)
