"""DCGAN: a generator and a discriminator of convolutions, told the class."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv, ConvTranspose
from bigmodels.layers.normalization import BatchNorm
from bigmodels.models.images import check_size
from bigmodels.models.validation import check_halvings, check_sizes


class Dcgan(nn.Module):
  """Generator and discriminator (Radford, Metz and Chintala, 2016), class-conditional.

  The generator doubles a small picture until it has the size of the images; the
  discriminator halves them as often. Labels reach the generator as an embedding beside
  the latents, the discriminator as what a class adds to its logit: the product of an
  embedding and the features (Miyato and Koyama, 2018).

  Attributes:
    size: (height, width, channels) of the images.
    classes: number of them; 0 for images without labels.
    latent: length of the latents.
    width: channels of the convolution next to the images; doubled with every halving.
    halvings: how often; height and width are to be divisible by 2 to its power.
    embedding: length of what the generator is told of a label.
    judge_norm: whether batch normalisation is in the discriminator too; without, its
      slope may be penalised (`losses.gradient_penalty`).
  """

  size: tuple[int, int, int]
  classes: int = 0
  latent: int = 100
  width: int = 64
  halvings: int = 2
  embedding: int = 32
  judge_norm: bool = True

  def __post_init__(self):
    check_sizes(self, 'latent', 'width', 'halvings', 'embedding')
    check_halvings(self)
    super().__post_init__()

  def setup(self):
    self.generator = _Generator(self.size, self.classes, self.width, self.halvings,
                                self.embedding)
    self.discriminator = _Discriminator(self.size, self.classes, self.width,
                                        self.halvings, self.judge_norm)

  def __call__(self, latents: jax.Array, labels: jax.Array, images: jax.Array, *,
               train: bool) -> tuple[jax.Array, jax.Array]:
    """Both parts: generated images, and logits of the ones given."""
    return (self.generate(latents, labels, train=train),
            self.discriminate(images, labels, train=train))

  def generate(self, latents: jax.Array, labels: jax.Array, *, train: bool
               ) -> jax.Array:
    """`[batch, latent]`, int `[batch]` -> images of -1 to 1, `[batch, *size]`."""
    return self.generator(latents, labels, train=train)

  def discriminate(self, images: jax.Array, labels: jax.Array, *,
                   train: bool) -> jax.Array:
    """`[batch, *size]`, int `[batch]` -> `[batch]`, logits of being real."""
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
      told = nn.Embed(self.classes, self.embedding, name='classes')(labels)
      latents = jnp.concatenate([latents, told], -1)
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
      told = nn.Embed(self.classes, x.shape[-1], embedding_init=_INIT,
                      name='classes')(labels)
      logits += (told * x).sum(-1)
    return logits
