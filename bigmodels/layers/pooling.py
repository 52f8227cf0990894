"""Pooling.

On a CPU the largest value of a window is found along one axis after the other, among
shifted images, and the gradient of that is several times faster than that of
`flax.linen.max_pool` (XLA's select-and-scatter), which is used elsewhere. They agree in
value and gradient.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


def max_pool(x, window, *, stride=None, padding=0):
  """Takes the largest value of each window.

  At a tie the first one, by rows, has all of the gradient.

  Args:
    x: images, [batch, height, width, channels].
    window: side of the square window, in pixels.
    stride: steps between windows, in pixels; None for the window, so that they do not
      overlap. Rows and columns that fill no window are dropped.
    padding: rows and columns of less than any value, on every side.

  Returns:
    [batch, (height + 2 * padding - window) // stride + 1, ..., channels].

  Raises:
    ValueError: for a window, stride or padding that is none, or an image that is
      smaller than the window.
  """
  stride = window if stride is None else stride
  for name, value, least in (
      ('window', window, 1), ('stride', stride, 1), ('padding', padding, 0)):
    if value < least:
      raise ValueError(f'{name}: wants at least {least}, got {value}')
  if padding >= window:
    raise ValueError(f'padding: wants less than the window of {window}, got {padding}')
  if min(x.shape[1:3]) + 2 * padding < window:
    padded = f', padded by {padding}' if padding else ''
    raise ValueError(f'a {x.shape[1]}x{x.shape[2]} image holds no {window}x{window} '
                     f'window{padded}')
  if jax.default_backend() != 'cpu':
    return nn.max_pool(x, (window,) * 2, (stride,) * 2, ((padding,) * 2,) * 2)
  for axis in (2, 1):
    x = functools.reduce(_larger, _places(x, axis, window, stride, padding))
  return x


def _larger(first, second):
  """Not `jnp.maximum`: that halves the gradient at a tie, and keeps more for it."""
  return jnp.where((second > first) | jnp.isnan(second), second, first)


def _places(x, axis, window, stride, padding) -> list[jax.Array]:
  """What is at each place of the windows along an axis.

  The axis is first cut into as many parts as the stride, of every so many values. The
  gradient of that puts them together again, where the one of a slice with steps would
  make an array of the size of x for each place.
  """
  out = (x.shape[axis] + 2 * padding - window) // stride + 1
  blocks = out - 1 + -(-window // stride)  # of as many values as the stride
  margins = [(0, 0, 0)] * x.ndim
  # What is less than 0 is cut off.
  margins[axis] = (padding, blocks * stride - padding - x.shape[axis], 0)
  floating = jnp.issubdtype(x.dtype, jnp.floating)
  least = -jnp.inf if floating else jnp.iinfo(x.dtype).min
  x = lax.pad(x, jnp.array(least, x.dtype), margins)
  x = x.reshape(*x.shape[:axis], blocks, stride, *x.shape[axis + 1:])
  parts = [part.squeeze(axis + 1) for part in lax.split(x, (1,) * stride, axis + 1)]
  return [
    lax.slice_in_dim(parts[i % stride], i // stride, i // stride + out, axis=axis)
    for i in range(window)]


def average_pool(x, window):
  """Takes the mean of each window; windows do not overlap.

  Args:
    x: images, [batch, height, width, channels].
    window: side of the square window, in pixels. Rows and columns that fill no window
      are dropped.

  Returns:
    [batch, height // window, width // window, channels].

  Raises:
    ValueError: if an image is smaller than the window.
  """
  if window < 1:
    raise ValueError(f'window: wants at least 1, got {window}')
  return _windows(x, window).mean(axis=(2, 4))


def global_average_pool(x):
  """The mean over pixels: `[batch, height, width, channels]` -> `[batch, channels]`.

  On a CPU it is a product: XLA has YNNPACK make a sum, together with the convolutions
  before it, and those take twice as long there; see `parallel.devices`.
  """
  if jax.default_backend() != 'cpu':
    return x.mean((1, 2))
  pixels = x.shape[1] * x.shape[2]
  share = jnp.full(pixels, 1 / pixels, x.dtype)
  return jnp.einsum('p,bpc->bc', share, x.reshape(len(x), pixels, x.shape[3]))


def _windows(x, window):
  """Views x as [batch, rows, window, columns, window, channels]."""
  batch, height, width, channels = x.shape
  rows, columns = height // window, width // window
  if not rows or not columns:
    raise ValueError(f'a {height}x{width} image holds no {window}x{window} window')
  x = x[:, : rows * window, : columns * window]
  return x.reshape(batch, rows, window, columns, window, channels)
