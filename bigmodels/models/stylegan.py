"""A style-based generator at small sizes, and the discriminator that goes with it."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import conv
from bigmodels.layers.pooling import average_pool
from bigmodels.models.images import check_size
from bigmodels.models.validation import check_halvings, check_sizes

_SLOPE = 0.2  # of what is below 0
_GAIN = math.sqrt(2)  # keeps the variance through it
_LEAST = 1e-8


class StyleGan(nn.Module):
  """Generator and discriminator of StyleGAN2 (Karras et al., 2020), class-conditional.

  A network of dense layers maps latents to styles. The generator begins with a learned
  picture that it doubles until it has the size of the images; every convolution's
  filters are scaled by the style and brought back to unit length, and noise is added to
  every pixel. What each size adds to the image is summed up (skip connections). The
  discriminator is residual, and sees how much a batch varies. Weights are scaled when
  they are used, so that all learn at the same rate (Karras et al., 2018). Upsampling
  is bilinear, of two pixels. Without path length regularisation and mixing of styles.

  Attributes:
    size: (height, width, channels) of the images.
    classes: number of them; 0 for images without labels.
    latent: length of the latents.
    style: length of the styles, and width of the mapping network.
    mapping: its dense layers.
    width: channels at the images' size; doubled with every halving.
    widest: channels at most.
    halvings: how often; height and width are to be divisible by 2 to its power.
    group: images that are compared for how much they vary; the batch is cut into as
      many as fit.
  """

  size: tuple[int, int, int]
  classes: int = 0
  latent: int = 64
  style: int = 64
  mapping: int = 4
  width: int = 16
  widest: int = 64
  halvings: int = 2
  group: int = 4

  def __post_init__(self):
    check_sizes(self, 'latent', 'style', 'mapping', 'width', 'widest', 'halvings',
                'group')
    check_halvings(self)
    super().__post_init__()

  def setup(self):
    self.generator = _Generator(
      self.size, self.classes, self.style, self.mapping, self.channels, self.halvings)
    self.discriminator = _Discriminator(
      self.classes, self.channels, self.halvings, self.group)

  @property
  def channels(self) -> tuple[int, ...]:
    """Of each size, the images' first."""
    return tuple(min(self.width << i, self.widest) for i in range(self.halvings + 1))

  def __call__(self, latents: jax.Array, labels: jax.Array, images: jax.Array, *,
               train: bool) -> tuple[jax.Array, jax.Array]:
    """Both parts: generated images, and logits of the ones given."""
    return (self.generate(latents, labels, train=train),
            self.discriminate(images, labels, train=train))

  def generate(self, latents: jax.Array, labels: jax.Array, *, train: bool
               ) -> jax.Array:
    """`[batch, latent]`, int `[batch]` -> images about -1 to 1, `[batch, *size]`.

    Draws noise from the rng `noise`: for every image, or in evaluations the same for
    all, so that an image does not depend on its place in a batch.
    """
    return self.generator(latents, labels, train=train)

  def discriminate(self, images: jax.Array, labels: jax.Array, *,
                   train: bool) -> jax.Array:
    """`[batch, *size]`, int `[batch]` -> `[batch]`, logits of being real."""
    del train
    check_size(self, images)
    return self.discriminator(images, labels)


class _Dense(nn.Module):
  """A dense layer whose weights have variance 1, scaled by what goes in."""

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
  kernel = module.param('kernel', nn.initializers.normal(1.0),
                        (size, size, inputs, outputs))
  return kernel / math.sqrt(size * size * inputs)


def _active(x):
  return nn.leaky_relu(x, _SLOPE) * _GAIN


class _Styled(nn.Module):
  """A convolution whose filters are scaled by a style.

  Scaling what goes in and dividing what comes out is the same as other filters for
  every example, and one convolution for all (Karras et al., 2020, section 2.2).
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
      length = jax.lax.rsqrt(jnp.square(scale) @ power + _LEAST)
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
      told = nn.Embed(self.classes, self.style, name='classes',
                      embedding_init=nn.initializers.normal(1.0))(labels)
      style = jnp.concatenate([style, _unit(told).astype(style.dtype)], -1)
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
  group: int

  @nn.compact
  def __call__(self, images, labels):
    x = _Plain(self.channels[0], 1, name='begin')(images)
    for i in range(self.halvings):
      beside = _Plain(self.channels[i + 1], 1, bias=False, name=f'beside_{i}')(
        average_pool(x, 2))
      x = _Plain(self.channels[i], name=f'deep_{i}')(x)
      x = average_pool(_Plain(self.channels[i + 1], name=f'wide_{i}')(x), 2)
      x = (x + beside) / _GAIN
    x = jnp.concatenate([x, _variation(x, self.group)], -1)
    x = _Plain(self.channels[-1], name='end')(x)
    x = _active(_Dense(self.channels[-1], name='dense')(x.reshape(len(x), -1)))
    if not self.classes:
      return _Dense(1, name='logit')(x)[:, 0]
    # What the class asked for says of the features (Karras et al., 2020, as a product).
    told = _unit(nn.Embed(self.classes, self.channels[-1], name='classes',
                          embedding_init=nn.initializers.normal(1.0))(labels))
    seen = _Dense(self.channels[-1], name='logit')(x)
    return (seen * told.astype(seen.dtype)).sum(-1) / math.sqrt(self.channels[-1])


class _Plain(nn.Module):
  """A convolution, with bias and activation unless it is without."""

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
  """Of mean square 1, `[batch, n]`."""
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + _LEAST)


def _doubled(x):
  """Twice as high and wide, bilinear."""
  batch, height, width, channels = x.shape
  return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), 'bilinear')


def _variation(x, group):
  """Deviation over a group of the batch, as one more channel (Karras et al., 2018)."""
  batch = len(x)
  group = math.gcd(batch, group)
  parts = x.reshape(batch // group, group, *x.shape[1:])
  spread = jnp.sqrt(parts.var(1) + _LEAST).mean((1, 2, 3))
  each = jnp.repeat(spread, group)[:, None, None, None]
  return jnp.broadcast_to(each, (*x.shape[:3], 1))
