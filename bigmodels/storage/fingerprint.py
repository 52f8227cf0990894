"""A fingerprint of arrays that is computed on the device."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def fingerprint(tree: Any) -> jax.Array:
  """A checksum, `[]` of uint32, of all bits of a tree of arrays, in any sharding.

  It sums words times odd weights that depend on their position, modulo 2**32. Integer
  sums do not depend on the order in which devices add, and any change of one word
  changes the result.
  """
  return _fingerprint_on(jax.default_backend())(tree)


@functools.cache
def _fingerprint_on(platform: str) -> Callable[[Any], jax.Array]:
  # On a CPU XLA would reduce in a tree and store its leaves first: four bytes for each
  # byte of a replay buffer, and eight times the time.
  options = {'xla_disable_hlo_passes': 'tree_reduction_rewriter'}
  return jax.jit(_fingerprint, compiler_options=options if platform == 'cpu' else None)


def _fingerprint(tree: Any) -> jax.Array:
  total = jnp.uint32(0)
  # By name: a tree that is restored as nested dicts has another order.
  named = {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
           for path, leaf in jax.tree.leaves_with_path(tree)}
  for _, leaf in sorted(named.items()):
    words = _words(leaf)
    weights = (_positions(words.shape) * jnp.uint32(2654435761)) | 1
    total = total * jnp.uint32(31) + jnp.sum(words * weights, dtype=jnp.uint32)
  return total


def _words(leaf: jax.Array) -> jax.Array:
  leaf = jnp.asarray(leaf)
  if leaf.dtype == jnp.bool:
    return leaf.astype(jnp.uint32)
  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
  return jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)


def _positions(shape: tuple[int, ...]) -> jax.Array:
  """0, 1, 2, ... in row order, computed in place on sharded arrays."""
  positions, stride = jnp.zeros(shape, jnp.uint32), 1
  for axis in reversed(range(len(shape))):
    index = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    positions += index * jnp.uint32(stride % 2**32)
    stride *= shape[axis]
  return positions


def copies(tree: Any) -> list[int]:
  """A fingerprint of each local device's copy of the replicated arrays."""
  whole = [leaf for leaf in jax.tree.leaves(tree) if leaf.sharding.is_fully_replicated]
  if not whole:
    return [0]
  # `addressable_data(i)` of a replicated array is the first copy, whatever i.
  return [int(fingerprint([leaf.addressable_shards[i].data for leaf in whole]))
          for i in range(len(whole[0].addressable_shards))]
