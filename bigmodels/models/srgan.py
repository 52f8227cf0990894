"""SRGAN: a network that enlarges images, and those that judge what it makes.

Ledig et al., *Photo-realistic single image super-resolution using a generative
adversarial network*, 2017.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.layers.convolution import Conv
from bigmodels.layers.normalization import BatchNorm
from bigmodels.models.hugging_face import Published
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_sizes


class SrGan(nn.Module):
  """A generator, and what it is trained by: a discriminator and fixed features.

  Attributes:
    generator: Linen module called as `generator(inputs, inside, train=...)`, with a
      `scale` and a `radius`; such as `SrResNet`.
    discriminator: Linen module called as `discriminator(images, train=...)`, images
      `[batch, height, width, 1]` from -1 to 1 -> logits `[batch]`, such as
      `SrDiscriminator`; None for a generator that is trained alone.
    features: Linen module called as `features(images, train=False)`, images `[batch,
      height, width, 1]` about 0 to 1 -> layer -> `[batch, ...]`, such as
      `Vgg19Features`; or None.
  """

  generator: nn.Module
  discriminator: nn.Module | None = None
  features: nn.Module | None = None

  @property
  def scale(self) -> int:
    """How many times images are enlarged."""
    return self.generator.scale

  @property
  def radius(self) -> int:
    """Pixels of the input, in each direction, that a pixel of the output reads."""
    return self.generator.radius

  def __call__(self, inputs: jax.Array, inside: jax.Array, *, train: bool
               ) -> jax.Array:
    """Enlarges images, `[batch, height * scale, width * scale, 1]`.

    Args:
      inputs: about 0 to 1, `[batch, height, width, 1]`.
      inside: which pixels are of the image and no padding, `[batch, height, width]`.
      train: whether to normalize by the statistics of the batch.
    """
    images = self.generator(inputs, inside, train=train)
    if self.is_initializing():
      if self.discriminator is not None:
        self.discriminate(images, train=train)
      if self.features is not None:
        self.describe(images)
    return images

  def discriminate(self, images: jax.Array, *, train: bool) -> jax.Array:
    """Logits of being real, `[batch]`.

    Args:
      images: about 0 to 1, `[batch, height, width, 1]`.
      train: whether to normalize by the statistics of the batch.
    """
    return self.discriminator(2 * images - 1, train=train)

  def describe(self, images: jax.Array) -> dict[str, jax.Array]:
    """Layer -> features of images about 0 to 1, `[batch, height, width, 1]`."""
    return self.features(images, train=False)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where the parameters of the features are in a file of torchvision's VGG.

    Raises:
      ValueError: for other features, or none.
    """
    if not hasattr(self.features, 'published'):
      raise ValueError('features: must be VggFeatures, got '
                       f'{type(self.features).__name__}')
    return self.features.published(
      generator='what makes images, which only a run of this project has',
      discriminator='what judges images, which only a run of this project has')


class SrDiscriminator(nn.Module):
  """Tells real images from enlarged ones; the defaults are those of the paper.

  Eight convolutions of 3 x 3, every second of which halves the image, with leaky ReLUs
  and, but for the first, batch normalization; then two dense layers. They read the
  whole image: all must be of one size.

  Attributes:
    width: channels of the first convolution; doubled after each of the first three
      halvings.
    hidden: width of the dense layer before the last.
    kernel_init: makes the initializer of the weights.
  """

  width: int = 64
  hidden: int = 1024
  kernel_init: Callable = nn.initializers.lecun_normal

  def __post_init__(self):
    check_sizes(self, 'width', 'hidden')
    super().__post_init__()

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    """Logits of being real, `[batch]`.

    Args:
      images: `[batch, height, width, channels]`, from -1 to 1.
      train: whether to normalize by the statistics of the batch.

    Raises:
      ValueError: unless they are images of floats.
    """
    check_images(self, images)
    x = images
    for layer in range(8):
      first = layer == 0
      x = Conv(self.width << layer // 2, (3, 3), (1 + layer % 2,) * 2, 1,
               use_bias=first, kernel_init=self.kernel_init(), name=f'conv_{layer}')(x)
      if not first:
        x = BatchNorm(use_running_average=not train, momentum=0.9,
                      name=f'conv_{layer}_norm')(x)
      x = nn.leaky_relu(x, 0.2)
    x = nn.Dense(self.hidden, kernel_init=self.kernel_init(), name='hidden')(
      x.reshape(len(x), -1))
    return nn.Dense(1, kernel_init=self.kernel_init(), name='logit')(
      nn.leaky_relu(x, 0.2))[:, 0]
