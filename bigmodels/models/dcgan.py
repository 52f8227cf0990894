"""DCGAN: a class-conditional generator and discriminator of convolutions.

Radford, Metz and Chintala, *Unsupervised representation learning with deep
convolutional generative adversarial networks*, 2016.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv, ConvTranspose
from bigmodels.layers.normalization import BatchNorm
from bigmodels.models.images import check_size
from bigmodels.models.validation import check_halvings, check_sizes


class Dcgan(nn.Module):
  """Generator and discriminator.

  The generator doubles the size of a small image until it has the size of the data; the
  discriminator halves it as often. The generator takes labels as an embedding that is
  concatenated with the latents. In the discriminator, the product of another embedding
  and the features is added to the logit (Miyato and Koyama, *cGANs with projection
  discriminator*, 2018).

  Attributes:
    size: (height, width, channels) of the images.
    classes: number of classes; 0 for images without labels.
    latent: length of the latents.
    width: channels of the convolution next to the images; doubled at every halving.
    halvings: number of halvings; height and width must be divisible by `2**halvings`.
    embedding: length of the generator's embedding of a label.
    discriminator_norm: whether the discriminator has batch normalization, too. It must
      not with a gradient penalty (`losses.gradient_penalty`).
  """

  size: tuple[int, int, int]
  classes: int = 0
  latent: int = 100
  width: int = 64
  halvings: int = 2
  embedding: int = 32
  discriminator_norm: bool = True

  def __post_init__(self):
    check_sizes(self, 'latent', 'width', 'halvings', 'embedding')
    check_halvings(self)
    super().__post_init__()

  def setup(self):
    self.generator = _Generator(self.size, self.classes, self.width, self.halvings,
                                self.embedding)
    self.discriminator = _Discriminator(self.size, self.classes, self.width,
                                        self.halvings, self.discriminator_norm)

  def __call__(self, latents: jax.Array, labels: jax.Array, images: jax.Array, *,
               train: bool) -> tuple[jax.Array, jax.Array]:
    """Runs both parts, to initialize their parameters.

    Args:
      latents: `[batch, latent]`.
      labels: int `[batch]`.
      images: `[batch, *size]`.
      train: see `generate` and `discriminate`.

    Returns:
      Generated images `[batch, *size]`, and the logits `[batch]` of `images`.

    Raises:
      ValueError: for images of another size.
    """
    return (self.generate(latents, labels, train=train),
            self.discriminate(images, labels, train=train))

  def generate(self, latents: jax.Array, labels: jax.Array, *, train: bool
               ) -> jax.Array:
    """Images with values from -1 to 1, `[batch, *size]`.

    Args:
      latents: `[batch, latent]`.
      labels: int `[batch]`.
      train: whether to normalize by the statistics of the batch.
    """
    return self.generator(latents, labels, train=train)

  def discriminate(self, images: jax.Array, labels: jax.Array, *, train: bool
                   ) -> jax.Array:
    """Logits of being real, `[batch]`.

    Args:
      images: `[batch, *size]`.
      labels: int `[batch]`.
      train: whether to normalize by the statistics of the batch.

    Raises:
      ValueError: for images of another size.
    """
    check_size(self, images)
    return self.discriminator(images, labels, train=train)


_INIT = nn.initializers.normal(0.02)


class _Generator(nn.Module):
  size: tuple[int, int, int]
  classes: int
  width: int
  halvings: int
  embedding: int

  @nn.compact
  def __call__(self, latents, labels, *, train):
    height, width, channels = self.size
    if self.classes:
      embedded = nn.Embed(self.classes, self.embedding, name='classes')(labels)
      latents = jnp.concatenate([latents, embedded], -1)
    wide = self.width * 2 ** (self.halvings - 1)
    shape = (height >> self.halvings, width >> self.halvings, wide)
    x = nn.Dense(shape[0] * shape[1] * wide, use_bias=False, kernel_init=_INIT)(latents)
    x = x.reshape(len(x), *shape)
    for i in range(self.halvings):
      x = nn.relu(BatchNorm(use_running_average=not train, momentum=0.9)(x))
      last = i == self.halvings - 1
      x = ConvTranspose(channels if last else wide >> (i + 1), (4, 4), (2, 2), 1,
                        use_bias=last, kernel_init=_INIT)(x)
    return jnp.tanh(x)


class _Discriminator(nn.Module):
  size: tuple[int, int, int]
  classes: int
  width: int
  halvings: int
  norm: bool

  @nn.compact
  def __call__(self, images, labels, *, train):
    x = images
    for i in range(self.halvings):
      norm = self.norm and i > 0
      x = Conv(self.width << i, (4, 4), (2, 2), 1, use_bias=not norm,
               kernel_init=_INIT)(x)
      if norm:
        x = BatchNorm(use_running_average=not train, momentum=0.9)(x)
      x = nn.leaky_relu(x, 0.2)
    x = x.reshape(len(x), -1)
    logits = nn.Dense(1, kernel_init=_INIT)(x)[:, 0]
    if self.classes:
      embedded = nn.Embed(self.classes, x.shape[-1], embedding_init=_INIT,
                      name='classes')(labels)
      logits += (embedded * x).sum(-1)
    return logits
