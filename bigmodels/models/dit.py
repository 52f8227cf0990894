"""The diffusion transformer (DiT).

Peebles and Xie, *Scalable diffusion models with transformers*, 2023.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.activations import gelu
from bigmodels.layers.attention import Attention
from bigmodels.layers.conditions import conditions
from bigmodels.layers.dense import Dense
from bigmodels.layers.patches import images_of, patches
from bigmodels.layers.positions import sinusoidal_2d
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import FeedForward
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_classes, check_heads, check_sizes

_zeros = partial(nn.initializers.constant, 0.0)
_NORM = partial(nn.LayerNorm, epsilon=1e-6, use_bias=False, use_scale=False)


class Dit(nn.Module):
  """Patches, blocks whose norms are scaled by time and class, and patches again.

  The defaults are DiT-S/2 on small images.

  Attributes:
    classes: number of classes; 0 for images without classes.
    patch: height and width of a patch, which divides the sides of the images.
    depth: number of blocks.
    width: width of the residual stream, a multiple of 4.
    heads: number of attention heads, which divides the width.
    zero_init: whether blocks begin as the identity and the network as zero, as
      published.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  classes: int = 0
  patch: int = 2
  depth: int = 12
  width: int = 384
  heads: int = 6
  zero_init: bool = True
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'patch', 'depth', 'width')
    check_heads(self)
    check_classes(self)
    if self.width % 4:
      raise ValueError(f'width: must be a multiple of 4, got {self.width}')
    super().__post_init__()

  @nn.compact
  def __call__(self, images: jax.Array, labels: jax.Array, times: jax.Array, *,
               train: bool) -> jax.Array:
    """Returns a prediction for noisy images, of their shape.

    Args:
      images: `[batch, height, width, channels]`.
      labels: int `[batch]`; `classes` stands for no class.
      times: from 0, images, to 1, noise; float32 `[batch]` in any precision.
      train: not used.

    Raises:
      ValueError: for images of integers, or with sides that are not divisible.
    """
    check_images(self, images)
    (height, width, channels), patch = images.shape[1:], self.patch
    if height % patch or width % patch:
      raise ValueError(f'patch: must divide the sides of images, {height}x{width}, got '
                       f'{patch}')
    context = conditions(
      times, labels, self.classes, 256, self.width, images.dtype)[:, None]
    x = Dense(self.width, name='patches')(patches(images, patch))
    x = x + sinusoidal_2d(height // patch, width // patch, self.width).astype(x.dtype)
    x = Stack(partial(_Block, self.heads, self.zero_init), self.depth, self.remat,
              self.unroll, name='blocks')(x, train=train, context=context)
    init = _zeros if self.zero_init else nn.initializers.lecun_normal
    scale, shift = jnp.split(
      Dense(2 * self.width, kernel_init=init, name='modulation')(context), 2, -1)
    x = Dense(patch * patch * channels, kernel_init=init, name='head')(
      _NORM(name='norm')(x) * (1 + scale) + shift)
    return images_of(x, patch, (height, width, channels))


class _Block(nn.Module):
  """Attention and a feed-forward layer, scaled, shifted and gated by the context."""

  heads: int
  zero_init: bool

  @nn.compact
  def __call__(self, x, *, context, train):
    init = _zeros if self.zero_init else nn.initializers.lecun_normal
    parts = jnp.split(Dense(6 * x.shape[-1], kernel_init=init, name='modulation')(
      context), 6, -1)
    attention = partial(Attention(self.heads, name='attention'), train=train)
    layers = {'attention': attention,
              'feed_forward': FeedForward(4 * x.shape[-1], gelu, name='feed_forward')}
    for (name, layer), (scale, shift, gate) in zip(
      layers.items(), (parts[:3], parts[3:]), strict=True):
      h = _NORM(name=f'{name}_norm')(x) * (1 + scale) + shift
      x = x + gate * layer(h)
    return x
