"""SRResNet: residual blocks with batch normalization, then pixel shuffles.

Ledig et al., *Photo-realistic single image super-resolution using a generative
adversarial network*, 2017.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv
from bigmodels.layers.pixel_shuffle import FACTORS, pixel_shuffle
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_choices, check_sizes


class SrResNet(nn.Module):
  """Enlarges images of one channel; the defaults are those of the paper.

  Attributes:
    scale: factor of height and width: 2, 3 or 4.
    depth: number of residual blocks.
    width: number of channels.
    kernel_init: makes the initializer of the filters.
  """

  scale: int
  depth: int = 16
  width: int = 64
  kernel_init: Callable = nn.initializers.lecun_normal

  def __post_init__(self):
    check_choices(self, scale=FACTORS)
    check_sizes(self, 'depth', 'width')
    super().__post_init__()

  @property
  def radius(self) -> int:
    """Pixels of the input, in each direction, that a pixel of the output reads."""
    # At most two more for all layers after the first pixel shuffle.
    return 4 + 2 * self.depth + 1 + 1 + 2

  @nn.compact
  def __call__(self, inputs: jax.Array, inside: jax.Array, *, train: bool
               ) -> jax.Array:
    """Enlarges images; every layer reads zeros outside of them.

    Args:
      inputs: about 0 to 1, `[batch, height, width, 1]`.
      inside: which pixels are of the image and no padding, `[batch, height, width]`.
        The others do not count in the statistics of a batch.
      train: whether to normalize by the statistics of the batch.

    Returns:
      `[batch, height * scale, width * scale, 1]`.

    Raises:
      ValueError: unless the inputs are images of floats.
    """
    check_images(self, inputs)
    counted, inside = inside[..., None], inside[..., None].astype(inputs.dtype)

    def conv(x, width, name, size=3, **options):
      return Conv(width, (size, size), kernel_init=self.kernel_init(), name=name,
                  **options)(x * inside)

    def normalized(x, name):
      x = conv(x, self.width, name, use_bias=False)
      return nn.BatchNorm(  # of Flax, for that of `layers` has no mask
        use_running_average=not train, momentum=0.9, name=f'{name}_norm')(
          x, mask=counted)

    def activation(x, name):
      return nn.PReLU(negative_slope_init=0.25, name=name)(x)

    x = first = activation(conv(inputs - 0.5, self.width, 'first', 9), 'first_prelu')
    for block in range(self.depth):
      y = activation(normalized(x, f'block_{block}_in'), f'block_{block}_prelu')
      x = x + normalized(y, f'block_{block}_out')
    x = first + normalized(x, 'last')
    for layer, scale in enumerate(FACTORS[self.scale]):
      x = pixel_shuffle(conv(x, self.width * scale**2, f'enlarge_{layer}'), scale)
      x = activation(x, f'enlarge_{layer}_prelu')
      inside = jnp.repeat(jnp.repeat(inside, scale, 1), scale, 2)
    return conv(x, 1, 'head', 9) + 0.5
