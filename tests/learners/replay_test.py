"""Tests of bigmodels.learners.replay against a ring of NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.learners import replay

ITEM = {'x': jax.ShapeDtypeStruct((2,), jnp.float32),
        'n': jax.ShapeDtypeStruct((), jnp.int32)}


def _items(start, count):
  numbers = np.arange(start, start + count)
  return {'x': np.stack([numbers, -numbers], 1).astype(np.float32),
          'n': numbers.astype(np.int32)}


@pytest.mark.parametrize('capacity', [1, 5, 16])
@pytest.mark.parametrize('seed', range(3))
def test_equals_a_ring_under_random_operations(capacity, seed):
  rng = np.random.default_rng(seed)
  buffer, ring, start = replay.init(ITEM, capacity), [], 1
  add = jax.jit(replay.add)
  sample = jax.jit(replay.sample, static_argnums=2)
  for i in range(60):
    count = int(rng.integers(1, capacity + 1))
    buffer = add(buffer, _items(start, count))
    ring = (ring + list(range(start, start + count)))[-capacity:]
    start += count
    assert int(replay.size(buffer)) == len(ring)
    kept = np.sort(np.asarray(buffer.items['n']))[-len(ring):]
    np.testing.assert_array_equal(kept, np.sort(ring))
    found = sample(buffer, jax.random.PRNGKey(i), 40)
    assert set(found['n'].tolist()) <= set(ring)
    np.testing.assert_array_equal(found['x'][:, 0], found['n'])
    np.testing.assert_array_equal(found['x'][:, 1], -found['n'])


def test_items_are_sampled_uniformly():
  buffer = replay.add(replay.init(ITEM, 8), _items(0, 5))
  drawn = replay.sample(buffer, jax.random.PRNGKey(0), 50_000)['n']
  counts = np.bincount(drawn, minlength=8)
  assert not counts[5:].any()
  # Five deviations of a count of 10,000 in 50,000.
  np.testing.assert_allclose(counts[:5], 10_000, atol=5 * np.sqrt(10_000 * 0.8))


def test_more_items_at_once_than_the_capacity():
  with pytest.raises(ValueError, match='6 items cannot be added at once to a buffer'):
    replay.add(replay.init(ITEM, 5), _items(0, 6))
