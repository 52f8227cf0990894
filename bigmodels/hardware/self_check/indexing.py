"""Sorting, gathering and scattering."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bigmodels.hardware.self_check.program import Program, integers, normal, positive


def _top_k(x, k):
  indices = np.argsort(-x, axis=-1, kind='stable')[..., :k]
  return np.take_along_axis(x, indices, -1), indices


def _added(size, indices, values):
  found = np.zeros((size, *values.shape[1:]))
  np.add.at(found, indices, values)
  return found


_SORTS = (
  Program('sort of 4,099', jnp.sort, np.sort, (normal(4099),)),
  Program('argsort of 33 x 257', jnp.argsort, np.argsort, (normal(33, 257),)),
  Program('stable argsort of ties', lambda x: jnp.argsort(x, stable=True),
          lambda x: np.argsort(x, kind='stable'), (integers(1023, below=5),)),
  Program('top 5 of 33 x 129', lambda x: lax.top_k(x, 5), lambda x: _top_k(x, 5),
          (normal(33, 129),)),
  Program('sort of keys with values', lambda x, y: lax.sort((x, y), num_keys=1),
          lambda x, y: (np.sort(x), y[np.argsort(x)]), (normal(1023), positive(1023))),
  Program('binary search', lambda x, y: jnp.searchsorted(x, y),
          lambda x, y: np.searchsorted(x, y),
          (np.sort(positive(257)), positive(1023))),
  Program('histogram of 40,001', lambda x: jnp.bincount(x, length=13),
          lambda x: np.bincount(x, minlength=13), (integers(40_001, below=13),)),
)

_GATHERS = (
  Program('rows taken', lambda x, i: x[i], lambda x, i: x[i],
          (normal(257, 7), integers(4099, below=257))),
  Program('taken along an axis', lambda x, i: jnp.take_along_axis(x, i, 1),
          lambda x, i: np.take_along_axis(x, i, 1),
          (normal(257, 33), integers(257, 5, below=33))),
  Program('vmap of one of each row', jax.vmap(lambda row, i: row[i]),
          lambda x, i: x[np.arange(len(x)), i],
          (normal(4099, 11), integers(4099, below=11))),
  Program('windows at offsets of their own',
          jax.vmap(lambda x, i: lax.dynamic_slice(x, (i,), (7,)), (None, 0)),
          lambda x, i: np.stack([x[n: n + 7] for n in i]),
          (normal(129), integers(65, below=122))),
  Program('every third, reversed, padded',
          lambda x: jnp.pad(x[::-3], ((2, 1), (0, 3)), constant_values=2),
          lambda x: np.pad(x[::-3], ((2, 1), (0, 3)), constant_values=2),
          (normal(65, 7),)),
  Program('concatenated, transposed, reshaped, rolled',
          lambda x, y: jnp.roll(jnp.concatenate([x, y]).transpose(1, 0).reshape(-1, 5),
                                3, 0),
          lambda x, y: np.roll(np.concatenate([x, y]).transpose(1, 0).reshape(-1, 5),
                               3, 0),
          (normal(33, 5), normal(32, 5))),
)

_SCATTERS = (
  Program('.at[].add with indices that repeat',
          lambda i, x: jnp.zeros((31, 7)).at[i].add(x), lambda i, x: _added(31, i, x),
          (integers(4099, below=31), positive(4099, 7)), terms=4099 // 31),
  Program('.at[].set', lambda x, y: x.at[3:30:4, 1].set(y),
          lambda x, y: _with_set(x, y), (normal(33, 5), normal(7))),
  Program('.at[].max', lambda i, x: jnp.full(17, -9.0).at[i].max(x),
          lambda i, x: _with_max(i, x), (integers(1023, below=17), normal(1023))),
  Program('segment_sum of 40,001', lambda x, i: jax.ops.segment_sum(
    x, i, num_segments=37), lambda x, i: _added(37, i, x),
    (positive(40_001), integers(40_001, below=37)), terms=40_001 // 37),
  Program('vmap of .at[].add', jax.vmap(lambda i, x: jnp.zeros(9).at[i].add(x)),
          lambda i, x: np.stack([_added(9, *row) for row in zip(i, x, strict=True)]),
          (integers(33, 65, below=9), positive(33, 65)), terms=9),
  Program('gradient of rows taken',
          jax.grad(lambda x, i, c: jnp.sum(x[i] * c)),
          lambda x, i, c: _added(len(x), i, c),
          (normal(33, 3), integers(1025, below=33), positive(1025, 3)), terms=33),
  Program('a slice written at an offset',
          lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 2)),
          lambda x, y, i: _with_slice(x, y, i),
          (normal(33, 9), normal(5, 4), np.int32(11))),
)


def _with_set(x, y):
  x = x.copy()
  x[3:30:4, 1] = y
  return x


def _with_max(indices, x):
  found = np.full(17, -9.0)
  np.maximum.at(found, indices, x)
  return found


def _with_slice(x, y, offset):
  x = x.copy()
  x[offset: offset + len(y), 2: 2 + y.shape[1]] = y
  return x


PROGRAMS = (*_SORTS, *_GATHERS, *_SCATTERS)
