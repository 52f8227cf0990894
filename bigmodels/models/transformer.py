"""The encoder-decoder transformer for translation.

Vaswani et al., *Attention is all you need*, 2017.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Embedding
from bigmodels.layers.positions import (
  NextPositions,
  segment_positions,
  sinusoidal,
)
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models.validation import check_heads, check_rates, check_sizes


class Transformer(nn.Module):
  """An encoder reads the source, a decoder writes the target, token by token.

  One embedding serves both languages and, transposed, the last layer. The defaults are
  the paper's base model.

  Attributes:
    vocabulary: number of tokens of both languages together.
    depth: number of blocks of the encoder, and of the decoder.
    width: width of every layer.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layers; None is 4 times the width.
    norm_first: see `Block`; if true, each stack ends with a norm.
    dropout: rate of dropout of the embeddings and of the output of each sublayer.
    attention_dropout: rate of dropout of the attention weights.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  vocabulary: int
  depth: int = 6
  width: int = 512
  heads: int = 8
  hidden: int | None = None
  norm_first: bool = False
  dropout: float = 0.1
  attention_dropout: float = 0.0
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'depth', 'width', 'hidden')
    check_heads(self)
    check_rates(self, 'dropout', 'attention_dropout')
    super().__post_init__()

  def setup(self):
    self.tokens = Embedding(self.vocabulary, self.width, partial(
      nn.initializers.normal, self.width**-0.5))
    self.next_positions = NextPositions()
    self.drop = nn.Dropout(self.dropout)
    norm = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)
    attention = partial(Attention, self.heads, dropout=self.attention_dropout)
    block = partial(
      Block, feed_forward=partial(FeedForward, self.hidden or 4 * self.width),
      norm=norm, norm_first=self.norm_first, dropout=self.dropout)
    stack = partial(Stack, depth=self.depth, remat=self.remat, unroll=self.unroll)
    self.encoder = stack(partial(block, attention))
    self.decoder = stack(partial(block, partial(attention, causal=True),
                                 cross=attention))
    if self.norm_first:
      self.encoder_norm, self.decoder_norm = norm(), norm()

  def __call__(self, source: jax.Array, target: jax.Array, *,
               segments: jax.Array | None = None,
               decoder_segments: jax.Array | None = None, train: bool) -> jax.Array:
    """Logits of the tokens that follow those of the target.

    Args:
      source: int `[batch, source length]`.
      target: int `[batch, target length]`, starting with the token that begins a text.
      segments: segments of the source, int `[batch, source length]`, 0 for padding;
        the number of the pair if a row has several pairs.
      decoder_segments: segments of the target, int `[batch, target length]`, with the
        same numbers; None if a row has one pair.
      train: whether to apply dropout.

    Returns:
      `[batch, target length, vocabulary]`.
    """
    memory = self.encode(source, segments=segments, train=train)
    return self.decode(target, memory, segments=segments,
                       decoder_segments=decoder_segments, train=train)

  def encode(self, source: jax.Array, *, segments: jax.Array | None = None,
             train: bool) -> jax.Array:
    """Reads the source.

    Args:
      source: int `[batch, source length]`.
      segments: int `[batch, source length]`; see `__call__`.
      train: whether to apply dropout.

    Returns:
      The memory, `[batch, source length, width]`.
    """
    x = self._embed(source, _positions(source, segments), train)
    x = self.encoder(x, segments=segments, train=train)
    return self.encoder_norm(x) if self.norm_first else x

  def decode(self, target: jax.Array, memory: jax.Array, *,
             segments: jax.Array | None = None,
             decoder_segments: jax.Array | None = None, decode: int = 0,
             train: bool) -> jax.Array:
    """Logits as in `__call__`, given an encoded source.

    Args:
      target: int `[batch, target length]`.
      memory: the encoded source, `[batch, source length, width]`; it may have fewer
        rows than the target, see `Attention`.
      segments: segments of the source, int `[batch, source length]`.
      decoder_segments: segments of the target, int `[batch, target length]`.
      decode: if not 0, the target follows the tokens in the cache, which holds this
        many tokens; see `Attention`.
      train: whether to apply dropout.

    Returns:
      `[batch, target length, vocabulary]`.

    Raises:
      ValueError: if the rows of the memory do not fit, or there are more tokens than
        the cache holds.
    """
    positions = self.next_positions(target, None) if decode else (
      _positions(target, decoder_segments))
    x = self.decoder(self._embed(target, positions, train), memory=memory,
                     segments=decoder_segments, memory_segments=segments,
                     decode=decode, train=train)
    return self.tokens.logits(self.decoder_norm(x) if self.norm_first else x)

  def _embed(self, tokens, positions, train):
    # The embedding is also the last layer; sqrt(width) scales it to match positions.
    x = self.tokens(tokens) * self.width**0.5
    x = x + sinusoidal(positions, self.width).astype(x.dtype)
    return self.drop(x, deterministic=not train)


def _positions(tokens, segments):
  if segments is None:
    return jnp.arange(tokens.shape[1])
  return segment_positions(segments)
