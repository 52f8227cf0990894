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
  values = np.random.default_rng(0).permutation(np.prod(shape))
  return (values.reshape(shape) / 512 - 0.25).astype(dtype)


def _value_and_gradient(pool, x):
  def both(x):
    value, pullback = jax.vjp(pool, x)
    index = jnp.arange(value.size, dtype=jnp.float32).reshape(value.shape)
    return value, *pullback(jnp.sin(index).astype(x.dtype))

  return jax.jit(both)(x)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('window', [1, 2, 3])
@pytest.mark.parametrize('size', [(6, 6), (7, 8), (5, 3)])
@pytest.mark.parametrize('ours, flaxs', PAIRS)
def test_value_and_gradient_equal_flax(ours, flaxs, size, window, dtype):
  x = _images(size, dtype)
  tolerance = 1e-6 if dtype == 'float32' else 2e-3
  actual = _value_and_gradient(lambda x: ours(x, window), x)
  expected = _value_and_gradient(lambda x: _flax(flaxs, x, window), x)
  for a, e in zip(actual, expected, strict=True):
    assert a.dtype == e.dtype == dtype
    np.testing.assert_allclose(a, e, tolerance, tolerance)


@pytest.mark.parametrize('ours, flaxs', PAIRS)
def test_jit_vmap_and_grad(ours, flaxs):
  x = _images((5, 4))
  xs = jnp.stack([x, 1 - x])
  actual = jax.jit(jax.vmap(jax.grad(lambda x: (ours(x, 2) ** 2).sum())))(xs)
  gradient = jax.grad(lambda x: (_flax(flaxs, x, 2) ** 2).sum())
  for a, x in zip(actual, xs, strict=True):
    np.testing.assert_allclose(a, gradient(x), 1e-6, 1e-6)


def test_relu_may_follow_the_pool():
  x = _images((6, 6))
  after = nn.relu(pooling.max_pool(x, 2))
  np.testing.assert_array_equal(after, pooling.max_pool(nn.relu(x), 2))


@pytest.mark.parametrize('pool', [pooling.max_pool, pooling.average_pool])
def test_window_larger_than_image(pool):
  with pytest.raises(ValueError, match='window is larger than a 2x4 image'):
    pool(jnp.zeros((1, 2, 4, 1)), 3)


OVERLAPPING = [(3, 2, 1), (3, 2, 0), (2, 1, 0), (3, 3, 1), (2, 3, 0)]


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('size', [(8, 8), (7, 8), (9, 5)])
@pytest.mark.parametrize('window, stride, padding', OVERLAPPING)
def test_overlapping_windows_equal_flax(
    monkeypatch, window, stride, padding, size, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x = _images(size) - 0.5  # less than 0 too: zeros would not do for padding
  actual = _value_and_gradient(
    lambda x: pooling.max_pool(x, window, stride=stride, padding=padding), x)
  expected = _value_and_gradient(lambda x: nn.max_pool(
    x, (window, window), (stride, stride), ((padding, padding),) * 2), x)
  np.testing.assert_array_equal(actual[0], expected[0])
  np.testing.assert_allclose(actual[1], expected[1], 1e-6, 1e-6)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('stride', [2, 3])
def test_formulation_follows_the_backend(monkeypatch, backend, stride):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  jaxpr = str(jax.make_jaxpr(
    lambda x: pooling.max_pool(x, 3, stride=stride))(_images((8, 8))))
  assert ('reduce_window' in jaxpr) == (backend == 'gpu')


def test_windows_that_hold_no_image_are_refused():
  with pytest.raises(ValueError, match='5x5 window is larger than a 2x4 image, padded'):
    pooling.max_pool(jnp.zeros((1, 2, 4, 1)), 5, stride=2, padding=1)
  with pytest.raises(ValueError, match='padding: must be < 3, the window, got 3'):
    pooling.max_pool(jnp.zeros((1, 8, 8, 1)), 3, stride=2, padding=3)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('size', [(8, 8), (7, 5), (1, 1)])
def test_global_average_equals_the_mean(monkeypatch, size, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x = _images(size)
  actual = _value_and_gradient(pooling.global_average_pool, x)
  expected = _value_and_gradient(lambda x: x.mean((1, 2)), x)
  np.testing.assert_allclose(actual[0], np.asarray(x).mean((1, 2)), 1e-5, 1e-6)
  np.testing.assert_allclose(actual[1], expected[1], 1e-6, 1e-6)


def test_the_mean_over_tokens_does_not_count_padding():
  x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
  x[0, 1], x[2] = np.nan, np.inf
  segments = np.array([[1, 0, 2, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
  found = pooling.mean_pool(jnp.asarray(x), segments)
  expected = [x[0, [0, 2, 3]].mean(0), x[1].mean(0), np.zeros(2)]
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  np.testing.assert_allclose(pooling.mean_pool(x[1:2], None), [x[1].mean(0)], rtol=1e-6)
