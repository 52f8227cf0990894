"""The transformer that reads an image as a sequence of patches (ViT).

Dosovitskiy et al., *An image is worth 16x16 words*, 2021. The sizes Ti and S are from
Touvron et al., *Training data-efficient image transformers* (DeiT), 2021.
`pooling='mean', positions='sincos'` is the simpler and better variant of Beyer et al.,
*Better plain ViT baselines for ImageNet-1k*, 2022.
"""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.activations import gelu
from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense, Embedding
from bigmodels.layers.patches import patches
from bigmodels.layers.positions import sinusoidal_2d
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models import hugging_face
from bigmodels.models.hugging_face import BLOCKS, Location, Published, Setting
from bigmodels.models.images import check_images
from bigmodels.models.validation import (
  check_choices,
  check_heads,
  check_rates,
  check_sizes,
)

_NORM = partial(nn.LayerNorm, epsilon=1e-6, use_fast_variance=False)


class Vit(nn.Module):
  """Patches and their positions, blocks, a norm, and a logit for every class.

  The defaults are ViT-B/16; `VitTi`, `VitS` and `VitL` are other sizes, used as in
  `VitS(num_outputs=10, size=32, patch=4)`.

  Attributes:
    num_outputs: number of classes; None for the features, `[batch, width]`.
    size: height and width of the images, in pixels.
    channels: number of channels of the images.
    patch: height and width of a patch, which divides the size.
    depth: number of blocks.
    width: width of the residual stream.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layer; None is 4 times the width.
    pooling: 'first' takes the features of a class token before the patches, as
      originally published; 'mean' has no such token and averages all patches.
    positions: 'learned', or 'sincos', which are fixed.
    dropout: rate of dropout of the embeddings and of the output of each sublayer.
    attention_dropout: rate of dropout of the attention weights.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  num_outputs: int | None
  size: int = 224
  channels: int = 3
  patch: int = 16
  depth: int = 12
  width: int = 768
  heads: int = 12
  hidden: int | None = None
  pooling: Literal['first', 'mean'] = 'first'
  positions: Literal['learned', 'sincos'] = 'learned'
  dropout: float = 0.0
  attention_dropout: float = 0.0
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'size', 'channels', 'patch', 'depth', 'width',
                'hidden')
    check_heads(self)
    check_rates(self, 'dropout', 'attention_dropout')
    check_choices(self, pooling=('first', 'mean'), positions=('learned', 'sincos'))
    if self.size % self.patch:
      raise ValueError(f'patch: must divide the size, {self.size}, got {self.patch}')
    if self.positions == 'sincos' and self.width % 4:
      raise ValueError("width: must be a multiple of 4 with positions='sincos', got "
                       f'{self.width}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, size, size, channels]` -> logits `[batch, num_outputs]`, or features.

    Raises:
      ValueError: for images with another shape, or of integers.
    """
    expected = (self.size, self.size, self.channels)
    if inputs.shape[1:] != expected:
      raise ValueError(f'Vit needs images of {expected} (size, size, channels), got '
                       f'{tuple(inputs.shape[1:])}')
    check_images(self, inputs)
    batch, rows = len(inputs), self.size // self.patch
    x = Dense(self.width, name='patches')(patches(inputs, self.patch))
    if self.positions == 'sincos':
      x = x + sinusoidal_2d(rows, rows, self.width).astype(x.dtype)
    if self.pooling == 'first':
      token = self.param('class_token', nn.initializers.zeros, (self.width,))
      token = jnp.broadcast_to(token.astype(x.dtype), (batch, 1, self.width))
      x = jnp.concatenate([token, x], axis=1)
    if self.positions == 'learned':
      small = partial(nn.initializers.normal, 0.02)
      x = x + Embedding(x.shape[1], self.width, small, name='positions')(
        jnp.arange(x.shape[1]))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    block = partial(
      Block,
      attention=partial(Attention, self.heads, dropout=self.attention_dropout),
      feed_forward=partial(FeedForward, self.hidden or 4 * self.width,
                           activation=gelu),
      norm=_NORM, dropout=self.dropout)
    x = Stack(block, self.depth, self.remat, self.unroll, name='blocks')(x, train=train)
    x = _NORM(name='norm')(x)
    x = x[:, 0] if self.pooling == 'first' else x.mean(1)
    if self.num_outputs is None:
      return x
    # Initially all classes are equally likely, as published.
    zeros = partial(nn.initializers.constant, 0.0)
    return Dense(self.num_outputs, kernel_init=zeros, name='head')(x)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters are in a file of `ViTForImageClassification`.

    Raises:
      ValueError: if no such model is published.
    """
    for name, published in (('pooling', 'first'), ('positions', 'learned')):
      if getattr(self, name) != published:
        raise ValueError(f'{name}: must be {published!r} as in the published ViT, got '
                         f'{getattr(self, name)!r}')
    dense = partial(hugging_face.dense, transposed=True)
    ours, theirs = 'blocks/block', 'encoder.layer.{}'
    projection = 'embeddings.patch_embeddings.projection'
    patch, count = self.patch, (self.size // self.patch) ** 2 + 1
    locations = {
      # A convolution's [width, channels, patch, patch].
      'patches/kernel': Location(
        f'{projection}.weight', transposed=True, merged=(patch, patch, self.channels)),
      'patches/bias': Location(f'{projection}.bias'),
      'class_token': Location('embeddings.cls_token', merged=(1, 1, self.width)),
      'positions/embedding': Location(
        'embeddings.position_embeddings', merged=(1, count)),
      **hugging_face.norm(f'{ours}/attention_norm', f'{theirs}.layernorm_before'),
      **dense(f'{ours}/attention/out', f'{theirs}.attention.output.dense'),
      **hugging_face.norm(f'{ours}/feed_forward_norm', f'{theirs}.layernorm_after'),
      **dense(f'{ours}/feed_forward/in', f'{theirs}.intermediate.dense'),
      **dense(f'{ours}/feed_forward/out', f'{theirs}.output.dense'),
      **hugging_face.norm('norm', 'layernorm'),
      **dense('head', 'classifier')}
    for name in ('query', 'key', 'value'):
      locations |= dense(f'{ours}/attention/{name}',
                      f'{theirs}.attention.attention.{name}')
    return Published(
      family='ViT', model_type='vit', architecture='ViT', head='ForImageClassification',
      pipeline='image-classification', locations=locations,
      prefix='vit.', unprefixed=r'classifier\..*', copies={}, buffers='',
      other=r'pooler\..*',
      config={
        'num_attention_heads': Setting((self.heads,), 12, of=BLOCKS),
        'hidden_act': Setting(hugging_face.GELU, 'gelu', of=BLOCKS),
        # The default of `transformers` is 1e-12, but weights were trained with 1e-6.
        # The difference is within rounding.
        'layer_norm_eps': Setting((1e-6, 1e-12), 1e-12),
        'qkv_bias': Setting((True,), True, of=BLOCKS),
        # Shapes do not determine these: other sizes may have as many patches or pixels.
        'image_size': Setting(_sides(self.size), 224, of='positions/.*'),
        'patch_size': Setting(_sides(patch), 16, of='patches/.*')},
      unchecked={
        'num_channels': self.channels, 'num_hidden_layers': self.depth,
        'hidden_size': self.width, 'intermediate_size': self.hidden or 4 * self.width,
        'hidden_dropout_prob': self.dropout,
        'attention_probs_dropout_prob': self.attention_dropout})


VitTi = partial(Vit, width=192, heads=3)
VitS = partial(Vit, width=384, heads=6)
VitB = partial(Vit, width=768, heads=12)
VitL = partial(Vit, depth=24, width=1024, heads=16)


def _sides(size: int) -> tuple:
  return size, [size, size]
