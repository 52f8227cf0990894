"""The transformer that translates (Vaswani et al., *Attention is all you need*)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Embedding
from bigmodels.layers.positions import NextPlaces, places, sinusoidal
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models.validation import check_heads, check_shares, check_sizes


class Transformer(nn.Module):
  """An encoder reads the source, a decoder writes the target, token by token.

  One embedding serves both languages and, transposed, the last layer. The defaults are
  the paper's base model.

  Attributes:
    vocabulary: number of tokens of both languages together.
    depth: blocks of the encoder, and of the decoder.
    width: of every layer.
    heads: of the attention; they divide the width.
    hidden: width of the feed-forward parts; None takes 4 times the width.
    norm_first: see `Block`; then each stack ends with a norm.
    dropout: share left out of the embeddings and of what each part of a block adds.
    attention_dropout: share of the attention's weights left out.
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
    check_shares(self, 'dropout', 'attention_dropout')
    super().__post_init__()

  def setup(self):
    self.tokens = Embedding(self.vocabulary, self.width, partial(
      nn.initializers.normal, self.width**-0.5))
    self.next_places = NextPlaces()
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
    """Logits of the tokens that follow on those of the target.

    Args:
      source: int `[batch, source length]`.
      target: int `[batch, target length]`, the first being the one that begins a text.
      segments: of the source, int `[batch, source length]`, 0 where it is padding;
        pairs that share a row are numbered.
      decoder_segments: of the target, with the same numbers; left out, a row has one
        pair.
      train: whether to drop out.

    Returns:
      `[batch, target length, vocabulary]`.
    """
    memory = self.encode(source, segments=segments, train=train)
    return self.decode(target, memory, segments=segments,
                       decoder_segments=decoder_segments, train=train)

  def encode(self, source: jax.Array, *, segments: jax.Array | None = None,
             train: bool) -> jax.Array:
    """Source, int `[batch, length]` -> memory `[batch, length, width]`."""
    x = self._embed(source, _places(source, segments), train)
    x = self.encoder(x, segments=segments, train=train)
    return self.encoder_norm(x) if self.norm_first else x

  def decode(self, target: jax.Array, memory: jax.Array, *,
             segments: jax.Array | None = None,
             decoder_segments: jax.Array | None = None, decode: int = 0,
             train: bool) -> jax.Array:
    """As `__call__`, of an encoded source.

    Args:
      target: int `[batch, target length]`.
      memory: of the source, `[batch, source length, width]`; of fewer rows than the
        target, see `Attention`.
      segments: of the source, int `[batch, source length]`.
      decoder_segments: of the target, int `[batch, target length]`.
      decode: if not 0, the target is what follows on what is in the cache, which holds
        so many tokens; see `Attention`.
      train: whether to drop out.
    """
    positions = self.next_places(target, None) if decode else (
      _places(target, decoder_segments))
    x = self.decoder(self._embed(target, positions, train), memory=memory,
                     segments=decoder_segments, memory_segments=segments,
                     decode=decode, train=train)
    return self.tokens.logits(self.decoder_norm(x) if self.norm_first else x)

  def _embed(self, tokens, positions, train):
    # sqrt(width) brings what also serves as the last layer to the size of a position.
    x = self.tokens(tokens) * self.width**0.5
    x = x + sinusoidal(positions, self.width).astype(x.dtype)
    return self.drop(x, deterministic=not train)


def _places(tokens, segments):
  return jnp.arange(tokens.shape[1]) if segments is None else places(segments)
