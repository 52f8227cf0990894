"""bigmodels.parallel.random: slices of a draw against JAX's own draw of the whole."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p

from bigmodels.layers.stack import Stack
from bigmodels.parallel.random import slice_key

KEY = jax.random.PRNGKey(7)
SLICES, EACH = 3, 4
# (key, examples) -> draws
DRAWS = {
  'uniform': lambda key, n: jax.random.uniform(key, (n, 5)),
  'uniform of 1 axis': lambda key, n: jax.random.uniform(key, (n,)),
  'uniform bfloat16': lambda key, n: jax.random.uniform(key, (n, 3), jnp.bfloat16),
  'normal': lambda key, n: jax.random.normal(key, (n, 2, 3)),
  'normal float16': lambda key, n: jax.random.normal(key, (n, 3), jnp.float16),
  'bernoulli': lambda key, n: jax.random.bernoulli(key, 0.3, (n, 40)),
  'randint': lambda key, n: jax.random.randint(key, (n, 2), 0, jnp.array([5, 1000])),
  'categorical': lambda key, n: jax.random.categorical(key, jnp.zeros((n, 9))),
  'bits of 8': lambda key, n: jax.random.bits(key, (n, 3), jnp.uint8),
  'bits of 16': lambda key, n: jax.random.bits(key, (n, 3), jnp.uint16),
  'bits of 32': lambda key, n: jax.random.bits(key, (n, 3), jnp.uint32),
}
DERIVED = {
  'itself': lambda key: key,
  'folded': lambda key: jax.random.fold_in(key, 2**31 + 5),
  'split': lambda key: jax.random.split(key)[1],
  'split in two axes': lambda key: jax.random.split(key, (2, 3))[1, 2],
  'folded and split': lambda key: jax.random.split(jax.random.fold_in(key, 3), 4)[2],
}


def assert_equal_slices(draw, key=KEY):
  whole = np.asarray(draw(key, SLICES * EACH))
  slices = [np.asarray(draw(slice_key(key, index), EACH)) for index in range(SLICES)]
  assert len({each.tobytes() for each in slices}) == SLICES
  assert slices[0].dtype == whole.dtype
  np.testing.assert_array_equal(np.concatenate(slices), whole)


@pytest.mark.parametrize('draw', DRAWS.values(), ids=DRAWS)
def test_draws_are_slices_of_the_whole_draw(draw):
  assert_equal_slices(draw)


@pytest.mark.parametrize('derive', DERIVED.values(), ids=DERIVED)
def test_keys_folded_and_split_off_draw_slices_too(derive):
  assert_equal_slices(lambda key, n: jax.random.normal(derive(key), (n, 3)))


def test_numbers_of_64_bits():
  with jax.enable_x64(True):
    assert_equal_slices(lambda key, n: jax.random.uniform(key, (n, 3), jnp.float64))
    assert_equal_slices(lambda key, n: jax.random.bits(key, (n, 3), jnp.uint64))


@pytest.mark.parametrize('name', ['randint', 'bits of 16'])
def test_traced_indices_under_jit_vmap_and_scan(name):
  draw = DRAWS[name]
  whole = np.asarray(draw(KEY, SLICES * EACH)).reshape(SLICES, EACH, -1)

  @jax.jit
  def drawn(index):
    return draw(slice_key(KEY, index), EACH)

  indices = jnp.arange(SLICES)
  for index in range(SLICES):
    np.testing.assert_array_equal(drawn(index), whole[index])
  np.testing.assert_array_equal(jax.vmap(drawn)(indices), whole)
  _, scanned = jax.lax.scan(lambda _, index: (None, drawn(index)), None, indices)
  np.testing.assert_array_equal(scanned, whole)
  keys = jax.vmap(partial(slice_key, KEY))(indices)  # of a batch with an axis of slices
  np.testing.assert_array_equal(jax.vmap(lambda key: draw(key, EACH))(keys), whole)


class Dropped(nn.Module):
  """Two dropouts, the second within a block of a stack."""

  @nn.compact
  def __call__(self, x):
    x = nn.Dropout(0.5, deterministic=False)(x)
    return x + Stack(Residue, depth=3)(x, train=True)


class Residue(nn.Module):
  @nn.compact
  def __call__(self, x, *, train):
    return x + nn.Dropout(0.3, deterministic=not train)(x)


@pytest.mark.parametrize('module', [nn.Dropout(0.5, deterministic=False), Dropped()],
                         ids=['Dropout', 'Stack'])
def test_dropout_of_a_slice_is_that_of_the_whole(module):
  ones = jnp.ones((SLICES * EACH, 20))
  whole = module.apply({}, ones, rngs={'dropout': KEY})
  assert len(np.unique(whole, axis=0)) == SLICES * EACH
  for index in range(SLICES):
    found = module.apply({}, ones[:EACH], rngs={'dropout': slice_key(KEY, index)})
    np.testing.assert_array_equal(found, whole[index * EACH : (index + 1) * EACH])


@pytest.mark.parametrize('index, size', [
  (65535, 2**16 + 1),  # begins at 2**32 - 1: the carry occurs within the slice
  (65535, 2**18 + 65535),  # the halves of the product carry into each other
  (50001, 2**18 + 7),
  (3, 1000),
])
def test_offsets_of_more_than_32_bits(index, size):
  counts = np.uint64(index * size) + np.arange(size, dtype=np.uint64)
  first, second = threefry2x32_p.bind(
    *(jnp.full(size, word) for word in KEY),
    jnp.asarray((counts >> np.uint64(32)).astype(np.uint32)),
    jnp.asarray((counts & np.uint64(2**32 - 1)).astype(np.uint32)))
  expected = np.asarray(first) ^ np.asarray(second)
  actual = jax.random.bits(slice_key(KEY, index), (size,), jnp.uint32)
  np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('shape, size', [((0, 3), '0'), ((2**16, 2**16), '4294967296')])
def test_draws_that_cannot_be_counted_are_refused(shape, size):
  with pytest.raises(ValueError, match=f'< 2\\*\\*32 numbers, got {size}$'):
    jax.random.bits(slice_key(KEY, 1), shape)


def test_an_index_below_0_is_refused():
  with pytest.raises(OverflowError):
    slice_key(KEY, -1)
