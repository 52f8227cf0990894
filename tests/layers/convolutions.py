"""Inputs and comparisons for the tests of convolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = {'float32': 1e-5, 'bfloat16': 4e-2, 'float16': 4e-3}


def inputs(size=(7, 6), kernel_size=(3, 3), dtype='float32'):
  rng = np.random.default_rng(0)
  shapes = (2, *size, 3), (*kernel_size, 3, 4)
  return tuple(jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def value_and_gradients(function, x, kernel, strides, padding):
  if isinstance(padding, str):
    padding = tuple(
      jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding))
  y, pullback = jax.vjp(lambda x, k: function(x, k, strides, padding), x, kernel)
  index = jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape)
  cotangent = jnp.sin(index).astype(y.dtype)
  return y, *pullback(cotangent)


def assert_close(actual, expected, tolerance=1e-5):
  for a, e in zip(actual, expected, strict=True):
    assert a.dtype == e.dtype
    assert a.shape == e.shape
    a, e = np.asarray(a, np.float32), np.asarray(e, np.float32)
    scale = max(np.abs(e).max(), 1.0)
    np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale)
