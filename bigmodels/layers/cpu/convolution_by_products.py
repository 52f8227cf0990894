"""Convolutions as matrix products whose operands are rounded to bfloat16.

The matrix units of a CPU multiply bfloat16 several times faster than XLA convolves
float32, and more so for more channels. The products are of patches, the pixels under
each window, in bfloat16, and are added in float32; see `parallel.products`. As many
images at a time as caches hold: XLA would write the patches of all to memory, several
times as large as the images.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType

from bigmodels.core.rounding import MARK
from bigmodels.layers.cpu.convolution import Pair, by_input, shifted

_LEAST_CHANNELS = 64  # below, patches cost more than their products save
_PATCHES = 8 * 2**20  # bytes of those that are multiplied at a time


def pays(kernel: tuple[int, ...], groups: int) -> bool:
  """Whether a convolution is faster by products, forward and backward.

  Args:
    kernel: shape of its weights, `[h, w, in // groups, out]`.
    groups: number of groups of channels.
  """
  return groups == 1 and math.prod(kernel[:2]) > 1 and min(
    kernel[2:]) >= _LEAST_CHANNELS


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_by_products(x: jax.Array, kernel: jax.Array, strides: Pair,
                     padding: Sequence[Pair]) -> jax.Array:
  """`conv_by_lax` of operands that are rounded to bfloat16; so are its gradients.

  Args:
    x: images, float32 `[batch, height, width, in]`.
    kernel: weights, float32 `[h, w, in, out]`.
    strides: (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.

  Returns:
    float32 `[batch, out_height, out_width, out]`.
  """
  matrix = kernel.astype(jnp.bfloat16).reshape(-1, kernel.shape[3])

  def of(images):
    patches = _patches(images, kernel.shape[:2], strides, padding)
    found = _product(patches.reshape(-1, len(matrix)), matrix, over=1)
    return found.reshape(*patches.shape[:-1], -1)

  images = x.astype(jnp.bfloat16)
  count = _at_once(images, kernel.shape[:2], strides, padding)
  if count == len(x):
    return of(images)
  found = lax.map(of, images.reshape(-1, count, *x.shape[1:]))
  return found.reshape(len(x), *found.shape[2:])


def _forward(x, kernel, strides, padding):
  # Calls itself for the sake of second derivatives.
  return conv_by_products(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, kept, cotangent):
  x, kernel = kept
  return (by_input(x, kernel, cotangent, strides, padding, conv=conv_by_products),
          _by_kernel(x, kernel, cotangent, strides, padding))


conv_by_products.defvjp(_forward, _backward)


def _by_kernel(x, kernel, cotangent, strides, padding):
  """The gradient by the kernel: patches times cotangents, summed over the batch."""

  def of(images, cotangent):
    patches = _patches(images, kernel.shape[:2], strides, padding)
    return _product(patches.reshape(-1, patches.shape[-1]),
                    cotangent.reshape(-1, kernel.shape[3]), over=0)

  operands = x.astype(jnp.bfloat16), cotangent.astype(jnp.bfloat16)
  count = _at_once(operands[0], kernel.shape[:2], strides, padding)
  if count == len(x):
    found = of(*operands)
  else:
    found, _ = lax.scan(
      lambda total, some: (total + of(*some), None),
      jnp.zeros((math.prod(kernel.shape[:3]), kernel.shape[3])),
      tuple(each.reshape(-1, count, *each.shape[1:]) for each in operands))
  return found.reshape(kernel.shape)


def _patches(images, window, strides, padding) -> jax.Array:
  """The pixels under each window, `[batch, out_height, out_width, h * w * in]`."""
  # Behind a barrier, XLA cannot make the patches from float32 instead.
  return lax.optimization_barrier(
    jnp.concatenate(shifted(images, window, strides, padding), axis=-1))


def _product(left, right, over) -> jax.Array:
  """A marked product over this axis of the left and the first of the right matrix."""
  left, right = left.astype(jnp.float32), right.astype(jnp.float32)
  return lax.dot_general(left, right, (((over,), (0,)), ((), ())), precision=MARK)


def _at_once(images, window, strides, padding) -> int:
  """The number of images whose patches are made at a time; divides the batch."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.size > 1 and AxisType.Manual not in mesh.axis_types:
    return len(images)  # a loop over images of several devices would gather them
  patches = jax.eval_shape(
    partial(_patches, window=window, strides=strides, padding=padding), images)
  each = patches.dtype.itemsize * math.prod(patches.shape[1:])
  most = max(1, _PATCHES // each)
  return max(n for n in range(1, min(most, len(images)) + 1) if len(images) % n == 0)
