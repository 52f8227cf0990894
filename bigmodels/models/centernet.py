"""CenterNet: objects as points (Zhou et al., *Objects as Points*, 2019)."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv, ConvNorm
from bigmodels.layers.pyramid import FeaturePyramid, body_maps
from bigmodels.models.images import check_images
from bigmodels.models.validation import (
  check_probabilities,
  check_rates,
  check_sizes,
  check_strides,
)


class CenterNet(nn.Module):
  """A body, a feature pyramid, and three heads on its finest map.

  The paper enlarges the last map of the body by transposed convolutions; here a feature
  pyramid combines all of its maps.

  Attributes:
    num_outputs: number of classes.
    body: module, images -> maps; see `layers.pyramid.body_maps`.
    width: channels of the pyramid and of the heads.
    strides: those of the maps that are used; the first is the stride of the outputs.
    prior: initial probability of a center, at each pixel and class.
    momentum: decay rate of the running statistics, per batch.
  """

  num_outputs: int
  body: nn.Module
  width: int = 64
  strides: tuple[int, ...] = (4, 8, 16, 32)
  prior: float = 0.1
  momentum: float = 0.9

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'width')
    check_strides(self)
    check_rates(self, 'momentum')
    check_probabilities(self, 'prior')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> dict[str, jax.Array]:
    """Images `[batch, height, width, channels]` -> what is at each pixel of a map.

    Returns:
      `centres` `[batch, h, w, num_outputs]`, logits; `sizes` `[batch, h, w, 2]`, height
      and width, and `offsets` `[batch, h, w, 2]`, of the center from the corner of its
      pixel, in pixels of the map.

    Raises:
      ValueError: unless the inputs are images of floats that the strides divide.
    """
    check_images(self, inputs, self.strides[-1])
    maps = body_maps(self.body, inputs, self.strides, train=train)
    x, *_ = FeaturePyramid(self.width, 1, self.momentum, name='pyramid')(
      maps, train=train)
    prior = nn.initializers.constant(jnp.log(self.prior / (1 - self.prior)))

    def head(name: str, features: int, bias: Callable) -> jax.Array:
      y = ConvNorm(self.width, momentum=self.momentum, name=f'{name}_layer')(
        x, train=train)
      # With weights of 0.001, as the paper's code has, rare classes end in a layer
      # whose units are all 0.
      return Conv(features, (1, 1), bias_init=bias, name=name)(y)

    zeros = nn.initializers.zeros_init()
    return {'centres': head('centres', self.num_outputs, prior),
            'sizes': head('sizes', 2, zeros), 'offsets': head('offsets', 2, zeros)}
