"""bigmodels.parallel.random: parts of a draw against JAX's own draw of the whole."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p

from bigmodels.layers.stack import Stack
from bigmodels.parallel.random import part_of

KEY = jax.random.PRNGKey(7)
PARTS, EACH = 3, 4
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


def equal_stretches(draw, key=KEY):
  whole = np.asarray(draw(key, PARTS * EACH))
  parts = [np.asarray(draw(part_of(key, index), EACH)) for index in range(PARTS)]
  assert len({part.tobytes() for part in parts}) == PARTS
  assert parts[0].dtype == whole.dtype
  np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize('draw', DRAWS.values(), ids=DRAWS)
def test_parts_are_stretches_of_the_whole_draw(draw):
  equal_stretches(draw)


@pytest.mark.parametrize('derive', DERIVED.values(), ids=DERIVED)
def test_keys_folded_and_split_off_draw_parts_too(derive):
  equal_stretches(lambda key, n: jax.random.normal(derive(key), (n, 3)))


def test_numbers_of_64_bits():
  with jax.enable_x64(True):
    equal_stretches(lambda key, n: jax.random.uniform(key, (n, 3), jnp.float64))
    equal_stretches(lambda key, n: jax.random.bits(key, (n, 3), jnp.uint64))


@pytest.mark.parametrize('name', ['randint', 'bits of 16'])
def test_traced_indices_under_jit_vmap_and_scan(name):
  draw = DRAWS[name]
  whole = np.asarray(draw(KEY, PARTS * EACH)).reshape(PARTS, EACH, -1)

  @jax.jit
  def part(index):
    return draw(part_of(KEY, index), EACH)

  indices = jnp.arange(PARTS)
  for index in range(PARTS):
    np.testing.assert_array_equal(part(index), whole[index])
  np.testing.assert_array_equal(jax.vmap(part)(indices), whole)
  _, scanned = jax.lax.scan(lambda _, index: (None, part(index)), None, indices)
  np.testing.assert_array_equal(scanned, whole)
  keys = jax.vmap(partial(part_of, KEY))(indices)  # of a batch with an axis of parts
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
def test_flax_drops_out_of_a_part_what_it_drops_of_the_whole(module):
  ones = jnp.ones((PARTS * EACH, 20))
  whole = module.apply({}, ones, rngs={'dropout': KEY})
  assert len(np.unique(whole, axis=0)) == PARTS * EACH
  for index in range(PARTS):
    part = module.apply({}, ones[:EACH], rngs={'dropout': part_of(KEY, index)})
    np.testing.assert_array_equal(part, whole[index * EACH : (index + 1) * EACH])


@pytest.mark.parametrize('index, size', [
  (65535, 2**16 + 1),  # begins at 2**32 - 1: the carry comes within the part
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
  actual = jax.random.bits(part_of(KEY, index), (size,), jnp.uint32)
  np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('shape, size', [((0, 3), '0'), ((2**16, 2**16), '4294967296')])
def test_draws_that_cannot_be_counted_are_refused(shape, size):
  with pytest.raises(ValueError, match=f'a draw of {size} numbers for a part'):
    jax.random.bits(part_of(KEY, 1), shape)


def test_an_index_below_0_is_refused():
  with pytest.raises(OverflowError):
    part_of(KEY, -1)
