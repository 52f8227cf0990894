"""Pooling of images, and of sequences.

On a CPU, `layers.cpu.pooling` computes bitwise the same maxima, and the same means up
to rounding, in forms whose gradients are several times faster there.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from bigmodels.core import target
from bigmodels.layers.cpu import pooling as cpu


def max_pool(x: jax.Array, window: int, *, stride: int | None = None,
             padding: int = 0) -> jax.Array:
  """Takes the maximum of each window, as `flax.linen.max_pool`.

  At a tie, the first value in row order gets the whole gradient.

  Args:
    x: images, `[batch, height, width, channels]`.
    window: side of the square window, in pixels.
    stride: steps between windows, in pixels; None for the window, so that they do not
      overlap. Rows and columns that fill no window are dropped.
    padding: rows and columns of less than any value, on every side.

  Returns:
    `[batch, (height + 2 * padding - window) // stride + 1, ..., channels]`.

  Raises:
    ValueError: for a window or stride below 1, a padding that is negative or not
      smaller than the window, or an image smaller than the window.
  """
  stride = window if stride is None else stride
  for name, value, least in (
      ('window', window, 1), ('stride', stride, 1), ('padding', padding, 0)):
    if value < least:
      raise ValueError(f'{name}: must be >= {least}, got {value}')
  if padding >= window:
    raise ValueError(f'padding: must be < {window}, the window, got {padding}')
  if min(x.shape[1:3]) + 2 * padding < window:
    padded = f', padded by {padding}' if padding else ''
    raise ValueError(f'a {window}x{window} window is larger than a {x.shape[1]}x'
                     f'{x.shape[2]} image{padded}')
  if target.platform() == 'cpu':
    return cpu.max_pool(x, window, stride, padding)
  return nn.max_pool(x, (window,) * 2, (stride,) * 2, ((padding,) * 2,) * 2)


def average_pool(x: jax.Array, window: int) -> jax.Array:
  """Takes the mean of each window; windows do not overlap.

  Args:
    x: images, `[batch, height, width, channels]`.
    window: side of the square window, in pixels. Rows and columns that fill no window
      are dropped.

  Returns:
    `[batch, height // window, width // window, channels]`.

  Raises:
    ValueError: for a window below 1, or larger than the image.
  """
  if window < 1:
    raise ValueError(f'window: must be >= 1, got {window}')
  batch, height, width, channels = x.shape
  rows, columns = height // window, width // window
  if not rows or not columns:
    raise ValueError(f'a {window}x{window} window is larger than a {height}x{width} '
                     'image')
  x = x[:, : rows * window, : columns * window]
  return x.reshape(batch, rows, window, columns, window, channels).mean(axis=(2, 4))


def global_average_pool(x: jax.Array) -> jax.Array:
  """The mean over pixels: `[batch, height, width, channels]` -> `[batch, channels]`."""
  if target.platform() == 'cpu':
    return cpu.global_average_pool(x)
  return x.mean((1, 2))


def mean_pool(x: jax.Array, segments: jax.Array | None) -> jax.Array:
  """Takes the mean over the tokens of each sequence; 0 if it has none.

  Args:
    x: `[batch, length, width]`.
    segments: int `[batch, length]`, 0 for padding; None for no padding.

  Returns:
    `[batch, width]`.
  """
  if segments is None:
    return x.mean(1)
  tokens = (segments > 0)[..., None]
  return jnp.where(tokens, x, 0).sum(1) / jnp.maximum(tokens.sum(1), 1)
