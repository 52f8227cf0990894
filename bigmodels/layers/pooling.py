"""Pooling.

Windows that do not overlap are a reshape. On a CPU the gradient of what is pooled so is
several times faster than that of `flax.linen.max_pool` (XLA's select-and-scatter). The
formulation, and so the tie rule, is the same on every backend. So it is for windows
that overlap, as the largest of shifted images, on a CPU alone; elsewhere these are left
to `flax.linen.max_pool`.

The largest is taken of two at a time. `jnp.max` is slower, and its gradient divides by
the number of values that equal the largest: none, and so NaN, where XLA works the
values out a second time with other rounding.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from bigmodels.layers.convolution import shifted


def max_pool(x, window, *, stride=None, padding=0):
  """Takes the largest value of each window.

  Gradient at a tie: halved between two at a time, where `flax.linen.max_pool` gives the
  whole of it to the first one.

  Args:
    x: images, [batch, height, width, channels].
    window: side of the square window, in pixels.
    stride: steps between windows, in pixels; None for the window, so that they do not
      overlap. Rows and columns that fill no window are dropped.
    padding: rows and columns of less than any value, on every side.

  Returns:
    [batch, (height + 2 * padding - window) // stride + 1, ..., channels].

  Raises:
    ValueError: if an image is smaller than the window.
  """
  if stride in (None, window) and not padding:
    x = _windows(x, window)
    x = functools.reduce(jnp.maximum, [x[:, :, i] for i in range(window)])
    return functools.reduce(jnp.maximum, [x[:, :, :, i] for i in range(window)])
  stride, pads = stride or window, ((padding, padding),) * 2
  if min(x.shape[1:3]) + 2 * padding < window or padding >= window:
    raise ValueError(f'a {x.shape[1]}x{x.shape[2]} image holds no {window}x{window} '
                     f'window, padded by {padding}')
  if jax.default_backend() != 'cpu':
    return nn.max_pool(x, (window, window), (stride, stride), pads)
  places = shifted(x, (window, window), (stride, stride), pads, -jnp.inf)
  return functools.reduce(jnp.maximum, places)


def average_pool(x, window):
  """Takes the mean of each window; arguments and result as in `max_pool`."""
  return _windows(x, window).mean(axis=(2, 4))


def _windows(x, window):
  """Views x as [batch, rows, window, columns, window, channels]."""
  batch, height, width, channels = x.shape
  rows, columns = height // window, width // window
  if not rows or not columns:
    raise ValueError(f'a {height}x{width} image holds no {window}x{window} window')
  x = x[:, : rows * window, : columns * window]
  return x.reshape(batch, rows, window, columns, window, channels)
