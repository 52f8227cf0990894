"""The Conformer: attention and convolutions, for connectionist temporal classification.

Gulati et al., *Conformer: Convolution-augmented transformer for speech recognition*,
2020.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.convolution import Conv
from bigmodels.layers.dense import Dense
from bigmodels.layers.masks import segments_of, zero_padding
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.subsampling import Subsampling
from bigmodels.layers.transformer import FeedForward
from bigmodels.models.validation import check_heads, check_rates, check_sizes


class ConvolutionModule(nn.Module):
  """A gate, a depthwise convolution over time, a norm and a dense layer.

  The norm is that of a layer: the paper's batch normalization would mix the padding of
  a batch into its statistics.

  Attributes:
    kernel: length of the convolution, odd.
  """

  kernel: int

  @nn.compact
  def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
    """`[batch, length, width]`, with lengths `[batch]` -> the same shape."""
    width = x.shape[-1]
    x = nn.glu(Dense(2 * width, name='in')(x))
    x = Conv(width, (self.kernel, 1), groups=width, name='depthwise')(
      zero_padding(x, lengths)[:, :, None])[:, :, 0]
    return Dense(width, name='out')(nn.silu(nn.LayerNorm(name='norm')(x)))


class ConformerBlock(nn.Module):
  """Half a feed-forward layer, attention, convolution, and the other half.

  Attributes:
    heads: number of attention heads.
    hidden: width of the feed-forward layers.
    kernel: length of the convolution.
    dropout: rate of dropout of what each part adds.
    attention_dropout: rate of dropout of the attention weights.
  """

  heads: int
  hidden: int
  kernel: int
  dropout: float = 0.0
  attention_dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array, *, lengths: jax.Array, train: bool) -> jax.Array:
    """`[batch, length, width]` -> the same shape.

    Args:
      x: `[batch, length, width]`.
      lengths: int `[batch]`.
      train: whether to apply dropout.
    """

    def add(x, name, part, scale=1.0):
      y = part(nn.LayerNorm(name=f'{name}_norm')(x))
      return x + scale * nn.Dropout(self.dropout, deterministic=not train)(y)

    feed_forward = partial(FeedForward, self.hidden, nn.silu)
    attention = Attention(self.heads, rotary=10_000.0, dropout=self.attention_dropout,
                          name='attention')
    segments = segments_of(lengths, x.shape[1])
    x = add(x, 'first', feed_forward(name='first'), 0.5)
    x = add(x, 'attention', lambda h: attention(
      h, segments=segments, positions=jnp.arange(x.shape[1])[None], train=train))
    convolution = ConvolutionModule(self.kernel, name='convolution')
    x = add(x, 'convolution', lambda h: convolution(h, lengths))
    x = add(x, 'second', feed_forward(name='second'), 0.5)
    return nn.LayerNorm(name='norm')(x)


class Conformer(nn.Module):
  """A Conformer with logits of tokens at each step.

  Positions are rotary, as in Li et al., *Conformer-based end-to-end speech recognition
  with rotary position embedding*, 2021; the paper's are those of Transformer-XL. The
  defaults are its small model, which has 10 million parameters.

  Attributes:
    vocabulary: number of tokens, of which token 0 is the blank.
    width: width of every block.
    depth: number of blocks.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layers; None is 4 times the width.
    kernel: length of the convolutions, odd.
    halvings: how often the first layers halve the number of frames.
    channels: channels of these layers; None for the width.
    dropout: rate of dropout of what each part of a block adds.
    attention_dropout: rate of dropout of the attention weights.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  vocabulary: int
  width: int = 144
  depth: int = 16
  heads: int = 4
  hidden: int | None = None
  kernel: int = 31
  halvings: int = 2
  channels: int | None = None
  dropout: float = 0.1
  attention_dropout: float = 0.0
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'width', 'depth', 'hidden', 'kernel', 'channels')
    check_heads(self)
    check_rates(self, 'dropout', 'attention_dropout')
    if self.kernel % 2 == 0:
      raise ValueError(f'kernel: must be odd, got {self.kernel}')
    if self.halvings < 0:
      raise ValueError(f'halvings: must be >= 0, got {self.halvings}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, lengths: jax.Array | None = None,
               train: bool) -> tuple[jax.Array, jax.Array]:
    """Reads features.

    Args:
      inputs: `[batch, length, features]`.
      lengths: int `[batch]`, the frames that are not padding; None for all.
      train: whether to apply dropout.

    Returns:
      Logits `[batch, outputs, vocabulary]`, and the outputs that are not padding, int
      `[batch]`. Padding does not affect them.

    Raises:
      ValueError: for inputs of another rank.
    """
    if lengths is None:
      lengths = jnp.full(len(inputs), inputs.shape[1])
    x, lengths = Subsampling(self.width, self.halvings, self.channels,
                             name='subsampling')(inputs, lengths)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    block = partial(
      ConformerBlock, self.heads, self.hidden or 4 * self.width, self.kernel,
      self.dropout, self.attention_dropout)
    x = Stack(block, self.depth, self.remat, self.unroll, name='stack')(
      x, lengths=lengths, train=train)
    return Dense(self.vocabulary, name='head')(x), lengths
