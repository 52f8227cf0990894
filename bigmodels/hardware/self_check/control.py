"""Loops, branches, and vmap over them; constants that a program holds."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bigmodels.hardware.self_check.program import (
  Program,
  cotangent,
  integers,
  normal,
  positive,
  with_differences,
  with_gradients,
)


def _linear_scan(decay, x):
  return lax.scan(lambda h, row: (decay * h + row,) * 2, jnp.zeros(x.shape[1]), x)[1]


def _linear_loop(decay, x):
  states = [np.zeros(x.shape[1])]
  for row in x:
    states.append(decay * states[-1] + row)
  return np.stack(states[1:])


def _matrix_scan(m, h, x):
  return lax.scan(lambda h, row: (jnp.tanh(m @ h + row), None), h, x)[0]


def _matrix_loop(m, h, x):
  for row in x:
    h = np.tanh(m @ h + row)
  return h


def _collatz(n):
  """Number of steps to 1."""
  return lax.while_loop(
    lambda at: at[0] > 1,
    lambda at: (jnp.where(at[0] % 2, 3 * at[0] + 1, at[0] // 2), at[1] + 1), (n, 0))[1]


def _collatz_loop(numbers):
  counts = []
  for n in map(int, numbers):
    counts.append(0)
    while n > 1:
      n, counts[-1] = 3 * n + 1 if n % 2 else n // 2, counts[-1] + 1
  return np.array(counts)


def _newton(x):
  """A square root to the last bits."""
  return lax.while_loop(
    lambda at: at[1] < 8, lambda at: ((at[0] + x / at[0]) / 2, at[1] + 1), (x, 0))[0]


def _branches(index, x):
  return lax.switch(index, [jnp.sin, jnp.cos, lambda x: x * x], x)


def _select(index, x):
  return np.select([index == 0, index == 1], [np.sin(x), np.cos(x)], x * x)


_LOOPS = (
  Program('scan: a decaying sum of 257 rows', _linear_scan, _linear_loop,
          (np.float32(0.9), normal(257, 5)), terms=10),
  Program('scan: products and tanh, with gradients', with_gradients(_matrix_scan),
          with_differences(_matrix_loop),
          (cotangent(5), normal(5, 5) / 3, normal(5), normal(13, 5)), terms=13 * 5 * 5),
  Program('scan, from the end', lambda x: lax.scan(
    lambda total, row: (total + row, total), jnp.zeros(3), x, reverse=True)[1],
    lambda x: np.cumsum(x[::-1], 0)[::-1] - x, (positive(129, 3),), terms=129),
  Program('vmap of a scan', jax.vmap(_linear_scan, (0, None)),
          lambda decays, x: np.stack([_linear_loop(d, x) for d in decays]),
          (positive(7) / 2, normal(31, 5)), terms=10),
  Program('fori_loop: powers of a matrix',
          lambda m: lax.fori_loop(0, 5, lambda _, power: power @ m, jnp.eye(7)),
          lambda m: np.linalg.matrix_power(m, 5), (normal(7, 7),), terms=7**3),
  Program('vmap of a while loop: Collatz', jax.vmap(_collatz), _collatz_loop,
          (np.arange(1, 98, dtype='int32'),)),
  Program('while loop: square roots by Newton', _newton, np.sqrt, (positive(1023),)),
  Program('gradient through a scan over 33 parts',
          jax.grad(lambda w, x: lax.scan(
            lambda total, part: (total + jnp.sum(jnp.tanh(part @ w)), None), 0.0,
            x)[0]),
          lambda w, x: np.einsum('pbi,pbj->ij', x, 1 / np.cosh(x @ w) ** 2),
          (normal(3, 5), normal(33, 17, 3)), terms=33 * 17),
  Program('associative scan of 31 affine maps',
          lambda a, b: lax.associative_scan(
            lambda f, g: (f[0] * g[0], g[0] * f[1] + g[1]), (a, b)),
          lambda a, b: (np.cumprod(a), np.array([
            sum(b[i] * np.prod(a[i + 1: n + 1]) for i in range(n + 1))
            for n in range(len(a))])),
          (positive(31) / 2, normal(31)), terms=16),
)

_BRANCHES = (
  Program('cond: either side', lambda x: [
    lax.cond(x[i] > 0, lambda y: y * 2, jnp.square, x) for i in (0, 1, 2)],
    lambda x: [x * 2 if x[i] > 0 else x**2 for i in (0, 1, 2)], (normal(33),)),
  Program('vmap of a switch', jax.vmap(_branches), _select,
          (integers(1023, below=3), normal(1023))),
  Program('where, with gradients',
          with_gradients(lambda x, y: jnp.where(x > y, x * y, x - y)),
          lambda c, x, y: (np.where(x > y, x * y, x - y), c * np.where(x > y, y, 1),
                           c * np.where(x > y, x, -1)),
          (cotangent(4099), normal(4099), positive(4099))),
)

# The compiler evaluates what it can of these when it compiles, by an interpreter that
# shares no code with the programs it makes.
_TABLE = np.arange(60, dtype='float32').reshape(10, 6) ** 2 / 7
_ROWS = np.array([1, 3, 5, 7])


def _set_rows(column):
  held = jnp.zeros(10).at[:10].set(column)
  return jnp.zeros(10).at[_ROWS].set(held[_ROWS] + 0.025 * held[_ROWS])


def _table_at_rows():
  found = np.zeros(_TABLE.shape)
  found[_ROWS] = 1.025 * _TABLE.astype(float)[_ROWS]
  return found


_CONSTANTS = (
  Program('constant: vmap of rows by an index, plus one',
          lambda: jax.vmap(lambda row: row[jnp.arange(6)])(jnp.array(_TABLE)) + 1,
          lambda: _TABLE.astype(float) + 1),
  Program('constant: vmap of a scatter of gathered columns',
          lambda: jax.vmap(_set_rows, 1, 1)(jnp.array(_TABLE)), _table_at_rows),
  Program('constant: vmap of rows by reversed integers',
          lambda: jax.vmap(lambda row: row[jnp.arange(6)[::-1]] * 2)(
            jnp.array(_TABLE.astype('int32'))),
          lambda: _TABLE.astype('int32')[:, ::-1] * 2),
  Program('constant: transposed, cut and added up',
          lambda: jnp.cumsum(jnp.array(_TABLE).T[1:, ::3], 1),
          lambda: np.cumsum(_TABLE.astype(float).T[1:, ::3], 1), terms=4),
  Program('constant: product with an argument',
          lambda x: jnp.array(_TABLE).T @ x, lambda x: _TABLE.astype(float).T @ x,
          (normal(10, 3),), terms=10),
  Program('constant: rows taken by an argument',
          lambda rows: jnp.array(_TABLE)[rows] * 0.5,
          lambda rows: _TABLE.astype(float)[rows] * 0.5,
          (integers(33, below=10),)),
)

PROGRAMS = (*_LOOPS, *_BRANCHES, *_CONSTANTS)
