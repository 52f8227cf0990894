"""StyleGAN2 for small images: a style-based generator, and its discriminator.

Karras et al., *Analyzing and improving the image quality of StyleGAN*, 2020. Styles are
from Karras et al., *A style-based generator architecture for GANs*, 2019.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import conv
from bigmodels.layers.pooling import average_pool
from bigmodels.models.images import check_size
from bigmodels.models.validation import check_halvings, check_sizes

_SLOPE = 0.2  # slope of the activation below 0
_GAIN = math.sqrt(2)  # makes the activation preserve the variance
_LEAST = 1e-8


class StyleGan(nn.Module):
  """Generator and discriminator, class-conditional.

  A network of dense layers maps latents to styles. The generator starts from a learned
  constant and doubles its size until it has the size of the images. A style scales the
  filters of each convolution, which are then normalized to unit length, and noise is
  added to every pixel. The images of all sizes are summed (skip connections). The
  discriminator is residual, and has as an input the variation within the batch, among
  the images of each class. Weights are scaled when they are used, which equalises their
  learning rates (Karras et al., *Progressive growing of GANs*, 2018). Upsampling is
  bilinear, between two pixels. Path length regularization and style mixing are omitted.

  Attributes:
    size: (height, width, channels) of the images.
    classes: number of classes; 0 for images without labels.
    latent: length of the latents.
    style: length of the styles, and width of the mapping network.
    mapping: number of dense layers of the mapping network.
    width: channels at the images' size; doubled at every halving.
    widest: maximum number of channels.
    halvings: number of halvings; height and width must be divisible by `2**halvings`.
  """

  size: tuple[int, int, int]
  classes: int = 0
  latent: int = 64
  style: int = 64
  mapping: int = 2
  width: int = 16
  widest: int = 64
  halvings: int = 2

  def __post_init__(self):
    check_sizes(self, 'latent', 'style', 'mapping', 'width', 'widest', 'halvings')
    check_halvings(self)
    super().__post_init__()

  def setup(self):
    self.generator = _Generator(
      self.size, self.classes, self.style, self.mapping, self.channels, self.halvings)
    self.discriminator = _Discriminator(
      self.classes, self.channels, self.halvings)

  @property
  def channels(self) -> tuple[int, ...]:
    """Channels at each size, from the size of the images down."""
    return tuple(min(self.width << i, self.widest) for i in range(self.halvings + 1))

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
    """Images with values of about -1 to 1, `[batch, *size]`.

    Args:
      latents: `[batch, latent]`.
      labels: int `[batch]`.
      train: whether each image has its own noise, from the rng `noise`. In evaluations
        all images share the noise, so that they do not depend on their batch.
    """
    return self.generator(latents, labels, train=train)

  def discriminate(self, images: jax.Array, labels: jax.Array, *, train: bool
                   ) -> jax.Array:
    """Logits of being real, `[batch]`.

    Args:
      images: `[batch, *size]`.
      labels: int `[batch]`.
      train: not used.

    Raises:
      ValueError: for images of another size.
    """
    del train
    check_size(self, images)
    return self.discriminator(images, labels)


class _Dense(nn.Module):
  """A dense layer whose weights have variance 1, scaled by the number of inputs."""

  features: int
  bias: float = 0.0
  rate: float = 1.0

  @nn.compact
  def __call__(self, x):
    normal = nn.initializers.normal(1 / self.rate)
    kernel = self.param('kernel', normal, (x.shape[-1], self.features))
    bias = self.param('bias', nn.initializers.constant(self.bias / self.rate),
                      (self.features,))
    scale = self.rate / math.sqrt(x.shape[-1])
    return x @ (kernel * scale).astype(x.dtype) + (bias * self.rate).astype(x.dtype)


def _kernel(module, size, inputs, outputs):
  """Filters of variance 1, scaled by the number of inputs."""
  kernel = module.param('kernel', nn.initializers.normal(1.0),
                        (size, size, inputs, outputs))
  return kernel / math.sqrt(size * size * inputs)


def _active(x):
  return nn.leaky_relu(x, _SLOPE) * _GAIN


class _Styled(nn.Module):
  """A convolution whose filters are scaled by a style.

  Scaling the input and dividing the output is equivalent to separate filters for each
  example, with one convolution for all (Karras et al., 2020, section 2.2).
  """

  features: int
  window: int = 3
  normalize: bool = True

  @nn.compact
  def __call__(self, x, style):
    scale = _Dense(x.shape[-1], bias=1.0, name='style')(style)  # [batch, in]
    kernel = _kernel(self, self.window, x.shape[-1], self.features).astype(x.dtype)
    y = conv(x * scale[:, None, None], kernel)
    if self.normalize:
      power = jnp.square(kernel).sum((0, 1))  # [in, out]
      length = jax.lax.rsqrt(
        jnp.matmul(jnp.square(scale), power, precision='highest') + _LEAST)
      y = y * length[:, None, None]
    return y


class _Layer(nn.Module):
  """A styled convolution, noise, and the activation."""

  features: int

  @nn.compact
  def __call__(self, x, style, *, train):
    x = _Styled(self.features, name='conv')(x, style)
    strength = self.param('noise', nn.initializers.zeros, ())
    shape = (len(x) if train else 1, *x.shape[1:3], 1)
    noise = jax.random.normal(self.make_rng('noise'), shape, x.dtype)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    return _active(x + strength.astype(x.dtype) * noise + bias.astype(x.dtype))


class _Generator(nn.Module):
  size: tuple[int, int, int]
  classes: int
  style: int
  mapping: int
  channels: tuple[int, ...]
  halvings: int

  @nn.compact
  def __call__(self, latents, labels, *, train):
    style = _unit(latents)
    if self.classes:
      embedded = nn.Embed(self.classes, self.style, name='classes',
                      embedding_init=nn.initializers.normal(1.0))(labels)
      style = jnp.concatenate([style, _unit(embedded).astype(style.dtype)], -1)
    for i in range(self.mapping):
      style = _active(_Dense(self.style, rate=0.01, name=f'mapping_{i}')(style))
    height, width, colours = self.size
    shape = (height >> self.halvings, width >> self.halvings, self.channels[-1])
    first = self.param('first', nn.initializers.normal(1.0), shape)
    x = jnp.broadcast_to(first.astype(style.dtype), (len(style), *shape))
    x = _Layer(self.channels[-1], name='begin')(x, style, train=train)
    image = _Styled(colours, 1, False, name='image_begin')(x, style)
    for i in reversed(range(self.halvings)):
      x, image = _doubled(x), _doubled(image)
      x = _Layer(self.channels[i], name=f'wide_{i}')(x, style, train=train)
      x = _Layer(self.channels[i], name=f'deep_{i}')(x, style, train=train)
      image = image + _Styled(colours, 1, False, name=f'image_{i}')(x, style)
    return image


class _Discriminator(nn.Module):
  classes: int
  channels: tuple[int, ...]
  halvings: int

  @nn.compact
  def __call__(self, images, labels):
    x = _Plain(self.channels[0], 1, name='begin')(images)
    for i in range(self.halvings):
      beside = _Plain(self.channels[i + 1], 1, bias=False, name=f'beside_{i}')(
        average_pool(x, 2))
      x = _Plain(self.channels[i], name=f'deep_{i}')(x)
      x = average_pool(_Plain(self.channels[i + 1], name=f'wide_{i}')(x), 2)
      x = (x + beside) / _GAIN
    x = jnp.concatenate([x, _variation(x, labels, self.classes)], -1)
    x = _Plain(self.channels[-1], name='end')(x)
    x = _active(_Dense(self.channels[-1], name='dense')(x.reshape(len(x), -1)))
    if not self.classes:
      return _Dense(1, name='logit')(x)[:, 0]
    # Projection of the features on the class (Miyato and Koyama, *cGANs with projection
    # discriminator*, 2018), as in Karras et al., 2020.
    embedded = _unit(nn.Embed(self.classes, self.channels[-1], name='classes',
                          embedding_init=nn.initializers.normal(1.0))(labels))
    seen = _Dense(self.channels[-1], name='logit')(x)
    return (seen * embedded.astype(seen.dtype)).sum(-1) / math.sqrt(self.channels[-1])


class _Plain(nn.Module):
  """A convolution, optionally with bias and activation."""

  features: int
  window: int = 3
  bias: bool = True

  @nn.compact
  def __call__(self, x):
    y = conv(x, _kernel(self, self.window, x.shape[-1], self.features).astype(x.dtype))
    if not self.bias:
      return y
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    return _active(y + bias.astype(y.dtype))


def _unit(x):
  """Scales `[batch, n]` to a mean square of 1 in each row."""
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + _LEAST)


def _doubled(x):
  """Doubles height and width, bilinear."""
  batch, height, width, channels = x.shape
  return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), 'bilinear')


def _variation(x, labels, classes):
  """The deviation among the images of a class, `[batch, h, w, 1]`.

  Karras et al., 2018, section 3, have it for the whole batch. In a batch of several
  classes it says little of how the images of each differ.
  """
  batch = len(x)
  rows = x.reshape(batch, -1).astype(jnp.float32)
  member = (jax.nn.one_hot(labels, classes) if classes  # [batch, classes]
            else jnp.ones((batch, 1)))
  share = member / jnp.maximum(member.sum(0), 1)
  product = partial(jnp.matmul, precision='highest')
  mean = product(member, product(share.T, rows))
  variance = product(share.T, jnp.square(rows - mean))  # [classes, h * w * channels]
  spread = product(member, jnp.sqrt(variance + _LEAST).mean(1))
  return jnp.broadcast_to(spread[:, None, None, None].astype(x.dtype),
                          (*x.shape[:3], 1))
