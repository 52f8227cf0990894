"""Two-dimensional convolution, its transpose, and the layers made of them.

They compute `lax.conv_general_dilated`. On a CPU, `layers.cpu.convolution` computes the
same up to rounding, in forms that train several times faster there.
"""

from collections.abc import Callable
from typing import Literal

import jax
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax

from bigmodels.core import rounding, target
from bigmodels.layers.cpu import convolution as cpu
from bigmodels.layers.cpu import convolution_by_products as by_products
from bigmodels.layers.normalization import BatchNorm

# 'SAME' is as in TensorFlow: of an odd number of zeros, the larger half is at the
# bottom and right. A number pads every side, as in PyTorch. They differ for a stride of
# 2.
Padding = Literal['SAME', 'VALID'] | int


def conv(x: jax.Array, kernel: jax.Array, *, strides: tuple[int, int] = (1, 1),
         padding: Padding = 'SAME', groups: int = 1) -> jax.Array:
  """Cross-correlates images with a kernel, in the fastest form for the backend.

  The backend is `target.platform()` when traced; running on another device changes the
  speed, but not the result. On a CPU only reverse-mode differentiation is
  supported, to any order.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights, `[h, w, in // groups, out]`.
    strides: steps between windows, (vertical, horizontal), in pixels.
    padding: 'SAME' or 'VALID', as in `lax.conv_general_dilated`, or the number of
      zeros on every side, in pixels.
    groups: number of groups of channels, each convolved into its own outputs. With as
      many groups as channels this is a depthwise convolution.

  Returns:
    `[batch, out_height, out_width, out]`.

  Raises:
    ValueError: for another padding, or shapes that do not fit.
  """
  pads = _pads(x.shape, kernel.shape, strides, padding, groups)
  if target.platform() == 'cpu':
    if rounding.marks() and by_products.pays(kernel.shape, groups):
      return by_products.conv_by_products(x, kernel, strides, pads)
    return cpu.conv(x, kernel, strides, pads, groups)
  return lax.conv_general_dilated(
    x, kernel, strides, pads, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups)


def _pads(size, window, strides, padding, groups) -> tuple[tuple[int, int], ...]:
  """Zeros (above, below) and (left, right), after a check of the shapes."""
  explicit = type(padding) is int and padding >= 0
  if not explicit and padding not in ('SAME', 'VALID'):
    raise ValueError("padding must be 'SAME', 'VALID' or a number of pixels, got "
                     f'{padding!r}')
  if (len(size) != 4 or len(window) != 4 or size[3] != window[2] * groups
      or window[3] % groups):
    of = f' of {groups} groups' if groups > 1 else ''
    raise ValueError(
      f'expected [batch, height, width, in] and [h, w, in, out]{of}, '
      f'got {size} and {window}'
    )
  pads = ((padding, padding),) * 2 if explicit else tuple(
    lax.padtype_to_pads(size[1:3], window[:2], strides, padding))
  if any(k > n + sum(p) for k, n, p in zip(window[:2], size[1:3], pads, strict=True)):
    raise ValueError(f'a {window[0]}x{window[1]} window is larger than '
                     f'{size[1]}x{size[2]} images')
  return pads


def conv_transpose(x: jax.Array, kernel: jax.Array, *,
                   strides: tuple[int, int] = (1, 1), padding: int = 0) -> jax.Array:
  """The transpose of `conv`: the map from a cotangent to the gradient by the images.

  The same as PyTorch's `conv_transpose2d`. On a CPU only reverse-mode differentiation
  is supported, to any order.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: weights of the convolution that it transposes, `[h, w, out, in]`.
    strides: pixels between windows of its result, (vertical, horizontal).
    padding: pixels that are cropped from the result on every side.

  Returns:
    `[batch, (height - 1) * stride + h - 2 * padding, ..., out]`.

  Raises:
    ValueError: for shapes that do not fit.
  """
  if len(x.shape) != 4 or len(kernel.shape) != 4 or x.shape[3] != kernel.shape[3]:
    raise ValueError('expected [batch, height, width, in] and [h, w, out, in], got '
                     f'{x.shape} and {kernel.shape}')
  size = tuple((n - 1) * s + k - 2 * padding for n, s, k in zip(
    x.shape[1:3], strides, kernel.shape[:2], strict=True))
  if padding < 0 or min(size) < 1:
    raise ValueError(f'padding: {padding} pixels leave {size[0]}x{size[1]} images of '
                     f'{x.shape[1]}x{x.shape[2]} and a {kernel.shape[0]}x'
                     f'{kernel.shape[1]} window')
  if target.platform() == 'cpu':
    return cpu.conv_transpose(x, kernel, size, strides, ((padding, padding),) * 2)
  transposed = jax.linear_transpose(
    lambda images: conv(images, kernel, strides=strides, padding=padding),
    jax.ShapeDtypeStruct((len(x), *size, kernel.shape[2]), x.dtype))
  return transposed(x)[0]


class Conv(nn.Module):
  """`flax.linen.Conv` for images: same parameter names, shapes and initial values.

  Attributes:
    features: number of output channels.
    kernel_size: (h, w), in pixels.
    strides: (vertical, horizontal), in pixels.
    padding: 'SAME', 'VALID' or pixels on every side; see `conv`.
    groups: number of groups of channels; see `conv`.
    use_bias: whether to add a bias per output channel.
    kernel_init: initializer of `kernel`, `[h, w, in // groups, features]`.
    bias_init: initializer of `bias`, `[features]`.
    dtype: dtype of the computation; None promotes the dtypes of input and parameters.
  """

  features: int
  kernel_size: tuple[int, int] = (3, 3)
  strides: tuple[int, int] = (1, 1)
  padding: Padding = 'SAME'
  groups: int = 1
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """`[batch, height, width, in]` -> `[batch, out_height, out_width, features]`.

    Raises:
      ValueError: for another padding, or shapes that do not fit.
    """
    shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = None
    if self.use_bias:
      bias = self.param('bias', self.bias_init, (self.features,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    y = conv(x, kernel, strides=self.strides, padding=self.padding,
             groups=self.groups)
    return y if bias is None else y + bias


class ConvTranspose(nn.Module):
  """A transposed convolution, which enlarges images; see `conv_transpose`.

  Attributes:
    features: number of output channels.
    kernel_size: (h, w), in pixels.
    strides: factors by which images are enlarged, (vertical, horizontal).
    padding: pixels cropped on every side; a window of 4 with a stride of 2 and a
      padding of 1 doubles the size.
    use_bias: whether to add a bias per output channel.
    kernel_init: initializer of `kernel`, `[h, w, features, in]`.
  """

  features: int
  kernel_size: tuple[int, int] = (4, 4)
  strides: tuple[int, int] = (2, 2)
  padding: int = 1
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """`[batch, height, width, in]` -> `[batch, out_height, out_width, features]`.

    Raises:
      ValueError: for shapes that do not fit.
    """
    shape = (*self.kernel_size, self.features, x.shape[-1])
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = None
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros_init(), (self.features,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
    y = conv_transpose(x, kernel, strides=self.strides, padding=self.padding)
    return y if bias is None else y + bias


class ConvNorm(nn.Module):
  """A convolution, batch normalization and an activation.

  Ioffe and Szegedy, *Batch normalization*, 2015.

  Attributes:
    features: number of output channels.
    size: height and width of the filters, odd.
    stride: steps between windows, in pixels.
    padding: 'symmetric', as many zeros on every side, as in PyTorch; 'SAME', as in
      TensorFlow. They differ where the stride is 2.
    groups: number of groups of channels; see `conv`.
    activation: activation after the normalization; None for none.
    momentum: decay rate of the running statistics, per batch.
    epsilon: added to the variance.
    kernel_init: makes the initializer of the filters.
    scale_init: initializer of the normalization's scale.
  """

  features: int
  size: int = 3
  stride: int = 1
  padding: Literal['symmetric', 'SAME'] = 'symmetric'
  groups: int = 1
  activation: Callable | None = nn.relu
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = nn.initializers.he_normal
  scale_init: Initializer = nn.initializers.ones_init()

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, height, width, in]` -> `[batch, height / stride, ..., features]`."""
    x = Conv(
      self.features, (self.size,) * 2, (self.stride,) * 2,
      self.size // 2 if self.padding == 'symmetric' else self.padding, self.groups,
      use_bias=False, kernel_init=self.kernel_init(), name='conv')(x)
    x = BatchNorm(
      use_running_average=not train, momentum=self.momentum, epsilon=self.epsilon,
      scale_init=self.scale_init, name='norm')(x)
    return x if self.activation is None else self.activation(x)
