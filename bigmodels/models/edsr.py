"""EDSR: residual blocks without normalization, then pixel shuffles.

Lim et al., *Enhanced deep residual networks for single image super-resolution*, 2017.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv
from bigmodels.layers.pixel_shuffle import FACTORS, pixel_shuffle
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_choices, check_positive, check_sizes


class Edsr(nn.Module):
  """Enlarges images of one channel; the defaults are the paper's baseline.

  Attributes:
    scale: factor of height and width: 2, 3 or 4.
    depth: number of residual blocks.
    width: number of channels.
    residual: what the output of a block is multiplied by before it is added.
    kernel_init: makes the initializer of the filters.
  """

  scale: int
  depth: int = 16
  width: int = 64
  residual: float = 1.0
  kernel_init: Callable = nn.initializers.lecun_normal

  def __post_init__(self):
    check_choices(self, scale=FACTORS)
    check_sizes(self, 'depth', 'width')
    check_positive(self, 'residual')
    super().__post_init__()

  @property
  def radius(self) -> int:
    """Pixels of the input, in each direction, that a pixel of the output reads."""
    # At most one more for all layers after the first pixel shuffle.
    return 1 + 2 * self.depth + 1 + 1 + 1

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

    def conv(x, width, name):
      return Conv(width, kernel_init=self.kernel_init(), name=name)(x * inside)

    x = first = conv(inputs - 0.5, self.width, 'first')
    for block in range(self.depth):
      y = nn.relu(conv(x, self.width, f'block_{block}_in'))
      x = x + self.residual * conv(y, self.width, f'block_{block}_out')
    x = first + conv(x, self.width, 'last')
    for layer, scale in enumerate(FACTORS[self.scale]):
      x = conv(x, self.width * scale**2, f'enlarge_{layer}')
      x = pixel_shuffle(x, scale)
      inside = jnp.repeat(jnp.repeat(inside, scale, 1), scale, 2)
    return conv(x, 1, 'head') + 0.5
