"""Two-dimensional convolution that also trains fast on a CPU.

XLA's CPU backend runs a convolution's kernel gradient slowly, and very slowly inside
`lax.while_loop` and `lax.fori_loop`. There the same sum is written as one matrix
product over patches, whose gradients are matrix products as well. Elsewhere
`lax.conv_general_dilated` is used. Both agree to rounding, in value and gradients.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax

# Patches hold every input value h * w times: past these sizes that is not worth it.
_MAX_WINDOW = 25
_MAX_PATCH_ELEMENTS = 2**27  # 512 MiB in float32; a large evaluation batch exceeds it


def conv(x, kernel, *, strides=(1, 1), padding='SAME'):
  """Cross-correlates images with a kernel, in the fastest way for the backend.

  The backend is `jax.default_backend()` when traced; another choice of device changes
  the speed only, not the result.

  Args:
    x: images, [batch, height, width, in].
    kernel: weights, [h, w, in, out].
    strides: steps between windows, (vertical, horizontal), in pixels.
    padding: 'SAME' or 'VALID', as in `lax.conv_general_dilated`.

  Returns:
    [batch, out_height, out_width, out].

  Raises:
    ValueError: for another padding, or shapes that do not fit.
  """
  if padding not in ('SAME', 'VALID'):
    raise ValueError(f"padding must be 'SAME' or 'VALID', got {padding!r}")
  if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
    raise ValueError(
      'expected [batch, height, width, in] and [h, w, in, out], '
      f'got {x.shape} and {kernel.shape}'
    )
  if padding == 'VALID' and any(
    k > n for k, n in zip(kernel.shape[:2], x.shape[1:3], strict=True)):
    raise ValueError(f'a {kernel.shape[0]}x{kernel.shape[1]} window is larger than '
                     f'{x.shape[1]}x{x.shape[2]} images')
  small = (
    math.prod(kernel.shape[:2]) <= _MAX_WINDOW
    and math.prod(x.shape[:3]) // math.prod(strides) * math.prod(kernel.shape[:3])
    <= _MAX_PATCH_ELEMENTS
  )
  if jax.default_backend() == 'cpu' and small:
    return conv_by_patches(x, kernel, strides, padding)
  return conv_by_lax(x, kernel, strides, padding)


def conv_by_lax(x, kernel, strides, padding):
  """`conv` as XLA's own convolution."""
  dimensions = ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=dimensions
  )


def conv_by_patches(x, kernel, strides, padding):
  """`conv` as patches [batch, out_height, out_width, h * w * in] times a matrix."""
  h, w, _, out = kernel.shape
  pads = lax.padtype_to_pads(x.shape[1:3], (h, w), strides, padding)
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  # One past the last row and column at which a window starts.
  bottom, right = x.shape[1] - h + 1, x.shape[2] - w + 1
  shifted = [
    x[:, i : i + bottom : strides[0], j : j + right : strides[1]]
    for i in range(h)
    for j in range(w)
  ]
  return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, out)


class Conv(nn.Module):
  """`flax.linen.Conv` for images: same parameter names, shapes and initial values.

  Attributes:
    features: number of output channels.
    kernel_size: (h, w), in pixels.
    strides: (vertical, horizontal), in pixels.
    padding: 'SAME' or 'VALID'.
    use_bias: whether to add a bias per output channel.
    kernel_init: initializer of `kernel`, [h, w, in, features].
    bias_init: initializer of `bias`, [features].
    dtype: of the computation; None promotes the input's and the parameters' dtypes.
  """

  features: int
  kernel_size: tuple[int, int] = (3, 3)
  strides: tuple[int, int] = (1, 1)
  padding: str = 'SAME'
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Dtype | None = None

  @nn.compact
  def __call__(self, x):
    """Maps [batch, height, width, in] to [batch, out_height, out_width, features]."""
    shape = (*self.kernel_size, x.shape[-1], self.features)
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = None
    if self.use_bias:
      bias = self.param('bias', self.bias_init, (self.features,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    y = conv(x, kernel, strides=self.strides, padding=self.padding)
    return y if bias is None else y + bias
