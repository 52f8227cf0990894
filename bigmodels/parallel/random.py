"""Random keys that draw for a part of a batch what the whole batch would get.

A batch that is cut into equal parts, over devices or over time, is to see the same
dropout and augmentation as in one piece. JAX's threefry generator is counter-based
(Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011): number `i` of a
draw is a hash of the key and `i`. So part `p` of a draw, cut along its first axis, is
the same draw with its counter moved on by `p` times the part's size.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend import random as extend


def part_of(key: jax.Array, index: jax.Array | int) -> jax.Array:
  """A key for part `index` of a batch that is cut into equal parts.

  Whatever is drawn with it, or with keys folded or split off it, in a shape whose
  first axis goes over the examples of the part, equals that stretch of what `key`
  draws for the whole batch. A draw in another shape, one number for a batch say,
  comes out differently for each part; so does what splits a key for each number
  (`jax.random.gamma`, `beta`, `permutation`). `poisson` knows no other keys than JAX's.

  Args:
    key: raw threefry key, uint32 `[2]`.
    index: of the part, from 0; less than 2**16.
  """
  index = jnp.asarray(index, jnp.uint32).reshape(1)
  return jax.random.wrap_key_data(jnp.concatenate([key, index]), impl=_PARTS)


def _same_part(key, threefry):
  part = jnp.broadcast_to(key[2:], (*threefry.shape[:-1], 1))
  return jnp.concatenate([threefry, part], -1)


def _seed(seed):
  return _same_part(jnp.zeros(3, jnp.uint32), jax.random.PRNGKey(seed))


def _split(key, shape):
  return _same_part(key, jax.random.split(key[:2], shape))


def _fold_in(key, data):
  return _same_part(key, jax.random.fold_in(key[:2], data))


def _random_bits(key, width, shape):
  """As threefry with `jax_threefry_partitionable`, its counter moved on."""
  size = math.prod(shape)
  if size == 0 or size >= 2**32:
    raise ValueError(f'a draw of {size} numbers for a part of a batch')
  # part * size in 64 bits, of which JAX has two halves.
  low, high = key[2] * jnp.uint32(size % 2**16), key[2] * jnp.uint32(size >> 16)
  start = low + (high << 16)
  carried = (high >> 16) + (start < low)
  index = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
  count = start + index
  first, second = extend.threefry2x32_p.bind(
    jnp.broadcast_to(key[0], shape), jnp.broadcast_to(key[1], shape),
    carried + (count < index), count)
  if width == 64:
    return first.astype(jnp.uint64) << 32 | second.astype(jnp.uint64)
  return (first ^ second).astype({8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[width])


_PARTS = extend.define_prng_impl(
  key_shape=(3,), seed=_seed, split=_split, random_bits=_random_bits, fold_in=_fold_in,
  name='threefry2x32_of_parts', tag='part')
