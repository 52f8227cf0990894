"""YOLO without anchors (Ge et al., *YOLOX: exceeding YOLO series in 2021*, 2021)."""

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


class Yolo(nn.Module):
  """A body, a feature pyramid, and a decoupled head on each of its maps.

  Classes and boxes are computed by branches of their own.

  Attributes:
    num_outputs: number of classes.
    body: module, images -> maps; see `layers.pyramid.body_maps`.
    width: channels of the pyramid and of the heads.
    strides: those of the maps that are used.
    depth: layers of each branch of a head.
    prior: initial probability of an object, and of a class.
    momentum: decay rate of the running statistics, per batch.
  """

  num_outputs: int
  body: nn.Module
  width: int = 64
  strides: tuple[int, ...] = (8, 16, 32)
  depth: int = 2
  prior: float = 0.01
  momentum: float = 0.9

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'width', 'depth')
    check_strides(self)
    check_rates(self, 'momentum')
    check_probabilities(self, 'prior')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool
               ) -> tuple[dict[str, jax.Array], ...]:
    """Images `[batch, height, width, channels]` -> the outputs of each map.

    Returns:
      for each stride `classes` `[batch, h, w, num_outputs]` and `objects` `[batch, h,
      w, 1]`, logits; and `boxes` `[batch, h, w, 4]`: the row and column of a center,
      from the center of its cell, and the logarithms of height and width, all in cells.

    Raises:
      ValueError: unless the inputs are images of floats that the strides divide.
    """
    check_images(self, inputs, self.strides[-1])
    maps = body_maps(self.body, inputs, self.strides, train=train)
    maps = FeaturePyramid(self.width, momentum=self.momentum, name='pyramid')(
      maps, train=train)
    prior = nn.initializers.constant(jnp.log(self.prior / (1 - self.prior)))
    found = []
    for level, x in enumerate(maps, 1):
      def branch(name, y, level=level):
        for number in range(1, self.depth + 1):
          y = ConvNorm(self.width, activation=nn.silu, momentum=self.momentum,
                       name=f'{name}{level}_layer{number}')(y, train=train)
        return y

      def outputs(name, y, features, bias, level=level):
        return Conv(features, (1, 1), bias_init=bias, name=f'{name}{level}')(y)

      of_class, of_box = branch('classes', x), branch('boxes', x)
      found.append({
        'classes': outputs('classes', of_class, self.num_outputs, prior),
        'objects': outputs('objects', of_box, 1, prior),
        'boxes': outputs('boxes', of_box, 4, nn.initializers.zeros_init())})
    return tuple(found)
