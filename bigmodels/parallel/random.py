"""Random keys that draw for a slice of a batch what the whole batch would get.

A batch may be divided into equal slices, the shards of its devices or microbatches; the
result should be that of the undivided batch, dropout and augmentation included. JAX's
threefry generator is counter-based (Salmon et al., *Parallel random numbers: as easy as
1, 2, 3*, 2011): number `i` of a draw is a hash of the key and `i`. So slice `p` of a
draw along its first axis is the same draw with its counter advanced by `p` times the
size of a slice.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend import random as extend


def slice_key(key: jax.Array, index: jax.Array | int) -> jax.Array:
  """A key for slice `index` of a batch that is divided into equal slices.

  Numbers drawn with it, or with keys folded in or split off it, are those of the slice
  in what `key` draws for the whole batch, if the first axis of their shape goes over
  the examples. Otherwise they differ between slices: one number for a batch, say, or
  draws that split a key for each number (`jax.random.gamma`, `beta`, `permutation`).
  `poisson` accepts only JAX's own keys.

  Args:
    key: raw threefry key, uint32 `[2]`.
    index: of the slice, from 0; less than 2**16.

  Returns:
    A typed key, `[]`.
  """
  index = jnp.asarray(index, jnp.uint32).reshape(1)
  return jax.random.wrap_key_data(jnp.concatenate([key, index]), impl=_SLICES)


def _same_slice(key, threefry):
  index = jnp.broadcast_to(key[2:], (*threefry.shape[:-1], 1))
  return jnp.concatenate([threefry, index], -1)


def _seed(seed):
  return _same_slice(jnp.zeros(3, jnp.uint32), jax.random.PRNGKey(seed))


def _split(key, shape):
  return _same_slice(key, jax.random.split(key[:2], shape))


def _fold_in(key, data):
  return _same_slice(key, jax.random.fold_in(key[:2], data))


def _random_bits(key, width, shape):
  """As threefry with `jax_threefry_partitionable`, its counter advanced."""
  size = math.prod(shape)
  if size == 0 or size >= 2**32:
    raise ValueError(
      f'a draw for a slice of a batch: must have >= 1 and < 2**32 numbers, got {size}')
  # index * size in 64 bits, as two halves: JAX has no 64 bits by default.
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


_SLICES = extend.define_prng_impl(
  key_shape=(3,), seed=_seed, split=_split, random_bits=_random_bits, fold_in=_fold_in,
  name='threefry2x32_slice', tag='slice')
