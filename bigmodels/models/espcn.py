"""ESPCN: a few convolutions at low resolution, then a pixel shuffle.

Shi et al., *Real-time single image and video super-resolution using an efficient
sub-pixel convolutional neural network*, 2016.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.layers.convolution import Conv
from bigmodels.layers.pixel_shuffle import pixel_shuffle
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_sizes


class Espcn(nn.Module):
  """Enlarges images of one channel.

  Attributes:
    scale: factor of height and width.
    widths: channels of the hidden layers; the first has 5x5 filters, others 3x3.
    activation: of the hidden layers.
    kernel_init: makes the initializer of the filters.
  """

  scale: int
  widths: tuple[int, ...] = (64, 32)
  activation: Callable = nn.tanh
  kernel_init: Callable = nn.initializers.lecun_normal

  def __post_init__(self):
    check_sizes(self, 'scale', 'widths')
    super().__post_init__()

  @property
  def radius(self) -> int:
    """Pixels of the input, in each direction, that a pixel of the output reads."""
    return 2 + len(self.widths)

  @nn.compact
  def __call__(self, inputs: jax.Array, inside: jax.Array, *, train: bool
               ) -> jax.Array:
    """Enlarges images; every layer reads zeros outside of them.

    Args:
      inputs: about 0 to 1, `[batch, height, width, 1]`.
      inside: which pixels are of the image and no padding, `[batch, height, width]`.
      train: not used.

    Returns:
      `[batch, height * scale, width * scale, 1]`.

    Raises:
      ValueError: unless the inputs are images of floats.
    """
    del train
    check_images(self, inputs)
    inside = inside[..., None].astype(inputs.dtype)
    x = inputs - 0.5
    for layer, width in enumerate((*self.widths, self.scale**2)):
      size = 3 if layer else 5
      x = Conv(width, (size, size), kernel_init=self.kernel_init())(x * inside)
      if layer < len(self.widths):
        x = self.activation(x)
    return pixel_shuffle(x, self.scale) + 0.5
