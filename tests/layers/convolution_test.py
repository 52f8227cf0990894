"""Tests of bigmodels.layers.convolution against XLA's and Flax's convolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bigmodels.layers import convolution

TOLERANCE = {'float32': 1e-5, 'bfloat16': 4e-2, 'float16': 4e-3}


def _inputs(size=(7, 6), kernel_size=(3, 3), dtype='float32'):
  x_key, kernel_key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(x_key, (2, *size, 3), dtype)
  kernel = jax.random.normal(kernel_key, (*kernel_size, 3, 4), dtype)
  return x, kernel


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _value_and_gradients(function, x, kernel, strides, padding):
  y, pullback = jax.vjp(lambda x, k: function(x, k, strides, padding), x, kernel)
  cotangent = jax.random.normal(jax.random.key(1), y.shape, y.dtype)
  return y, *pullback(cotangent)


def _assert_close(actual, expected, tolerance=1e-5):
  for a, e in zip(actual, expected, strict=True):
    assert a.dtype == e.dtype
    assert a.shape == e.shape
    a, e = np.asarray(a, np.float32), np.asarray(e, np.float32)
    scale = max(np.abs(e).max(), 1.0)
    np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('strides', [(1, 1), (2, 2)])
@pytest.mark.parametrize('kernel_size', [(3, 3), (2, 5)])
@pytest.mark.parametrize('size', [(8, 8), (7, 6)])
def test_patches_equal_lax(size, kernel_size, strides, padding):
  _compare_formulations(*_inputs(size, kernel_size), strides, padding)


@pytest.mark.parametrize('dtype', TOLERANCE)
def test_patches_equal_lax_in_other_dtypes(dtype):
  _compare_formulations(*_inputs(dtype=dtype), (2, 1), 'SAME', TOLERANCE[dtype])


def _compare_formulations(x, kernel, strides, padding, tolerance=1e-5):
  actual, expected = (
    _value_and_gradients(f, x, kernel, strides, padding)
    for f in (convolution.conv_by_patches, convolution.conv_by_lax)
  )
  _assert_close(actual, expected, tolerance)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('limit', ['_MAX_WINDOW', '_MAX_PATCH_ELEMENTS', None])
def test_formulation_follows_backend_and_shape(monkeypatch, backend, limit):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  if limit:
    monkeypatch.setattr(convolution, limit, 8)
  # A new function for each case: JAX keeps the trace of one that it has seen.
  jaxpr = str(jax.make_jaxpr(lambda x, k: convolution.conv(x, k))(*_inputs()))
  by_patches = backend == 'cpu' and limit is None
  assert ('dot_general' in jaxpr) == by_patches
  assert ('conv_general_dilated' in jaxpr) != by_patches


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_jit_vmap_and_grad(monkeypatch, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x, kernel = _inputs()
  xs = jnp.stack([x, -x, 2 * x])

  def loss(function):
    return lambda kernel, x: (function(x, kernel, (2, 2), 'SAME') ** 2).sum()

  def conv(x, kernel, strides, padding):
    return convolution.conv(x, kernel, strides=strides, padding=padding)

  actual = jax.jit(jax.vmap(jax.grad(loss(conv)), (None, 0)))(kernel, xs)
  gradient = jax.grad(loss(convolution.conv_by_lax))
  _assert_close(actual, [gradient(kernel, x) for x in xs])


@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_module_equals_flax(use_bias, padding, dtype):
  x, _ = _inputs()
  arguments = {
    'features': 5,
    'kernel_size': (3, 2),
    'strides': (2, 1),
    'padding': padding,
    'use_bias': use_bias,
    'bias_init': nn.initializers.normal(),
    'dtype': dtype,
  }
  ours, flaxs = convolution.Conv(**arguments), nn.Conv(**arguments)
  variables = ours.init(jax.random.key(3), x)
  expected = flaxs.init(jax.random.key(3), x)
  assert jax.tree.structure(variables) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, variables, expected)
  tolerance = TOLERANCE[dtype or 'float32']
  _assert_close([ours.apply(variables, x)], [flaxs.apply(variables, x)], tolerance)


def test_default_module_equals_flax_default():
  x, _ = _inputs()
  variables = convolution.Conv(4).init(jax.random.key(0), x)
  expected = nn.Conv(4, (3, 3)).init(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_errors():
  x, kernel = _inputs()
  with pytest.raises(ValueError, match='padding'):
    convolution.conv(x, kernel, padding='CIRCULAR')
  with pytest.raises(ValueError, match='expected'):
    convolution.conv(x[..., :2], kernel)
