"""Convolutions in forms that train fast in XLA's CPU backend.

XLA's CPU backend is fast for a convolution whose operands are stored in the order in
which it reads them. This does not hold for the gradients that JAX derives: inside a
loop, the kernel's gradient takes two hundred times as long as necessary. Both gradients
are therefore written here as convolutions in the right order. For windows of few
values, windows of one pixel, and windows larger than the images, patches are multiplied
by a matrix. A depthwise convolution, the slowest in XLA, is a sum over the taps of the
window. All forms agree with `conv_by_lax` up to rounding, in value and gradients. They
support only reverse-mode differentiation, to any order.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Patches copy every input value h * w times: worthwhile up to these values per window.
_FEW_VALUES = 32
_MAX_SHIFTS = 25  # taps of a depthwise convolution's window
_ORDER = ('NHWC', 'HWIO', 'NHWC')  # of images, filters and results

Pair = tuple[int, int]


def conv(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Sequence[Pair],
         groups: int) -> jax.Array:
  """`layers.convolution.conv` in the fastest of the forms below.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights, `[h, w, in // groups, out]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.
    groups: number of groups of channels.

  Returns:
    `[batch, out_height, out_width, out]`.
  """
  taps = math.prod(kernel.shape[:2])
  if groups == 1:
    if taps == 1 or _is_tiny(x.shape, kernel.shape, strides, padding):
      return _patches_times_matrix(x, kernel, strides, padding)
    if math.prod(kernel.shape[:3]) <= _FEW_VALUES:
      return conv_by_patches(x, kernel, strides, padding)
    return conv_in_order(x, kernel, strides, padding)
  if taps <= _MAX_SHIFTS and groups == x.shape[3] == kernel.shape[3]:
    return depthwise_by_shifts(x, kernel, strides, padding)
  return conv_by_lax(x, kernel, strides, padding, groups)


def _is_tiny(size, window, strides, pads) -> bool:
  """Whether a window is larger than its input, here or in a gradient.

  XLA is up to eighty times slower for these convolutions.
  """
  for n, k, s, around in zip(size[1:3], window[:2], strides, pads, strict=True):
    outputs = (n + sum(around) - k) // s + 1
    if k > n or -(-k // s) > outputs or (outputs - 1) * s + 1 > n:
      return True
  return False


def conv_by_lax(x: jax.Array, kernel: jax.Array, strides: Pair,
                padding: Sequence[Pair], groups: int = 1) -> jax.Array:
  """XLA's own convolution; see `conv`.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights, `[h, w, in // groups, out]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.
    groups: number of groups of channels.

  Returns:
    `[batch, out_height, out_width, out]`.
  """
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=_ORDER,
    feature_group_count=groups
  )


# --- patches times a matrix ---


def _patches_times_matrix(x, kernel, strides, padding):
  """Patches `[batch * out_height * out_width, h * w * in]` times a matrix."""
  out = kernel.shape[3]
  patches = jnp.concatenate(shifted(x, kernel.shape[:2], strides, padding), axis=-1)
  # Two axes only: the product's gradients take a fraction of the time. A window of one
  # pixel makes a product of matrices; others are convolutions, which remain float32.
  y = jnp.matmul(patches.reshape(-1, patches.shape[-1]), kernel.reshape(-1, out),
                 precision=None if math.prod(kernel.shape[:2]) == 1 else 'highest')
  return y.reshape(*patches.shape[:-1], out)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_by_patches(x: jax.Array, kernel: jax.Array, strides: Pair,
                    padding: Sequence[Pair]) -> jax.Array:
  """`conv_by_lax`, computed as patches times a matrix when differentiated.

  The patches are used for the value and for the gradient with respect to the kernel;
  for the value alone they cost more than they save.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights, `[h, w, in, out]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.

  Returns:
    `[batch, out_height, out_width, out]`.
  """
  return conv_by_lax(x, kernel, strides, padding)


def _patches_forward(x, kernel, strides, padding):
  return jax.vjp(lambda x, kernel: _patches_times_matrix(
    x, kernel, strides, padding), x, kernel)


def _patches_backward(strides, padding, pullback, cotangent):
  del strides, padding
  return pullback(cotangent)


conv_by_patches.defvjp(_patches_forward, _patches_backward)


# --- gradients as convolutions in XLA's order ---


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_in_order(x: jax.Array, kernel: jax.Array, strides: Pair,
                  padding: Sequence[Pair]) -> jax.Array:
  """`conv_by_lax`, with both gradients as convolutions in the fast order.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights, `[h, w, in, out]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.

  Returns:
    `[batch, out_height, out_width, out]`.
  """
  return conv_by_lax(x, kernel, strides, padding)


def _in_order_forward(x, kernel, strides, padding):
  # Calls itself, not XLA's convolution: second derivatives pass through here, and are
  # up to a hundred times slower by XLA's own rules.
  return conv_in_order(x, kernel, strides, padding), (x, kernel)


def _in_order_backward(strides, padding, kept, cotangent):
  x, kernel = kept
  return (by_input(x, kernel, cotangent, strides, padding),
          _by_kernel(x, kernel, cotangent, strides, padding))


conv_in_order.defvjp(_in_order_forward, _in_order_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv_transpose(x: jax.Array, kernel: jax.Array, size: Pair, strides: Pair,
                   padding: Sequence[Pair]) -> jax.Array:
  """`layers.convolution.conv_transpose`: several convolutions, one for each phase.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights of the convolution that it transposes, `[h, w, out, in]`.
    size: (height, width) of the result, in pixels.
    strides: pixels between windows of the result, (vertical, horizontal).
    padding: pixels cropped from the result, ((above, below), (left, right)).

  Returns:
    `[batch, *size, out]`.
  """
  images = jax.ShapeDtypeStruct((len(x), *size, kernel.shape[2]), x.dtype)
  return by_input(images, kernel, x, strides, padding)


def _transpose_forward(x, kernel, size, strides, padding):
  return conv_transpose(x, kernel, size, strides, padding), (x, kernel)


def _transpose_backward(size, strides, padding, kept, cotangent):
  del size
  x, kernel = kept
  return (conv_in_order(cotangent, kernel, strides, padding),
          _by_kernel(cotangent, kernel, x, strides, padding))


conv_transpose.defvjp(_transpose_forward, _transpose_backward)


def by_input(x: Any, kernel: jax.Array, cotangent: jax.Array, strides: Pair,
             padding: Sequence[Pair], conv: Callable[..., jax.Array] = conv_in_order
             ) -> jax.Array:
  """The gradient of `conv_by_lax` with respect to its images, as convolutions.

  There is one convolution for each phase, the offset of a pixel within a stride. This
  avoids the zeros between the values of the cotangent, which would take part in most
  products.

  Args:
    x: images, or their shape and dtype, `[batch, height, width, in]`.
    kernel: weights, `[h, w, in, out]`.
    cotangent: of the result, `[batch, out_height, out_width, out]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.
    conv: form of the convolutions, with the arguments of `conv_in_order`.

  Returns:
    `[batch, height, width, in]`.
  """
  down, across = (_phases(*sizes) for sizes in zip(
    x.shape[1:3], cotangent.shape[1:3], kernel.shape[:2], strides, padding,
    strict=True))
  rows = [jnp.stack([_of_phase(cotangent, kernel, vertical, horizontal, conv)
                     for horizontal in across], axis=3) for vertical in down]
  found = jnp.stack(rows, axis=2)  # [batch, rows, stride, columns, stride, in]
  batch, height, _, width, _, channels = found.shape
  found = found.reshape(
    batch, height * strides[0], width * strides[1], channels)
  return found[:, : x.shape[1], : x.shape[2]]


def _phases(size, outputs, window, stride, padding) -> list[tuple]:
  """For every offset within a stride along an axis: the taps that cover a pixel there.

  Returns:
    First tap, stride between taps, and the number of zeros (before, after) the outputs
    with which a convolution with these taps gives `ceil(size / stride)` pixels.
  """
  pixels, found = -(-size // stride), []
  for offset in range(stride):
    shift, first = divmod(offset + padding[0], stride)
    taps = -(-max(window - first, 0) // stride)
    before = taps - 1 - shift
    found.append((first, stride, (before, pixels - outputs - before + taps - 1)))
  return found


def _of_phase(cotangent, kernel, vertical, horizontal, conv):
  """The gradient with respect to the pixels at one offset within the strides."""
  (top, down, above), (left, across, beside) = vertical, horizontal
  taps = kernel[top::down, left::across][::-1, ::-1].swapaxes(2, 3)
  if not taps.size:  # strides that skip pixels
    height, width = (n + sum(pads) - k + 1 for n, pads, k in zip(
      cotangent.shape[1:3], (above, beside), taps.shape[:2], strict=True))
    return jnp.zeros((len(cotangent), height, width, kernel.shape[2]), cotangent.dtype)
  if min(*above, *beside) < 0:
    # XLA reads beyond its input where one side is cropped and the other padded.
    cotangent = lax.pad(cotangent, jnp.zeros((), cotangent.dtype), (
      (0, 0, 0), (*above, 0), (*beside, 0), (0, 0, 0)))
    above = beside = (0, 0)
  return conv(cotangent, taps, (1, 1), (above, beside))


def _by_kernel(x, kernel, cotangent, strides, padding):
  """The gradient of `conv_by_lax` with respect to its kernel, as a convolution.

  Its images are the channels, its windows the cotangent, and its sums are over the
  batch.
  """
  height, width, channels = x.shape[1:]
  around = [
    (before, (m - 1) * s + k - before - n)
    for n, m, k, s, (before, _) in zip(
      (height, width), cotangent.shape[1:3], kernel.shape[:2], strides, padding,
      strict=True)]
  parts = 2 if channels % 2 == 0 else 1
  # XLA would fuse a transposition into the convolution, and undo the order.
  windows = lax.optimization_barrier(cotangent.transpose(1, 2, 0, 3))

  def of_channels(start):
    part = lax.dynamic_slice_in_dim(x, start, channels // parts, 3)
    found = lax.conv_general_dilated(
      lax.optimization_barrier(part.transpose(3, 1, 2, 0)), windows, (1, 1), around,
      rhs_dilation=strides, dimension_numbers=_ORDER,
      preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))
    return lax.optimization_barrier(found)

  # In a loop; otherwise XLA recomputes the images from those of earlier layers.
  found = lax.map(of_channels, jnp.arange(0, channels, channels // parts))
  found = found.reshape(channels, *found.shape[2:])
  return found.transpose(1, 2, 0, 3).astype(kernel.dtype)


# --- depthwise: a sum over the taps of the window ---


def shifted(x: jax.Array, window: Pair, strides: Pair, padding: Sequence[Pair]
            ) -> list[jax.Array]:
  """Returns the pixels under each tap of the window.

  Args:
    x: images, `[batch, height, width, channels]`.
    window: (h, w), in pixels.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.

  Returns:
    h * w arrays `[batch, out_height, out_width, channels]`, row by row.
  """
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  return [tap for row in _along(x, 1, window[0], strides[0])
          for tap in _along(row, 2, window[1], strides[1])]


def _along(x, axis, window, stride) -> list[jax.Array]:
  """The pixels under each tap of the window along one axis."""
  end = x.shape[axis] - window + 1  # one past the last pixel at which a window starts
  return [lax.slice_in_dim(x, i, i + end, stride, axis) for i in range(window)]


def _weighted_taps(x, kernel, strides, padding):
  taps = shifted(x, kernel.shape[:2], strides, padding)
  return sum(map(jnp.multiply, taps, kernel.reshape(-1, kernel.shape[3])))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_by_shifts(x: jax.Array, kernel: jax.Array, strides: Pair,
                        padding: Sequence[Pair]) -> jax.Array:
  """`conv_by_lax` of each channel separately: a sum over the h * w taps of the window.

  Args:
    x: images, `[batch, height, width, channels]`.
    kernel: weights, `[h, w, 1, channels]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.

  Returns:
    `[batch, out_height, out_width, channels]`.
  """
  return _weighted_taps(x, kernel, strides, padding)


def _shifts_forward(x, kernel, strides, padding):
  return _weighted_taps(x, kernel, strides, padding), (x, kernel)


def _shifts_backward(strides, padding, kept, cotangent):
  x, kernel = kept
  _, to_x = jax.vjp(lambda x: _weighted_taps(x, kernel, strides, padding), x)
  taps = shifted(x, kernel.shape[:2], strides, padding)
  exact = jnp.promote_types(x.dtype, jnp.float32)
  sums = _sums([(tap * cotangent).astype(exact) for tap in taps])
  return *to_x(cotangent), jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


depthwise_by_shifts.defvjp(_shifts_forward, _shifts_backward)


@jax.custom_jvp
def _sums(arrays):
  """The sum over all but the last axis of each of several arrays `[b, h, w, c]`.

  One reduction, an image at a time, takes a third to a tenth of the time of separate
  `jnp.sum`s on a CPU.
  """
  zeros = [jnp.zeros((), a.dtype) for a in arrays]
  found = lax.reduce(arrays, zeros, lambda a, b: list(map(jnp.add, a, b)), (1, 2))
  return [a.sum(0) for a in found]


@_sums.defjvp
def _sums_jvp(primals, tangents):
  return _sums(*primals), [t.sum((0, 1, 2)) for t in tangents[0]]
