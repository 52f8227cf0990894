"""The U-Net that finds the class of each pixel.

Ronneberger et al., *U-Net: convolutional networks for biomedical image segmentation*,
2015. `models.DiffusionUnet`, of diffusion models, has residual blocks, attention and a
time instead.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import ConvNorm, ConvTranspose
from bigmodels.layers.dense import Dense
from bigmodels.layers.pooling import max_pool
from bigmodels.models.images import check_images
from bigmodels.models.validation import (
  check_positive,
  check_rates,
  check_sizes,
)

_MOST_HALVINGS = 6


class SegmentationUnet(nn.Module):
  """Two convolutions at each of several resolutions, on the way down and up again.

  Sides of any length are halved, and rounded up. Unlike the paper's, convolutions are
  padded with zeros, so that the logits have the size of the image, and followed by
  batch normalization.

  Attributes:
    num_outputs: number of classes.
    width: channels at full resolution; each halving doubles them.
    halvings: how often both sides are halved, 1 to 6.
    dropout: rate of dropout after the lowest resolution.
    momentum: decay rate of the running statistics, per batch.
    epsilon: added to variances.
    kernel_init: makes the initializer of the filters.
  """

  num_outputs: int
  width: int = 64
  halvings: int = 4
  dropout: float = 0.0
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = nn.initializers.he_normal

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'width')
    check_positive(self, 'epsilon')
    check_rates(self, 'dropout', 'momentum')
    if not 1 <= self.halvings <= _MOST_HALVINGS:
      raise ValueError(f'halvings: must be 1 to {_MOST_HALVINGS}, got {self.halvings}')
    super().__post_init__()

  @property
  def radius(self) -> int:
    """Pixels of the input, in each direction, that a pixel of the output reads.

    It is rounded up to what the lowest resolution has of a pixel, so that a part of an
    image that begins as much earlier is pooled as in the whole.
    """
    step = 2**self.halvings
    # Two pixels at the lowest resolution; at each other one 4 and, of the halving, 1.
    return -(-(7 * step - 5) // step) * step

  @nn.compact
  def __call__(self, inputs: jax.Array, inside: jax.Array | None = None, *,
               train: bool) -> jax.Array:
    """Returns the logits of the classes of each pixel.

    Every layer reads zeros outside of an image. In training, the statistics of a batch
    are over padding too.

    Args:
      inputs: images, `[batch, height, width, channels]`.
      inside: which pixels are of the image and no padding at the bottom and right, bool
        `[batch, height, width]`; None for all.
      train: whether to use, and update, statistics of the batch, and apply dropout.

    Returns:
      `[batch, height, width, num_outputs]`.

    Raises:
      ValueError: unless the inputs are images of floats.
    """
    check_images(self, inputs)

    def kept(x, within):
      return x if within is None else x * within

    def convolved(x, level, name):
      for layer in range(2):
        x = ConvNorm(
          self.width * 2**level, momentum=self.momentum, epsilon=self.epsilon,
          kernel_init=self.kernel_init, name=f'{name}{level}_{layer}')(x, train=train)
        x = kept(x, within)
      return x

    within = None if inside is None else inside[..., None].astype(inputs.dtype)
    x, skips = kept(inputs, within), []
    for level in range(self.halvings):
      x = convolved(x, level, 'down')
      skips.append((x, within))
      x = _halved(x)
      within = None if within is None else _halved(within)
    x = convolved(x, self.halvings, 'down')
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    for level in reversed(range(self.halvings)):
      skip, within = skips.pop()
      x = ConvTranspose(self.width * 2**level, (2, 2), padding=0, name=f'enlarge{level}'
                        )(x)[:, : skip.shape[1], : skip.shape[2]]
      x = convolved(jnp.concatenate([skip, kept(x, within)], -1), level, 'up')
    return Dense(self.num_outputs, name='head')(x)


def _halved(x: jax.Array) -> jax.Array:
  """The maxima of 2 x 2 pixels; an odd side gets a row of zeros, which x is above."""
  return max_pool(jnp.pad(x, ((0, 0), *((0, n % 2) for n in x.shape[1:3]), (0, 0))), 2)
