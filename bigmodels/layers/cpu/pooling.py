"""Pooling in forms that are fast in XLA's CPU backend."""

import functools

import jax
import jax.numpy as jnp
from jax import lax


def max_pool(x: jax.Array, window: int, stride: int, padding: int) -> jax.Array:
  """`layers.pooling.max_pool` as maxima of shifted images, one axis after the other.

  Its gradient takes a fraction of the time of XLA's select-and-scatter.

  Args:
    x: images, `[batch, height, width, channels]`.
    window: side of the square window, in pixels.
    stride: steps between windows, in pixels.
    padding: rows and columns of less than any value, on every side.

  Returns:
    `[batch, (height + 2 * padding - window) // stride + 1, ..., channels]`.
  """
  for axis in (2, 1):
    x = functools.reduce(_larger, _shifted(x, axis, window, stride, padding))
  return x


def _larger(first, second):
  """As `jnp.maximum`, which splits the gradient at ties and stores more for it."""
  return jnp.where((second > first) | jnp.isnan(second), second, first)


def _shifted(x, axis, window, stride, padding) -> list[jax.Array]:
  """The values at each offset within the windows along an axis.

  The axis is first split by its phase within the stride. The gradient of that rejoins
  the phases, whereas the gradient of a strided slice makes an array of the size of x
  for each offset.
  """
  out = (x.shape[axis] + 2 * padding - window) // stride + 1
  blocks = out - 1 + -(-window // stride)  # blocks of `stride` values
  margins = [(0, 0, 0)] * x.ndim
  # A negative margin crops.
  margins[axis] = (padding, blocks * stride - padding - x.shape[axis], 0)
  floating = jnp.issubdtype(x.dtype, jnp.floating)
  least = -jnp.inf if floating else jnp.iinfo(x.dtype).min
  x = lax.pad(x, jnp.array(least, x.dtype), margins)
  x = x.reshape(*x.shape[:axis], blocks, stride, *x.shape[axis + 1:])
  phases = [phase.squeeze(axis + 1) for phase in lax.split(x, (1,) * stride, axis + 1)]
  return [
    lax.slice_in_dim(phases[i % stride], i // stride, i // stride + out, axis=axis)
    for i in range(window)]


def global_average_pool(x: jax.Array) -> jax.Array:
  """The mean over pixels, `[batch, height, width, channels]` -> `[batch, channels]`.

  It is computed as a product. XLA would hand a sum to YNNPACK, together with the
  preceding convolutions, which take twice as long there; see `hardware.devices`.
  """
  pixels = x.shape[1] * x.shape[2]
  weights = jnp.full(pixels, 1 / pixels, x.dtype)
  return jnp.einsum('p,bpc->bc', weights, x.reshape(len(x), pixels, x.shape[3]),
                    precision='highest')
