"""Sums, extremes and what is made of them, over lengths that fill no vector evenly."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.hardware.self_check.program import Program, normal, positive

# Shapes and the axes that are reduced: short, odd, prime and even.
_SHAPES = (
  ((7,), 0),
  ((31, 5), 1),
  ((257, 33), 0),
  ((64, 128), 1),
  ((5, 13, 11, 3), (1, 2)),
)
_LONG_SHAPES = (
  ((9, 31, 17), (0, 2)),
  ((40_001,), 0),
  ((40_001, 3), 1),
  ((3, 40_001), 1),
)


def _softmax(x, axis):
  weights = np.exp(x - x.max(axis, keepdims=True))
  return weights / weights.sum(axis, keepdims=True)


def _logsumexp(x, axis):
  most = x.max(axis, keepdims=True)
  return (np.log(np.exp(x - most).sum(axis, keepdims=True)) + most).squeeze(axis)


# Name, in JAX, in NumPy; both (x, axis) -> array.
_FUNCTIONS = (
  ('sum', jnp.sum, np.sum),
  ('mean', jnp.mean, np.mean),
  ('variance', jnp.var, np.var),
  ('maximum', jnp.max, np.max),
  ('sum of squares', lambda x, axis: jnp.sum(x * x, axis),
   lambda x, axis: np.sum(x * x, axis)),
  ('logsumexp', jax.nn.logsumexp, _logsumexp),
  ('softmax', jax.nn.softmax, _softmax),
)
_ALONG_ONE_AXIS = (
  ('argmax', jnp.argmax, np.argmax),
  ('cumulative sum', jnp.cumsum, np.cumsum),
)


def _terms(shape, axis) -> int:
  return int(np.prod(np.array(shape)[np.atleast_1d(axis)]))


def _of_all_shapes(name, function, reference, shapes) -> Program:
  """One program for all shapes: it reduces each of its inputs."""
  axes = [axis for _, axis in shapes]
  return Program(
    f'{name} over several shapes',
    lambda *xs: [function(x, axis) for x, axis in zip(xs, axes, strict=True)],
    lambda *xs: [reference(x, axis) for x, axis in zip(xs, axes, strict=True)],
    tuple(positive(*shape) for shape, _ in shapes),
    terms=max(_terms(shape, axis) for shape, axis in shapes))


_REDUCTIONS = tuple(
  Program(f'{name} of {" x ".join(map(str, shape))} over {axis}',
          lambda x, axis=axis, f=function: f(x, axis),
          lambda x, axis=axis, f=reference: f(x, axis),
          (positive(*shape),), terms=_terms(shape, axis))
  for name, function, reference in _FUNCTIONS[:4]
  for shape, axis in _LONG_SHAPES)

_FAMILIES = (
  *(_of_all_shapes(*function, _SHAPES) for function in _FUNCTIONS),
  *(_of_all_shapes(*function, [s for s in _SHAPES if isinstance(s[1], int)])
    for function in _ALONG_ONE_AXIS),
)


def _of_broadcast(shape, to) -> Program:
  return Program(
    f'sum of {" x ".join(map(str, shape))} broadcast to {" x ".join(map(str, to))}',
    lambda x: jnp.sum(jnp.broadcast_to(x, to)),
    lambda x: np.sum(np.broadcast_to(x, to)),
    (positive(*shape),), terms=int(np.prod(to)))


_BROADCASTS = tuple(_of_broadcast(shape, to) for shape, to in (
  ((1, 1025), (1023, 1025)),
  ((257, 1), (3, 257, 129)),
  ((1023, 1), (2, 1023, 1025)),
  ((1024, 1), (2, 1024, 1024)),
  ((40_001, 1), (40_001, 7)),
  ((1,), (100_003,)),
))

_OTHER_DTYPES = (
  Program('sum of 4,099 bfloat16', jnp.sum, np.sum, (positive(4099, dtype='bfloat16'),),
          rounding='bfloat16'),
  Program('mean of 257 x 33 float16 over 0', lambda x: jnp.mean(x, 0),
          lambda x: np.mean(x, 0), (positive(257, 33, dtype='float16'),),
          rounding='float16'),
  Program('maximum of 257 x 33 bfloat16 over 1', lambda x: jnp.max(x, 1),
          lambda x: np.max(x, 1), (normal(257, 33, dtype='bfloat16'),),
          rounding='bfloat16'),
  Program('sum of the squares of bfloat16 in float32',
          lambda x: jnp.sum(jnp.square(x.astype(jnp.float32)), 1),
          lambda x: np.sum(np.square(x), 1), (normal(257, 1025, dtype='bfloat16'),),
          terms=1025),
)

_CHAINS = (
  Program('cumulative sum of 40,001', jnp.cumsum, np.cumsum, (positive(40_001),),
          terms=40_001),
  Program('argmax of 40,001', jnp.argmax, np.argmax, (normal(40_001),)),
  Program('softmax of 257 x 1,025', lambda x: jax.nn.softmax(x), lambda x: _softmax(
    x, 1), (normal(257, 1025),), terms=1025),
  Program('variance of normalized rows',
          lambda x: jnp.var(
            (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True), 1),
          lambda x: np.ones(len(x)), (normal(4099, 7),), terms=7),
  Program('mean of squared differences to a row',
          lambda x, y: jnp.mean((x - y) ** 2), lambda x, y: np.mean((x - y) ** 2),
          (normal(4099, 13), normal(13)), terms=4099 * 13),
  Program('sum of products of three',
          lambda x, y, z: jnp.sum(x * y * z, -1), lambda x, y, z: np.sum(x * y * z, -1),
          (normal(40_001, 5), normal(5), normal(40_001, 1)), terms=5),
  Program('cross-entropy of 1,023 x 11',
          lambda x: -jnp.mean(jax.nn.log_softmax(x)[:, 3]),
          lambda x: np.mean(_logsumexp(x, 1) - x[:, 3]), (normal(1023, 11),),
          terms=1023),
  Program('largest distance from the mean',
          lambda x: jnp.max(jnp.abs(x - jnp.mean(x, 0)), 0),
          lambda x: np.max(np.abs(x - np.mean(x, 0)), 0), (normal(40_001, 3),),
          terms=40_001),
  Program('norms of the differences of neighbours',
          lambda x: jnp.sqrt(jnp.sum((x[1:] - x[:-1]) ** 2, 1)),
          lambda x: np.sqrt(np.sum((x[1:] - x[:-1]) ** 2, 1)), (normal(40_003, 3),),
          terms=3),
)

PROGRAMS = (*_FAMILIES, *_REDUCTIONS, *_BROADCASTS, *_OTHER_DTYPES, *_CHAINS)
