"""Tests of bigmodels.layers.pooling against Flax's pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bigmodels.layers import pooling

PAIRS = (
  (pooling.max_pool, nn.max_pool),
  (pooling.average_pool, nn.avg_pool),
)


def _flax(pool, x, window):
  return pool(x, (window, window), (window, window))


def _images(size, dtype='float32'):
  """Distinct values, so that no window has a tie."""
  shape = (2, *size, 3)
  values = jax.random.permutation(jax.random.key(0), np.prod(shape))
  return (values.reshape(shape) / 512 - 0.25).astype(dtype)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('window', [1, 2, 3])
@pytest.mark.parametrize('size', [(6, 6), (7, 8), (5, 3)])
@pytest.mark.parametrize('ours, flaxs', PAIRS)
def test_value_and_gradient_equal_flax(ours, flaxs, size, window, dtype):
  x = _images(size, dtype)
  tolerance = 1e-6 if dtype == 'float32' else 2e-3
  actual, pullback = jax.vjp(lambda x: ours(x, window), x)
  expected, flax_pullback = jax.vjp(lambda x: _flax(flaxs, x, window), x)
  assert actual.dtype == expected.dtype == dtype
  np.testing.assert_allclose(actual, expected, tolerance, tolerance)
  cotangent = jax.random.normal(jax.random.key(1), expected.shape, dtype)
  gradient, flax_gradient = pullback(cotangent), flax_pullback(cotangent)
  np.testing.assert_allclose(gradient[0], flax_gradient[0], tolerance, tolerance)


@pytest.mark.parametrize('ours, flaxs', PAIRS)
def test_jit_vmap_and_grad(ours, flaxs):
  x = _images((5, 4))
  xs = jnp.stack([x, 1 - x])
  actual = jax.jit(jax.vmap(jax.grad(lambda x: (ours(x, 2) ** 2).sum())))(xs)
  gradient = jax.grad(lambda x: (_flax(flaxs, x, 2) ** 2).sum())
  for a, x in zip(actual, xs, strict=True):
    np.testing.assert_allclose(a, gradient(x), 1e-6, 1e-6)


def test_ties_share_the_gradient():
  x = jnp.array([[1.0, 3.0], [3.0, 2.0]]).reshape(1, 2, 2, 1)
  gradient = jax.grad(lambda x: pooling.max_pool(x, 2).sum())(x)
  np.testing.assert_array_equal(gradient.reshape(2, 2), [[0, 0.5], [0.5, 0]])


def test_relu_may_follow_the_pool():
  x = _images((6, 6))
  after = nn.relu(pooling.max_pool(x, 2))
  np.testing.assert_array_equal(after, pooling.max_pool(nn.relu(x), 2))


@pytest.mark.parametrize('pool', [pooling.max_pool, pooling.average_pool])
def test_window_larger_than_image(pool):
  with pytest.raises(ValueError, match='holds no'):
    pool(jnp.zeros((1, 2, 4, 1)), 3)
