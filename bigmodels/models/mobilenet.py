"""Small networks with depthwise convolutions.

Version 1: Howard et al., *MobileNets*, 2017; version 2: Sandler et al., *MobileNetV2:
inverted residuals and linear bottlenecks*, 2018. Initialization, normalization and
dropout are as in the authors' code.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax

from bigmodels.layers.convolution import ConvNorm
from bigmodels.layers.dense import Dense
from bigmodels.layers.pooling import global_average_pool
from bigmodels.models import hugging_face
from bigmodels.models.hugging_face import Location, Published, Setting
from bigmodels.models.images import check_images
from bigmodels.models.validation import (
  check_choices,
  check_positive,
  check_rates,
  check_sizes,
)

_REDUCTIONS = (1, 2, 4, 8, 16, 32)
_SMALL = partial(nn.initializers.truncated_normal, 0.09)
_HEAD = partial(nn.initializers.normal, 0.01)
# Channels and stride of each block (version 1, table 1).
_BLOCKS_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
              *((512, 1),) * 5, (1024, 2), (1024, 1))
# Channels and stride of each block (version 2, table 2).
_BLOCKS_V2 = ((16, 1), (24, 2), (24, 1), (32, 2), *((32, 1),) * 2, (64, 2),
              *((64, 1),) * 3, *((96, 1),) * 3, (160, 2), *((160, 1),) * 2, (320, 1))


class MobileNetV1(nn.Module):
  """Pairs of a depthwise 3x3 convolution and a 1x1 convolution.

  Attributes:
    num_outputs: number of classes; None for the body alone, whose outputs are the last
      map of each size, from a quarter of the image on.
    multiplier: multiplier of all widths.
    reduction: ratio of the sizes of the image and the last feature map, 32 as
      published. A smaller one drops the first strides; 8 is for images of about 32
      pixels.
    padding: 'SAME', as in the authors' code, or 'symmetric', as in PyTorch; see
      `ConvNorm`.
    dropout: rate of dropout, in training, of the averaged features.
    momentum: decay rate of the running statistics, per batch. The authors' 0.9997 takes
      about ten thousand steps to forget the initial statistics.
    epsilon: added to variances.
    kernel_init: makes the initializer of the filters.
  """

  num_outputs: int | None
  multiplier: float = 1.0
  reduction: int = 32
  padding: Literal['SAME', 'symmetric'] = 'SAME'
  dropout: float = 0.001
  momentum: float = 0.997
  epsilon: float = 1e-3
  kernel_init: Callable = _SMALL

  def __post_init__(self):
    _check(self)
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool
               ) -> jax.Array | tuple[jax.Array, ...]:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`, or maps.

    Raises:
      ValueError: unless the inputs are images of floats, and large enough.
    """
    check_images(self, inputs, self.reduction // 2 + 1)
    layer = _layer(self)

    def width(channels):
      return max(int(channels * self.multiplier), 8)

    first, *strides = _strides(self.reduction, _BLOCKS_V1)
    x, maps = layer(width(32), 3, first, name='stem')(inputs, train=train), []
    for number, ((channels, _), stride) in enumerate(
        zip(_BLOCKS_V1, strides, strict=True), 1):
      x = _Separable(layer, width(channels), stride, name=f'block{number}')(
        x, train=train)
      maps.append(x)
    if self.num_outputs is None:
      return _last_of_each_size(maps)
    return _head(self, x, train)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters and statistics are in a file of MobileNetV1.

    The parameters are the same for every `reduction`; a smaller one treats small images
    as if they were large.
    """
    locations = {**hugging_face.conv_norm('stem', 'conv_stem'),
              **hugging_face.dense('head', 'classifier', transposed=True)}
    for block in range(len(_BLOCKS_V1)):
      for part, name in enumerate(('depthwise', 'pointwise')):
        locations |= hugging_face.conv_norm(
          f'block{block + 1}/{name}', f'layer.{2 * block + part}')
    return _published(self, 1, locations, {})


class MobileNetV2(nn.Module):
  """Inverted residual blocks: expansion, depthwise convolution, projection.

  Attributes:
    num_outputs: see `MobileNetV1`.
    multiplier: multiplier of all widths; of the last layer's only if above 1.
    reduction: see `MobileNetV1`.
    padding: see `MobileNetV1`.
    dropout: see `MobileNetV1`.
    momentum: decay rate of the running statistics, per batch.
    epsilon: added to variances.
    kernel_init: makes the initializer of the filters.
  """

  num_outputs: int | None
  multiplier: float = 1.0
  reduction: int = 32
  padding: Literal['SAME', 'symmetric'] = 'SAME'
  dropout: float = 0.2
  momentum: float = 0.997
  epsilon: float = 1e-3
  kernel_init: Callable = _SMALL

  def __post_init__(self):
    _check(self)
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool
               ) -> jax.Array | tuple[jax.Array, ...]:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`, or maps.

    Raises:
      ValueError: unless the inputs are images of floats, and large enough.
    """
    check_images(self, inputs, self.reduction // 2 + 1)
    layer = _layer(self)
    first, *strides = _strides(self.reduction, _BLOCKS_V2)
    x, maps = layer(_in_eights(32 * self.multiplier), 3, first, name='stem')(
      inputs, train=train), []
    for number, ((channels, _), stride) in enumerate(
        zip(_BLOCKS_V2, strides, strict=True), 1):
      x = _Inverted(layer, _in_eights(channels * self.multiplier), stride,
                    1 if number == 1 else 6, name=f'block{number}')(x, train=train)
      maps.append(x)
    if self.num_outputs is None:
      return _last_of_each_size(maps)
    x = layer(_in_eights(1280 * max(1.0, self.multiplier)), 1, name='last')(
      x, train=train)
    return _head(self, x, train)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters and statistics are; see `MobileNetV1.hugging_face`."""
    names = {'expand': 'expand_1x1', 'depthwise': 'conv_3x3', 'project': 'reduce_1x1'}
    locations = {**hugging_face.conv_norm('stem', 'conv_stem.first_conv'),
              **hugging_face.conv_norm('last', 'conv_1x1'),
              **hugging_face.dense('head', 'classifier', transposed=True)}
    for block in range(len(_BLOCKS_V2)):
      # In the files, the first block belongs to the stem.
      part = f'layer.{block - 1}' if block else 'conv_stem'
      for ours, theirs in names.items():
        locations |= hugging_face.conv_norm(
          f'block{block + 1}/{ours}', f'{part}.{theirs}')
    return _published(self, 2, locations, {
      'expand_ratio': Setting((6.0,), 6.0, of='block.*'),
      'output_stride': Setting((32,), 32, of='block.*'),
      'first_layer_is_expansion': Setting((True,), True, of='block.*')})


class _Separable(nn.Module):
  """A depthwise convolution, and a 1x1 convolution."""

  layer: Callable
  features: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    channels = x.shape[-1]
    x = self.layer(channels, 3, self.stride, groups=channels, name='depthwise')(
      x, train=train)
    return self.layer(self.features, 1, name='pointwise')(x, train=train)


class _Inverted(nn.Module):
  """An inverted residual: wide inside, narrow and linear at its ends."""

  layer: Callable
  features: int
  stride: int
  expansion: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y, wide, first = x, x.shape[-1] * self.expansion, self.expansion == 1
    if not first:
      y = self.layer(wide, 1, name='expand')(y, train=train)
    y = self.layer(wide, 3, self.stride, groups=wide, name='depthwise')(y, train=train)
    y = self.layer(self.features, 1, activation=None, name='project')(y, train=train)
    # The first has no residual, even if a small multiplier makes all widths 8.
    return x + y if x.shape == y.shape and not first else y


def _check(model: MobileNetV1 | MobileNetV2) -> None:
  check_sizes(model, 'num_outputs')
  check_positive(model, 'multiplier', 'epsilon')
  check_rates(model, 'dropout', 'momentum')
  check_choices(model, reduction=_REDUCTIONS, padding=('SAME', 'symmetric'))


def _layer(model: MobileNetV1 | MobileNetV2) -> Callable:
  return partial(ConvNorm, padding=model.padding, activation=nn.relu6,
                 momentum=model.momentum, epsilon=model.epsilon,
                 kernel_init=model.kernel_init)


def _head(model: MobileNetV1 | MobileNetV2, x: jax.Array, train: bool) -> jax.Array:
  x = nn.Dropout(model.dropout, deterministic=not train)(global_average_pool(x))
  return Dense(model.num_outputs, kernel_init=_HEAD, name='head')(x)


def _last_of_each_size(maps: list[jax.Array]) -> tuple[jax.Array, ...]:
  """The last of the maps of each size, the first size left out: it has few channels."""
  last = {x.shape[1:3]: x for x in maps}
  return tuple(last.values())[1:]


def _published(model: MobileNetV1 | MobileNetV2, version: int,
               locations: dict[str, Location], config: dict[str, Setting]) -> Published:
  return Published(
    family=f'MobileNetV{version}', model_type=f'mobilenet_v{version}',
    architecture=f'MobileNetV{version}', head='ForImageClassification',
    pipeline='image-classification', locations=locations,
    prefix=f'mobilenet_v{version}.', unprefixed=r'classifier\..*', copies={},
    buffers=r'.*\.num_batches_tracked', other='',
    config={'hidden_act': Setting(('relu6',), 'relu6'),
            'tf_padding': Setting((model.padding == 'SAME',), True),
            'layer_norm_eps': Setting((model.epsilon,), 0.001), **config},
    unchecked={'depth_multiplier': model.multiplier, 'min_depth': 8,
               'classifier_dropout_prob': model.dropout},
    unlike='' if model.reduction == 32 else
    f'reduction: must be 32 in transformers, got {model.reduction}')


def _strides(reduction: int, blocks: tuple[tuple[int, int], ...]) -> list[int]:
  """Strides of the stem and of each block: the last of the published strides."""
  strides, left = [2, *(stride for _, stride in blocks)], reduction
  for i in reversed(range(len(strides))):
    strides[i] = min(strides[i], left)
    left //= strides[i]
  return strides


def _in_eights(width: float) -> int:
  """The nearest multiple of 8 that is at least nine tenths of a width."""
  width = round(width)
  near = max(8, int(width + 4) // 8 * 8)
  return near + 8 if near < 0.9 * width else near
