"""Two-dimensional convolution that also trains fast on a CPU.

XLA's CPU backend runs a convolution fast where its operands lie in the order in which
it reads them. Those of the gradients that JAX derives do not: inside a loop the
kernel's takes two hundred times as long as it needs. So on a CPU both gradients are
written here as convolutions in the right order. What has few values in a window, or one
pixel, or images smaller than a window, is a product of patches with a matrix. A
convolution of each channel by itself, which XLA runs slowest of all, is a sum over the
places of the window. Elsewhere `lax.conv_general_dilated` is used. All agree to
rounding, in value and gradients.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax

from bigmodels.layers.normalization import BatchNorm

# Patches hold every input value h * w times: worth it up to these values of a window.
_FEW_VALUES = 32
_ORDER = ('NHWC', 'HWIO', 'NHWC')  # of images, filters and results
_MAX_SHIFTS = 25  # places of the window of a convolution of each channel by itself

# 'SAME' as TensorFlow has it: what is odd goes to the bottom and right. A number is
# put on every side, as PyTorch has it; the two differ where a stride is 2.
Padding = Literal['SAME', 'VALID'] | int


def conv(x, kernel, *, strides=(1, 1), padding: Padding = 'SAME', groups=1):
  """Cross-correlates images with a kernel, in the fastest way for the backend.

  The backend is `jax.default_backend()` when traced; another choice of device changes
  the speed only, not the result. On a CPU derivatives are taken in reverse only, of any
  order.

  Args:
    x: images, [batch, height, width, in].
    kernel: weights, [h, w, in // groups, out].
    strides: steps between windows, (vertical, horizontal), in pixels.
    padding: 'SAME' or 'VALID', as in `lax.conv_general_dilated`, or how many zeros are
      put on every side, in pixels.
    groups: of channels, each convolved into its part of the outputs; as many as
      there are channels: each by itself.

  Returns:
    [batch, out_height, out_width, out].

  Raises:
    ValueError: for another padding, or shapes that do not fit.
  """
  pads = _pads(x.shape, kernel.shape, strides, padding, groups)
  places = math.prod(kernel.shape[:2])
  if jax.default_backend() == 'cpu' and groups == 1:
    if places == 1 or _is_tiny(x.shape, kernel.shape, strides, pads):
      return _patches_times_matrix(x, kernel, strides, pads)
    if math.prod(kernel.shape[:3]) <= _FEW_VALUES:
      return conv_by_patches(x, kernel, strides, pads)
    return conv_in_order(x, kernel, strides, pads)
  if (jax.default_backend() == 'cpu' and places <= _MAX_SHIFTS
      and groups == x.shape[3] == kernel.shape[3]):
    return depthwise_by_shifts(x, kernel, strides, pads)
  return conv_by_lax(x, kernel, strides, pads, groups)


def _pads(size, window, strides, padding, groups) -> tuple[tuple[int, int], ...]:
  """Zeros (above, below) and (left, right), of shapes that fit."""
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


def _is_tiny(size, window, strides, pads) -> bool:
  """Whether a window is larger than what it goes over, in a gradient too.

  Those convolutions XLA runs up to eighty times slower.
  """
  for n, k, s, around in zip(size[1:3], window[:2], strides, pads, strict=True):
    outputs = (n + sum(around) - k) // s + 1
    if k > n or -(-k // s) > outputs or (outputs - 1) * s + 1 > n:
      return True
  return False


def conv_by_lax(x, kernel, strides, padding, groups=1):
  """`conv` as XLA's own convolution."""
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=_ORDER,
    feature_group_count=groups
  )


def _patches_times_matrix(x, kernel, strides, padding):
  """`conv` as patches [batch * out_height * out_width, h * w * in] times a matrix."""
  out = kernel.shape[3]
  patches = jnp.concatenate(_shifted(x, kernel.shape[:2], strides, padding), axis=-1)
  # Two axes only: the product's gradients take a fraction of the time.
  y = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, out)
  return y.reshape(*patches.shape[:-1], out)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_by_patches(x, kernel, strides, padding):
  """`conv` as XLA's own; as patches times a matrix where it is differentiated.

  The patches serve the value and the gradient by the kernel; for the value alone they
  are not worth their making. Its derivatives are taken in reverse only, of any order.
  """
  return conv_by_lax(x, kernel, strides, padding)


def _patches_forward(x, kernel, strides, padding):
  return jax.vjp(lambda x, kernel: _patches_times_matrix(
    x, kernel, strides, padding), x, kernel)


def _patches_backward(strides, padding, pullback, cotangent):
  del strides, padding
  return pullback(cotangent)


conv_by_patches.defvjp(_patches_forward, _patches_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_in_order(x, kernel, strides, padding):
  """`conv` as XLA's own, with both gradients as convolutions in its order.

  Its derivatives are taken in reverse only, of any order.
  """
  return conv_by_lax(x, kernel, strides, padding)


def _in_order_forward(x, kernel, strides, padding):
  # Itself, not XLA's: a gradient of the gradient goes through here, and its own rules
  # would be up to a hundred times slower.
  return conv_in_order(x, kernel, strides, padding), (x, kernel)


def _in_order_backward(strides, padding, kept, cotangent):
  x, kernel = kept
  return (_by_input(x, kernel, cotangent, strides, padding),
          _by_kernel(x, kernel, cotangent, strides, padding))


conv_in_order.defvjp(_in_order_forward, _in_order_backward)


def _by_input(x, kernel, cotangent, strides, padding):
  """The gradient of `conv_by_lax` by its images, as convolutions in their order.

  One for each place of a pixel within a stride: no zeros are put between those of the
  cotangent, which most of the products would be of.
  """
  down, across = (_of_stride(*sizes) for sizes in zip(
    x.shape[1:3], cotangent.shape[1:3], kernel.shape[:2], strides, padding,
    strict=True))
  rows = [jnp.stack([_at_place(cotangent, kernel, vertical, horizontal)
                     for horizontal in across], axis=3) for vertical in down]
  found = jnp.stack(rows, axis=2)  # [batch, rows, stride, columns, stride, in]
  batch, height, _, width, _, channels = found.shape
  found = found.reshape(
    batch, height * strides[0], width * strides[1], channels)
  return found[:, : x.shape[1], : x.shape[2]]


def _of_stride(size, outputs, window, stride, padding) -> list[tuple]:
  """For every place within a stride along an axis: the taps that meet a pixel there.

  Returns:
    first tap, stride between taps, and how many zeros come (before, after) the outputs
    for a convolution with these taps to give `ceil(size / stride)` pixels.
  """
  pixels, found = -(-size // stride), []
  for place in range(stride):
    shift, first = divmod(place + padding[0], stride)
    taps = -(-max(window - first, 0) // stride)
    before = taps - 1 - shift
    found.append((first, stride, (before, pixels - outputs - before + taps - 1)))
  return found


def _at_place(cotangent, kernel, vertical, horizontal):
  """What the taps of a place within the strides give."""
  (top, down, above), (left, across, beside) = vertical, horizontal
  taps = kernel[top::down, left::across][::-1, ::-1].swapaxes(2, 3)
  if not taps.size:  # strides that leave pixels out
    height, width = (n + sum(pads) - k + 1 for n, pads, k in zip(
      cotangent.shape[1:3], (above, beside), taps.shape[:2], strict=True))
    return jnp.zeros((len(cotangent), height, width, kernel.shape[2]), cotangent.dtype)
  if min(*above, *beside) < 0:
    # XLA reads beyond its input where one side is cut off and another filled up.
    cotangent = lax.pad(cotangent, jnp.zeros((), cotangent.dtype), (
      (0, 0, 0), (*above, 0), (*beside, 0), (0, 0, 0)))
    above = beside = (0, 0)
  return conv_in_order(cotangent, taps, (1, 1), (above, beside))


def _by_kernel(x, kernel, cotangent, strides, padding):
  """The gradient of `conv_by_lax` by its kernel, as a convolution in the right order.

  Its images are the channels, its windows the cotangent, its sums those over the batch.
  """
  height, width, channels = x.shape[1:]
  around = [
    (before, (m - 1) * s + k - before - n)
    for n, m, k, s, (before, _) in zip(
      (height, width), cotangent.shape[1:3], kernel.shape[:2], strides, padding,
      strict=True)]
  parts = 2 if channels % 2 == 0 else 1
  # XLA would take a transposition into the convolution, out of its order again.
  windows = lax.optimization_barrier(cotangent.transpose(1, 2, 0, 3))

  def of_channels(start):
    part = lax.dynamic_slice_in_dim(x, start, channels // parts, 3)
    found = lax.conv_general_dilated(
      lax.optimization_barrier(part.transpose(3, 1, 2, 0)), windows, (1, 1), around,
      rhs_dilation=strides, dimension_numbers=_ORDER,
      preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))
    return lax.optimization_barrier(found)

  # In a loop, or XLA would make the images anew, from those of the layers before.
  found = lax.map(of_channels, jnp.arange(0, channels, channels // parts))
  found = found.reshape(channels, *found.shape[2:])
  return found.transpose(1, 2, 0, 3).astype(kernel.dtype)


def _shifted(x, window, strides, padding) -> list[jax.Array]:
  """What is at each place of the windows.

  Args:
    x: images, [batch, height, width, channels].
    window: (h, w), in pixels.
    strides: steps between windows, (vertical, horizontal), in pixels.
    padding: zeros, ((above, below), (left, right)), in pixels.

  Returns:
    h * w arrays [batch, out_height, out_width, channels], by rows.
  """
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  return [place for row in _along(x, 1, window[0], strides[0])
          for place in _along(row, 2, window[1], strides[1])]


def _along(x, axis, window, stride) -> list[jax.Array]:
  """What is at each place of the windows along one axis."""
  end = x.shape[axis] - window + 1  # one past the last place at which a window starts
  return [lax.slice_in_dim(x, i, i + end, stride, axis) for i in range(window)]


def _weighted_places(x, kernel, strides, padding):
  places = _shifted(x, kernel.shape[:2], strides, padding)
  return sum(map(jnp.multiply, places, kernel.reshape(-1, kernel.shape[3])))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_by_shifts(x, kernel, strides, padding):
  """`conv` of each channel by itself: a sum over the h * w places of the window.

  Its derivatives are taken in reverse only, of any order.
  """
  return _weighted_places(x, kernel, strides, padding)


def _shifts_forward(x, kernel, strides, padding):
  return _weighted_places(x, kernel, strides, padding), (x, kernel)


def _shifts_backward(strides, padding, kept, cotangent):
  x, kernel = kept
  _, to_x = jax.vjp(lambda x: _weighted_places(x, kernel, strides, padding), x)
  places = _shifted(x, kernel.shape[:2], strides, padding)
  exact = jnp.promote_types(x.dtype, jnp.float32)
  sums = _sums([(place * cotangent).astype(exact) for place in places])
  return *to_x(cotangent), jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


depthwise_by_shifts.defvjp(_shifts_forward, _shifts_backward)


@jax.custom_jvp
def _sums(arrays):
  """The sum over all but the last axis of each of several arrays `[b, h, w, c]`.

  As one reduction, an image at a time, it takes a CPU a third to a tenth of the time
  of as many `jnp.sum`.
  """
  zeros = [jnp.zeros((), a.dtype) for a in arrays]
  found = lax.reduce(arrays, zeros, lambda a, b: list(map(jnp.add, a, b)), (1, 2))
  return [a.sum(0) for a in found]


@_sums.defjvp
def _sums_jvp(primals, tangents):
  return _sums(*primals), [t.sum((0, 1, 2)) for t in tangents[0]]


class Conv(nn.Module):
  """`flax.linen.Conv` for images: same parameter names, shapes and initial values.

  Attributes:
    features: number of output channels.
    kernel_size: (h, w), in pixels.
    strides: (vertical, horizontal), in pixels.
    padding: 'SAME', 'VALID' or pixels on every side; see `conv`.
    groups: of channels; see `conv`.
    use_bias: whether to add a bias per output channel.
    kernel_init: initializer of `kernel`, [h, w, in // groups, features].
    bias_init: initializer of `bias`, [features].
    dtype: of the computation; None promotes the input's and the parameters' dtypes.
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
  def __call__(self, x):
    """Maps [batch, height, width, in] to [batch, out_height, out_width, features]."""
    shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = None
    if self.use_bias:
      bias = self.param('bias', self.bias_init, (self.features,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    y = conv(x, kernel, strides=self.strides, padding=self.padding,
             groups=self.groups)
    return y if bias is None else y + bias


def conv_transpose(x, kernel, *, strides=(1, 1), padding=0):
  """The transpose of `conv`: what its gradient by its images makes of a cotangent.

  As PyTorch's `conv_transpose2d`. On a CPU it is several convolutions, one for each
  place within a stride, and derivatives are taken in reverse only, of any order.

  Args:
    x: images, [batch, height, width, in].
    kernel: weights of the convolution that it transposes, [h, w, out, in].
    strides: pixels between windows of its result, (vertical, horizontal).
    padding: pixels that are left out of the result on every side.

  Returns:
    [batch, (height - 1) * stride + h - 2 * padding, ..., out].

  Raises:
    ValueError: for shapes that do not fit.
  """
  if len(x.shape) != 4 or len(kernel.shape) != 4 or x.shape[3] != kernel.shape[3]:
    raise ValueError('expected [batch, height, width, in] and [h, w, out, in], got '
                     f'{x.shape} and {kernel.shape}')
  height, width = ((n - 1) * s + k - 2 * padding for n, s, k in zip(
    x.shape[1:3], strides, kernel.shape[:2], strict=True))
  if padding < 0 or min(height, width) < 1:
    raise ValueError(f'padding: {padding} pixels leave {height}x{width} images of '
                     f'{x.shape[1]}x{x.shape[2]} and a {kernel.shape[0]}x'
                     f'{kernel.shape[1]} window')
  pads = ((padding, padding),) * 2
  made = (height, width)
  if jax.default_backend() == 'cpu':
    return _transposed_in_order(x, kernel, made, strides, pads)
  images = jax.ShapeDtypeStruct((len(x), *made, kernel.shape[2]), x.dtype)
  transposed = jax.linear_transpose(
    lambda images: conv_by_lax(images, kernel, strides, pads), images)
  return transposed(x)[0]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _transposed_in_order(x, kernel, size, strides, padding):
  images = jax.ShapeDtypeStruct((len(x), *size, kernel.shape[2]), x.dtype)
  return _by_input(images, kernel, x, strides, padding)


def _transposed_forward(x, kernel, size, strides, padding):
  return _transposed_in_order(x, kernel, size, strides, padding), (x, kernel)


def _transposed_backward(size, strides, padding, kept, cotangent):
  del size
  x, kernel = kept
  return (conv_in_order(cotangent, kernel, strides, padding),
          _by_kernel(cotangent, kernel, x, strides, padding))


_transposed_in_order.defvjp(_transposed_forward, _transposed_backward)


class ConvTranspose(nn.Module):
  """A convolution the other way, which enlarges images; see `conv_transpose`.

  Attributes:
    features: number of output channels.
    kernel_size: (h, w), in pixels.
    strides: how much images are enlarged, (vertical, horizontal).
    padding: pixels left out on every side; a window of 4, a stride of 2 and 1 pixel
      double the images.
    use_bias: whether to add a bias per output channel.
    kernel_init: initializer of `kernel`, [h, w, features, in].
  """

  features: int
  kernel_size: tuple[int, int] = (4, 4)
  strides: tuple[int, int] = (2, 2)
  padding: int = 1
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)

  @nn.compact
  def __call__(self, x):
    """Maps [batch, height, width, in] to [batch, out_height, out_width, features]."""
    shape = (*self.kernel_size, self.features, x.shape[-1])
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = None
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros_init(), (self.features,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
    y = conv_transpose(x, kernel, strides=self.strides, padding=self.padding)
    return y if bias is None else y + bias


class ConvNorm(nn.Module):
  """A convolution, batch normalisation (Ioffe and Szegedy, 2015), an activation.

  Attributes:
    features: number of output channels.
    size: height and width of the filters, odd.
    stride: steps between windows, in pixels.
    padding: 'symmetric', as many zeros on every side, as PyTorch; 'SAME', as
      TensorFlow. They differ where the stride is 2.
    groups: of channels; see `conv`.
    activation: after the normalisation; None for none.
    momentum: share of the running statistics that a batch leaves as it was.
    epsilon: added to the variance.
    kernel_init: makes the initialiser of the filters.
    scale_init: initialiser of the normalisation's scale.
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
  def __call__(self, x, *, train):
    """`[batch, height, width, in]` -> `[batch, height / stride, ..., features]`."""
    x = Conv(
      self.features, (self.size,) * 2, (self.stride,) * 2,
      self.size // 2 if self.padding == 'symmetric' else self.padding, self.groups,
      use_bias=False, kernel_init=self.kernel_init(), name='conv')(x)
    x = BatchNorm(
      use_running_average=not train, momentum=self.momentum, epsilon=self.epsilon,
      scale_init=self.scale_init, name='norm')(x)
    return x if self.activation is None else self.activation(x)
