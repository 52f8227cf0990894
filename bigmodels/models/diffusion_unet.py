"""The U-Net of diffusion models, called with noisy images, labels and times.

`models.SegmentationUnet` is the one that finds the class of each pixel.

Ho et al., *Denoising diffusion probabilistic models*, 2020, with the time in scales and
shifts after normalization as in Dhariwal and Nichol, *Diffusion models beat GANs on
image synthesis*, 2021.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.conditions import conditions
from bigmodels.layers.convolution import Conv
from bigmodels.layers.dense import Dense
from bigmodels.layers.patches import images_of, patches
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_classes, check_rates, check_sizes

_zeros = partial(nn.initializers.constant, 0.0)


class DiffusionUnet(nn.Module):
  """Residual blocks at falling and rising resolutions, with a skip for each block.

  Sides of any length are halved, and rounded up.

  Attributes:
    classes: number of classes; 0 for images without classes.
    patch: side of the square patches whose pixels are the channels of the full
      resolution, 1 for pixels (Luhman and Luhman, *Improving Diffusion Model Efficiency
      Through Patching*, 2022). It divides the sides of the images.
    width: channels at full resolution, a multiple of `groups`.
    multipliers: of the width, for each resolution; each halves the sides of the last.
    blocks: residual blocks at each resolution on the way down; one more on the way up.
    attention: numbers of the resolutions, from 0, whose blocks are followed by
      attention.
    heads: number of attention heads.
    groups: groups of channels that are normalized together.
    dropout: rate of dropout in the blocks.
    zero_init: whether the last layer of each block, and of the network, is initialized
      to zeros, as published.
  """

  classes: int = 0
  patch: int = 1
  width: int = 64
  multipliers: tuple[int, ...] = (1, 2, 2)
  blocks: int = 2
  attention: tuple[int, ...] = (2,)
  heads: int = 4
  groups: int = 8
  dropout: float = 0.1
  zero_init: bool = True

  def __post_init__(self):
    check_sizes(self, 'patch', 'width', 'multipliers', 'blocks', 'heads', 'groups')
    check_rates(self, 'dropout')
    check_classes(self)
    if self.width % self.groups or self.width % self.heads or self.width % 2:
      raise ValueError('width: must be even, and a multiple of the groups and heads, '
                       f'{self.groups} and {self.heads}, got {self.width}')
    wrong = [n for n in self.attention if not 0 <= n < len(self.multipliers)]
    if wrong:
      raise ValueError(f'attention: must be 0 to {len(self.multipliers) - 1}, the '
                       f'resolutions, got {wrong[0]}')
    super().__post_init__()

  @nn.compact
  def __call__(self, images: jax.Array, labels: jax.Array, times: jax.Array, *,
               train: bool) -> jax.Array:
    """Returns a prediction for noisy images, of their shape.

    Args:
      images: `[batch, height, width, channels]`.
      labels: int `[batch]`; `classes` stands for no class.
      times: from 0, images, to 1, noise; float32 `[batch]` in any precision.
      train: whether to apply dropout.

    Raises:
      ValueError: for images of integers, of another shape, or that `patch` does not
        divide.
    """
    check_images(self, images)
    dtype = images.dtype
    context = conditions(times, labels, self.classes, self.width, 4 * self.width, dtype)

    def block(x, features, name):
      x = _Block(features, self.groups, self.dropout, self.zero_init, name=name)(
        x, context, train=train)
      if level in self.attention:
        x = _Attention(self.heads, self.groups, self.zero_init,
                       name=f'{name}_attention')(x, train=train)
      return x

    batch, height, width, _ = images.shape
    if height % self.patch or width % self.patch:
      raise ValueError(f'patch: must divide the sides of the images, {height} x '
                       f'{width}, got {self.patch}')
    x = patches(images, self.patch).reshape(
      batch, height // self.patch, width // self.patch, -1)
    outputs = x.shape[-1]
    x = Conv(self.width, name='in')(x)
    skips = [x]
    for level, multiplier in enumerate(self.multipliers):
      if level:
        x = Conv(x.shape[-1], strides=(2, 2), name=f'down{level}')(x)
        skips.append(x)
      for i in range(self.blocks):
        x = block(x, multiplier * self.width, f'down{level}_block{i}')
        skips.append(x)
    x = block(x, x.shape[-1], 'middle')
    for level, multiplier in reversed([*enumerate(self.multipliers)]):
      for i in range(self.blocks + 1):
        x = jnp.concatenate([x, skips.pop()], -1)
        x = block(x, multiplier * self.width, f'up{level}_block{i}')
      if level:
        height, width = skips[-1].shape[1:3]
        x = x.repeat(2, 1).repeat(2, 2)[:, :height, :width]
        x = Conv(x.shape[-1], name=f'up{level}')(x)
    x = nn.silu(nn.GroupNorm(self.groups, name='norm')(x))
    x = Conv(outputs, kernel_init=_last(self.zero_init), name='out')(x)
    return images_of(x.reshape(batch, -1, outputs), self.patch, images.shape[1:])


def _last(zero_init: bool):
  return nn.initializers.zeros_init() if zero_init else nn.initializers.lecun_normal()


class _Block(nn.Module):
  """Two convolutions with a skip; the context scales and shifts between them."""

  features: int
  groups: int
  dropout: float
  zero_init: bool

  @nn.compact
  def __call__(self, x, context, *, train):
    h = nn.silu(nn.GroupNorm(self.groups, name='norm0')(x))
    h = Conv(self.features, name='conv0')(h)
    scale, shift = jnp.split(
      Dense(2 * self.features, name='context')(context)[:, None, None], 2, -1)
    h = nn.silu(nn.GroupNorm(self.groups, name='norm1')(h) * (1 + scale) + shift)
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    h = Conv(self.features, kernel_init=_last(self.zero_init), name='conv1')(h)
    if x.shape[-1] != self.features:
      x = Dense(self.features, name='skip')(x)
    return x + h


class _Attention(nn.Module):
  """Every pixel attends to all pixels."""

  heads: int
  groups: int
  zero_init: bool

  @nn.compact
  def __call__(self, x, *, train):
    h = nn.GroupNorm(self.groups, name='norm')(x).reshape(len(x), -1, x.shape[-1])
    out = _zeros if self.zero_init else nn.initializers.glorot_uniform
    h = Attention(self.heads, out_init=out, name='attention')(h, train=train)
    return x + h.reshape(x.shape)
