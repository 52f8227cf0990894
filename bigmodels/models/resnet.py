"""Residual networks (He et al., *Deep residual learning for image recognition*, 2016).

Modules are named `stem`, `stage1/block1/layer1`, ..., `head`, counted from 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import ConvNorm
from bigmodels.layers.dense import Dense
from bigmodels.layers.pooling import global_average_pool, max_pool
from bigmodels.models import hugging_face
from bigmodels.models.hugging_face import Published, Setting
from bigmodels.models.images import check_images
from bigmodels.models.validation import (
  check_choices,
  check_positive,
  check_rates,
  check_sizes,
)

# Depth -> blocks of each stage (table 1); from 50 on they are bottlenecks.
_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
           152: (3, 8, 36, 3)}
_HE = partial(nn.initializers.variance_scaling, 2.0, 'fan_out', 'normal')
_SMALL = partial(nn.initializers.normal, 0.01)


class ResNet(nn.Module):
  """The networks for ImageNet.

  Attributes:
    num_outputs: number of classes; None for the body alone, whose outputs are the maps
      of all stages.
    depth: 18, 34, 50, 101 or 152 layers.
    width: channels of the first stage; each later stage has twice as many. Bottleneck
      blocks have four times as many outputs.
    stem: 'imagenet' is a 7x7 convolution and a pooling, both of stride 2; 'cifar' is a
      3x3 convolution, for images of about 32 pixels.
    stride_first: whether the stride of a bottleneck is in its first convolution, as in
      the paper; otherwise it is in the 3x3 convolution ("v1.5"), which is more accurate
      and more common.
    zero_init: whether the scale of the last normalization of each block is initialized
      to 0, so that blocks are identities (Goyal et al., *Accurate, large minibatch
      SGD*, 2017).
    momentum: decay rate of the running statistics, per batch.
    epsilon: added to variances.
    kernel_init: makes the initializer of the filters.
  """

  num_outputs: int | None
  depth: int = 50
  width: int = 64
  stem: Literal['imagenet', 'cifar'] = 'imagenet'
  stride_first: bool = False
  zero_init: bool = False
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = _HE

  def __post_init__(self):
    check_choices(self, depth=_STAGES, stem=('imagenet', 'cifar'))
    check_sizes(self, 'num_outputs', 'width')
    check_positive(self, 'epsilon')
    check_rates(self, 'momentum')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool
               ) -> jax.Array | tuple[jax.Array, ...]:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`, or maps.

    Raises:
      ValueError: unless the inputs are images of floats, and large enough.
    """
    check_images(self, inputs, 17 if self.stem == 'imagenet' else 5)
    layer = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon,
                    kernel_init=self.kernel_init)
    if self.stem == 'imagenet':
      x = layer(self.width, 7, 2, activation=None, name='stem')(inputs, train=train)
      # ReLU commutes with a maximum; after the pooling it takes a quarter of the work.
      x = nn.relu(max_pool(x, 3, stride=2, padding=1))
    else:
      x = layer(self.width, name='stem')(inputs, train=train)
    block = partial(_Block, layer, bottleneck=self.depth >= 50,
                    stride_first=self.stride_first, zero_init=self.zero_init)
    return _rest(x, block, _STAGES[self.depth], self.width, self.num_outputs, train)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters and statistics are in a file of ResNet.

    Raises:
      ValueError: if no such model is published.
    """
    for name, published in (('stem', 'imagenet'), ('epsilon', 1e-5)):
      if getattr(self, name) != published:
        raise ValueError(f'{name}: must be {published} as in the published ResNet, got '
                         f'{getattr(self, name)}')
    bottleneck = self.depth >= 50
    locations = {**hugging_face.conv_norm('stem', 'embedder.embedder'),
              **hugging_face.dense('head', 'classifier.1', transposed=True)}
    for stage, blocks in enumerate(_STAGES[self.depth]):
      for block in range(blocks):
        ours = f'stage{stage + 1}/block{block + 1}'
        theirs = f'encoder.stages.{stage}.layers.{block}'
        locations |= hugging_face.conv_norm(f'{ours}/shortcut', f'{theirs}.shortcut')
        for layer in range(3 if bottleneck else 2):
          locations |= hugging_face.conv_norm(
            f'{ours}/layer{layer + 1}', f'{theirs}.layer.{layer}')
    return Published(
      family='ResNet', model_type='resnet', architecture='ResNet',
      head='ForImageClassification', pipeline='image-classification',
      locations=locations, prefix='resnet.', unprefixed=r'classifier\..*', copies={},
      buffers=r'.*\.num_batches_tracked', other='',
      config={
        'hidden_act': Setting(('relu',), 'relu'),
        'layer_type': Setting(
          ('bottleneck' if bottleneck else 'basic',), 'bottleneck', of='stage.*'),
        'downsample_in_first_stage': Setting((False,), False, of='stage.*'),
        'downsample_in_bottleneck': Setting(
          (self.stride_first,) if bottleneck else (False, True), False,
          of='stage.*')},
      unchecked={
        'embedding_size': self.width, 'depths': list(_STAGES[self.depth]),
        'hidden_sizes': [self.width * 2**stage * (4 if bottleneck else 1)
                         for stage in range(4)]})


class CifarResNet(nn.Module):
  """The networks for CIFAR: three stages of n blocks, 6 n + 2 layers.

  Attributes:
    num_outputs: see `ResNet`.
    depth: 20, 32, 44, 56, 110, ...: any 6 n + 2.
    width: channels of the first stage; each later stage has twice as many.
    shortcut: the shortcut of blocks that change the shape: 'zeros' takes every other
      pixel and appends channels of zeros (the paper's option A), 'projection' is a 1x1
      convolution (option B).
    zero_init: see `ResNet`.
    momentum: see `ResNet`.
    epsilon: see `ResNet`.
    kernel_init: see `ResNet`.
  """

  num_outputs: int | None
  depth: int = 20
  width: int = 16
  shortcut: Literal['zeros', 'projection'] = 'zeros'
  zero_init: bool = False
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = _HE

  def __post_init__(self):
    if self.depth < 8 or self.depth % 6 != 2:
      nearest = 6 * max(1, round((self.depth - 2) / 6)) + 2
      raise ValueError('depth: must be 6 n + 2, such as 20, 56 or 110, got '
                       f'{self.depth}; the nearest is {nearest}')
    check_choices(self, shortcut=('zeros', 'projection'))
    check_sizes(self, 'num_outputs', 'width')
    check_positive(self, 'epsilon')
    check_rates(self, 'momentum')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool
               ) -> jax.Array | tuple[jax.Array, ...]:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`, or maps.

    Raises:
      ValueError: unless the inputs are images of floats, and large enough.
    """
    check_images(self, inputs, 3)
    layer = partial(ConvNorm, momentum=self.momentum, epsilon=self.epsilon,
                    kernel_init=self.kernel_init)
    x = layer(self.width, name='stem')(inputs, train=train)
    block = partial(_Block, layer, zeros=self.shortcut == 'zeros',
                    zero_init=self.zero_init)
    blocks = ((self.depth - 2) // 6,) * 3
    return _rest(x, block, blocks, self.width, self.num_outputs, train)


class _Block(nn.Module):
  """A few layers added to their input, then a ReLU.

  Attributes:
    layer: makes a `ConvNorm`.
    features: width of the layers.
    stride: stride of the block.
    bottleneck: whether the layers are 1x1, 3x3, and 1x1 with four times the features;
      otherwise they are two of 3x3.
    stride_first: see `ResNet`.
    zeros: see `CifarResNet.shortcut`.
    zero_init: see `ResNet`.
  """

  layer: Callable
  features: int
  stride: int
  bottleneck: bool = False
  stride_first: bool = False
  zeros: bool = False
  zero_init: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    first, second = self.stride, 1
    if self.bottleneck and not self.stride_first:
      first, second = second, first
    size, expansion = (1, 4) if self.bottleneck else (3, 1)
    layers = [
      partial(self.layer, self.features, size, first),
      partial(self.layer, self.features, 3, second)][:2 if self.bottleneck else 1]
    layers.append(partial(
      self.layer, self.features * expansion, size, activation=None,
      scale_init=nn.initializers.zeros if self.zero_init else nn.initializers.ones))
    y = x
    for number, layer in enumerate(layers, 1):
      y = layer(name=f'layer{number}')(y, train=train)
    if self.stride > 1 or x.shape[-1] != y.shape[-1]:
      if self.zeros:
        more = y.shape[-1] - x.shape[-1]
        x = jnp.pad(x[:, ::self.stride, ::self.stride], ((0, 0),) * 3 + ((0, more),))
      else:
        x = self.layer(y.shape[-1], 1, self.stride, activation=None, name='shortcut')(
          x, train=train)
    return nn.relu(x + y)


class _Stage(nn.Module):
  """Blocks of one width; the first one has the stride."""

  block: Callable
  blocks: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for number in range(1, self.blocks + 1):
      stride = self.stride if number == 1 else 1
      x = self.block(stride=stride, name=f'block{number}')(x, train=train)
    return x


def _rest(x: jax.Array, block: Callable, blocks: tuple[int, ...], width: int,
          num_outputs: int | None, train: bool) -> jax.Array | tuple[jax.Array, ...]:
  """Everything after the stem, in the calling module."""
  maps = []
  for stage, count in enumerate(blocks):
    x = _Stage(partial(block, features=width * 2**stage), count, min(stage + 1, 2),
               name=f'stage{stage + 1}')(x, train=train)
    maps.append(x)
  if num_outputs is None:
    return tuple(maps)
  return Dense(num_outputs, kernel_init=_SMALL, name='head')(global_average_pool(x))
