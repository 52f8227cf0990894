"""Plain deep convolutional networks.

Simonyan and Zisserman, *Very deep convolutional networks for large-scale image
recognition* (VGG), 2015.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv
from bigmodels.layers.normalization import BatchNorm
from bigmodels.layers.pooling import average_pool, global_average_pool, max_pool
from bigmodels.models import hugging_face
from bigmodels.models.hugging_face import Location, Published
from bigmodels.models.images import check_images
from bigmodels.models.mlp import Mlp
from bigmodels.models.validation import (
  check_choices,
  check_positive,
  check_rates,
  check_sizes,
)

# Depth -> convolutions before each pooling (table 1, A, B, D and E).
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3),
           19: (2, 2, 4, 4, 4)}


class VggFeatures(nn.Module):
  """The convolutions of VGG, and what is read after each: 3x3, five poolings by 2.

  A layer is named as in the literature: `relu4_2` is the output of the second
  convolution of the fourth stage, after its activation.

  Attributes:
    depth: 11, 13, 16 or 19 layers, of which the last three are no convolutions.
    width: channels of the first stage; doubled after each of the first three poolings.
    batch_norm: whether to normalize by batch statistics before the activations.
    pool: 'max' as published, or 'average', which Gatys et al. prefer for images made
      of features.
    mean, std: by channel, of the images that it was trained on, from 0 to 255: inputs
      are images from 0 to 1, and are standardized by them. None for inputs that are
      standardized already.
    momentum: decay rate of the running statistics, per batch.
    epsilon: added to variances.
    kernel_init: makes the initializer of weights.
  """

  depth: int = 16
  width: int = 64
  batch_norm: bool = False
  pool: Literal['max', 'average'] = 'max'
  mean: tuple[float, ...] | None = None
  std: tuple[float, ...] | None = None
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = nn.initializers.he_normal

  def __post_init__(self):
    check_choices(self, depth=_STAGES, pool=('max', 'average'))
    check_sizes(self, 'width')
    check_rates(self, 'momentum')
    check_positive(self, 'epsilon')
    if (self.mean is None) != (self.std is None) or min(self.std or (1.0,)) <= 0:
      raise ValueError('mean, std: must both be None, or numbers by channel, and std > '
                       f'0; got {self.mean} and {self.std}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> dict[str, jax.Array]:
    """`[batch, height, width, channels]` -> layer -> `[batch, ..., channels]`.

    The layers are those of `layers`. A grey image is each of the channels of `mean`.

    Raises:
      ValueError: unless the inputs are images of floats, of at least 32x32 pixels.
    """
    check_images(self, inputs, 32)
    x, found = inputs, {}
    if self.mean is not None:
      mean, std = (jnp.array(each, x.dtype) for each in (self.mean, self.std))
      x = (255 * x - mean) / std
    for stage, layer, last in _convolutions(self.depth):
      name = f'{stage}_{layer}'
      x = Conv(self.width * min(2 ** (stage - 1), 8), kernel_init=self.kernel_init(),
               name=f'conv{name}')(x)
      if self.batch_norm:
        x = BatchNorm(use_running_average=not train, momentum=self.momentum,
                      epsilon=self.epsilon, name=f'norm{name}')(x)
      found[f'relu{name}'] = nn.relu(x)
      if not last:
        x = found[f'relu{name}']
      elif self.pool == 'max':
        # ReLU commutes with a maximum; after the pooling it is a quarter of the work.
        x = nn.relu(max_pool(x, 2))
      else:
        x = average_pool(found[f'relu{name}'], 2)
    return {**found, 'pool5': x}

  @property
  def layers(self) -> tuple[str, ...]:
    """The names of its outputs, from the input on."""
    return (*(f'relu{stage}_{layer}' for stage, layer, _ in _convolutions(self.depth)),
            'pool5')

  @nn.nowrap
  def published(self, **unpublished: str) -> Published:
    """Where its parameters are in a file of torchvision's VGG; names as in `Vgg`.

    Args:
      **unpublished: other parts of the model that has these features -> what they are.
    """
    locations, index = {}, 0
    for stage, layer, last in _convolutions(self.depth):
      ours, theirs = f'features/{{}}{stage}_{layer}', 'features.{}'.format
      locations |= hugging_face.dense(ours.format('conv'), theirs(index),
                                      transposed=True)
      if self.batch_norm:
        index += 1
        norm = ours.format('norm')
        locations |= {
          **hugging_face.norm(norm, theirs(index)),
          f'{norm}/mean': Location(f'{theirs(index)}.running_mean'),
          f'{norm}/var': Location(f'{theirs(index)}.running_var')}
      index += 2 + last
    return Published(
      family='VGG', model_type='vgg', architecture='VGG', head='', pipeline='',
      locations=locations, prefix='', unprefixed='', copies={},
      buffers=r'.*\.num_batches_tracked', other=r'(classifier|head|pre_logits)\..*',
      config={}, unchecked={},
      unpublished={f'{part}/.*': what for part, what in unpublished.items()},
      unlike='transformers has no VGG')


class Vgg(nn.Module):
  """`VggFeatures`, then dense layers.

  Attributes:
    num_outputs: number of classes.
    depth, width: see `VggFeatures`.
    hidden: widths of the dense layers before the last, which read the whole last
      feature map; if empty, the last layer reads its average, as is usual on CIFAR.
    dropout: rate of dropout, in training, of the hidden dense layers' units.
    batch_norm, momentum, epsilon, kernel_init: see `VggFeatures`.
  """

  num_outputs: int
  depth: int = 16
  width: int = 64
  hidden: tuple[int, ...] = (4096, 4096)
  dropout: float = 0.5
  batch_norm: bool = False
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = nn.initializers.he_normal

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'hidden')
    check_rates(self, 'dropout')
    self._features()  # checks the others
    super().__post_init__()

  @nn.nowrap
  def _features(self, **named) -> VggFeatures:
    return VggFeatures(
      self.depth, self.width, self.batch_norm, momentum=self.momentum,
      epsilon=self.epsilon, kernel_init=self.kernel_init, **named)

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`.

    Raises:
      ValueError: unless the inputs are images of floats, of at least 32x32 pixels.
    """
    check_images(self, inputs, 32)
    x = self._features(name='features')(inputs, train=train)['pool5']
    if not self.hidden:
      x = global_average_pool(x)
    return Mlp(self.num_outputs, self.hidden, dropout=self.dropout,
               kernel_init=self.kernel_init, name='head')(x, train=train)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where the parameters of its convolutions are in a file of torchvision's VGG."""
    return self._features(parent=None).published(
      head='the dense layers are not read from such files')


# The features that images are compared by: of a run of `cifar_vgg`, whose images have
# these statistics, and of torchvision's file, trained on ImageNet.
CifarVggFeatures = partial(
  VggFeatures, depth=16, batch_norm=True, mean=(125.3, 123.0, 113.9),
  std=(63.0, 62.1, 66.7))
Vgg19Features = partial(
  VggFeatures, depth=19, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def _convolutions(depth: int) -> Iterator[tuple[int, int, bool]]:
  """The stage and number of each convolution, from 1, and if a pooling follows."""
  for stage, count in enumerate(_STAGES[depth], 1):
    for layer in range(1, count + 1):
      yield stage, layer, layer == count
