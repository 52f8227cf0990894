"""Products of matrices, alone and with what a compiler may fuse into them."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.hardware.self_check.program import (
  Program,
  cotangent,
  normal,
  with_differences,
  with_gradients,
)


def _einsum(name, subscripts, *shapes, terms, dtype='float32') -> Program:
  return Program(
    name,
    lambda *xs: jnp.einsum(subscripts, *xs), lambda *xs: np.einsum(subscripts, *xs),
    tuple(normal(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)),
    terms, rounding=dtype)


_PRODUCTS = (
  _einsum('product of 1 x 1', 'ij,jk->ik', (1, 1), (1, 1), terms=1),
  _einsum('product of 3 x 3', 'ij,jk->ik', (3, 3), (3, 3), terms=3),
  _einsum('product of 31 x 37 and 37 x 29', 'ij,jk->ik', (31, 37), (37, 29), terms=37),
  _einsum('product of 128 x 256 and 256 x 64', 'ij,jk->ik', (128, 256), (256, 64),
          terms=256),
  _einsum('tall product, 40,001 x 3 and 3 x 5', 'ij,jk->ik', (40_001, 3), (3, 5),
          terms=3),
  _einsum('long product, 5 x 40,001 and 40,001 x 3', 'ij,jk->ik', (5, 40_001),
          (40_001, 3), terms=40_001),
  _einsum('wide product, 3 x 7 and 7 x 40,001', 'ij,jk->ik', (3, 7), (7, 40_001),
          terms=7),
  _einsum('product with the left transposed', 'ji,jk->ik', (257, 31), (257, 17),
          terms=257),
  _einsum('product with the right transposed', 'ij,kj->ik', (31, 257), (17, 257),
          terms=257),
  _einsum('product, transposed', 'ij,jk->ki', (63, 65), (65, 33), terms=65),
  _einsum('matrix times vector', 'ij,j->i', (1023, 257), (257,), terms=257),
  _einsum('inner product of 40,001', 'i,i->', (40_001,), (40_001,), terms=40_001),
  _einsum('outer product of 257 and 1,023', 'i,j->ij', (257,), (1023,), terms=1),
  _einsum('batched product of 129 x 5 x 7 and 7 x 3', 'bij,bjk->bik', (129, 5, 7),
          (129, 7, 3), terms=7),
  _einsum('batched product, the right transposed', 'bij,bkj->bik', (33, 13, 11),
          (33, 17, 11), terms=11),
  _einsum('batched product over two axes', 'bhid,bhjd->bhij', (3, 5, 17, 16),
          (3, 5, 19, 16), terms=16),
  _einsum('heads apart', 'blhd,bmhd->bhlm', (2, 31, 3, 8), (2, 29, 3, 8), terms=8),
  _einsum('contraction of two axes', 'bij,ijk->bk', (65, 7, 11), (7, 11, 5), terms=77),
  _einsum('product of three matrices', 'ij,jk,kl->il', (31, 33), (33, 35), (35, 3),
          terms=33 * 35),
  _einsum('bfloat16 product of 65 x 129 and 129 x 33', 'ij,jk->ik', (65, 129),
          (129, 33), terms=1, dtype='bfloat16'),
  _einsum('bfloat16 batched product', 'bij,bjk->bik', (33, 13, 31), (33, 31, 17),
          terms=1, dtype='bfloat16'),
  Program('bfloat16 product summed in float32',
          lambda x, y: jnp.matmul(x, y, preferred_element_type=jnp.float32), np.matmul,
          (normal(65, 257, dtype='bfloat16'), normal(257, 31, dtype='bfloat16')),
          terms=257),
  Program('product of int32', jnp.matmul, np.matmul,
          (np.arange(35, dtype='int32').reshape(5, 7) - 9,
           np.arange(77, dtype='int32').reshape(7, 11) * 3)),
)


def _softmax(y):
  weights = np.exp(y - y.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True)


# Small products of rows, and what is made of each: name, in JAX for one row, in NumPy
# for all.
_OF_ROWS = (
  ('sum of squares', lambda y: jnp.sum(y**2), lambda y: np.sum(y**2, 1)),
  ('sum', jnp.sum, lambda y: np.sum(y, 1)),
  ('mean of absolute values', lambda y: jnp.mean(jnp.abs(y)),
   lambda y: np.mean(np.abs(y), 1)),
  ('maximum', jnp.max, lambda y: np.max(y, 1)),
  ('logsumexp', jax.nn.logsumexp, lambda y: np.log(np.sum(np.exp(y), 1))),
  ('softmax', jax.nn.softmax, _softmax),
  ('product with itself', lambda y: jnp.dot(y, y), lambda y: np.sum(y * y, 1)),
)
_ROWS = (4099, 40_001)  # of one thread, and of several


def _of_rows(name, function, reference, rows, width) -> Program:
  """A function of the product of a matrix with each of so many rows."""
  return Program(
    f'vmap: {name} of a {width} x {width} product, {rows:,} rows',
    lambda m, x: jax.vmap(lambda row: function(m @ row))(x),
    lambda m, x: reference(x @ m.T),
    (normal(width, width), normal(rows, width)), terms=width * width)


_VMAPS = (
  *(_of_rows(*f, rows, 3) for f in _OF_ROWS for rows in _ROWS),
  _of_rows(*_OF_ROWS[0], 65_537, 2),
  _of_rows(*_OF_ROWS[0], 32_771, 5),
  _of_rows(*_OF_ROWS[0], 32_768, 4),
)

_FUSED = (
  Program('squared length of 3 x 3 products, summed over rows',
          lambda m, x: jnp.sum((x @ m) ** 2), lambda m, x: np.sum((x @ m) ** 2),
          (normal(3, 3), normal(40_001, 3)), terms=3 * 40_001),
  Program('quadratic forms of 40,001 rows',
          lambda m, x: jnp.einsum('bi,ij,bj->b', x, m, x),
          lambda m, x: np.einsum('bi,ij,bj->b', x, m, x),
          (normal(3, 3), normal(40_001, 3)), terms=9),
  Program('traces of 4,099 batched products',
          lambda x, y: jnp.trace(x @ y, axis1=1, axis2=2),
          lambda x, y: np.trace(x @ y, axis1=1, axis2=2),
          (normal(4099, 3, 5), normal(4099, 5, 3)), terms=15),
  Program('product, bias, relu and its mean',
          lambda w, b, x: jnp.mean(jax.nn.relu(x @ w + b), 1),
          lambda w, b, x: np.mean(np.maximum(x @ w + b, 0), 1),
          (normal(31, 33), normal(33), normal(257, 31)), terms=31 * 33),
  Program('product of a product, each scaled',
          lambda x, y, z: ((x * 0.5) @ y * 3) @ z, lambda x, y, z: (x @ y * 1.5) @ z,
          (normal(65, 17), normal(17, 31), normal(31, 9)), terms=17 * 31),
  Program('gradient of the mean square of products of rows',
          with_gradients(lambda m, x: jax.vmap(
            lambda row: jnp.mean((m @ row) ** 2))(x)),
          lambda c, m, x: (
            np.mean((x @ m.T) ** 2, 1), 2 / 3 * np.einsum('b,bi,bj->ij', c, x @ m.T, x),
            2 / 3 * c[:, None] * (x @ m.T @ m)),
          (cotangent(40_001), normal(3, 3), normal(40_001, 3)), terms=40_001),
  Program('gradient of a chain of products',
          with_gradients(lambda x, y, z: jnp.tanh(x @ y) @ z),
          with_differences(lambda x, y, z: np.tanh(x @ y) @ z),
          (cotangent(7, 3), normal(7, 5), normal(5, 9), normal(9, 3)), terms=45),
)

PROGRAMS = (*_PRODUCTS, *_VMAPS, *_FUSED)
