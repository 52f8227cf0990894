"""A Transformer that reads features of speech and writes tokens.

Dong et al., *Speech-Transformer: A no-recurrence sequence-to-sequence model for speech
recognition*, 2018.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense, Embedding
from bigmodels.layers.masks import segments_of
from bigmodels.layers.positions import NextPositions, sinusoidal
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.subsampling import Subsampling
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models.validation import check_heads, check_rates, check_sizes


class SpeechTransformer(nn.Module):
  """An encoder reads features, a decoder writes the transcript, token by token.

  The encoder also gives logits for connectionist temporal classification.

  Attributes:
    vocabulary: number of tokens, of which token 0 is the padding, and the blank.
    width: width of every block.
    depth: number of blocks of the encoder.
    decoder_depth: number of blocks of the decoder.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layers; None is 4 times the width.
    halvings: how often the first layers halve the number of frames.
    channels: channels of these layers; None for the width.
    dropout: rate of dropout of the embeddings and of the output of each sublayer.
    attention_dropout: rate of dropout of the attention weights.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  vocabulary: int
  width: int = 256
  depth: int = 12
  decoder_depth: int = 6
  heads: int = 4
  hidden: int | None = None
  halvings: int = 2
  channels: int | None = None
  dropout: float = 0.1
  attention_dropout: float = 0.0
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'width', 'depth', 'decoder_depth', 'hidden',
                'channels')
    check_heads(self)
    check_rates(self, 'dropout', 'attention_dropout')
    if self.halvings < 0:
      raise ValueError(f'halvings: must be >= 0, got {self.halvings}')
    super().__post_init__()

  def setup(self):
    self.subsampling = Subsampling(self.width, self.halvings, self.channels)
    self.tokens = Embedding(self.vocabulary, self.width, partial(
      nn.initializers.normal, self.width**-0.5))
    self.next_positions = NextPositions()
    self.drop = nn.Dropout(self.dropout)
    norm = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)
    attention = partial(Attention, self.heads, dropout=self.attention_dropout)
    block = partial(
      Block, feed_forward=partial(FeedForward, self.hidden or 4 * self.width),
      norm=norm, dropout=self.dropout)
    stack = partial(Stack, remat=self.remat, unroll=self.unroll)
    self.encoder = stack(partial(block, attention), depth=self.depth)
    self.decoder = stack(partial(block, partial(attention, causal=True),
                                 cross=attention), depth=self.decoder_depth)
    self.encoder_norm, self.decoder_norm = norm(), norm()
    self.ctc = Dense(self.vocabulary)

  def __call__(self, inputs: jax.Array, target: jax.Array, *,
               lengths: jax.Array | None = None, train: bool
               ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits of the tokens that follow those of the target, and of the encoder.

    Args:
      inputs: `[batch, length, features]`.
      target: int `[batch, target length]`, starting with the token that begins a text.
      lengths: int `[batch]`, the frames that are not padding; None for all.
      train: whether to apply dropout.

    Returns:
      Logits `[batch, target length, vocabulary]`; logits of the encoder `[batch,
      outputs, vocabulary]`; and its outputs that are not padding, int `[batch]`.
    """
    memory, lengths = self.encode(inputs, lengths=lengths, train=train)
    logits = self.decode(target, memory, lengths=lengths, train=train)
    return logits, self.ctc(memory), lengths

  def encode(self, inputs: jax.Array, *, lengths: jax.Array | None = None, train: bool
             ) -> tuple[jax.Array, jax.Array]:
    """Reads features.

    Args:
      inputs: `[batch, length, features]`.
      lengths: int `[batch]`; see `__call__`.
      train: whether to apply dropout.

    Returns:
      The memory, `[batch, outputs, width]`, and its lengths, int `[batch]`.
    """
    if lengths is None:
      lengths = jnp.full(len(inputs), inputs.shape[1])
    x, lengths = self.subsampling(inputs, lengths)
    x = x * self.width**0.5 + sinusoidal(
      jnp.arange(x.shape[1]), self.width).astype(x.dtype)
    x = self.drop(x, deterministic=not train)
    x = self.encoder(x, segments=segments_of(lengths, x.shape[1]), train=train)
    return self.encoder_norm(x), lengths

  def decode(self, target: jax.Array, memory: jax.Array, *, lengths: jax.Array,
             decode: int = 0, train: bool) -> jax.Array:
    """Logits as in `__call__`, given encoded features.

    Args:
      target: int `[batch, target length]`.
      memory: `[batch, outputs, width]`; it may have fewer rows than the target, see
        `Attention`.
      lengths: int `[batch]`, those of the memory.
      decode: if not 0, the target follows the tokens in the cache, which holds this
        many tokens; see `Attention`.
      train: whether to apply dropout.

    Returns:
      `[batch, target length, vocabulary]`.
    """
    positions = self.next_positions(target, None) if decode else (
      jnp.arange(target.shape[1]))
    x = self.tokens(target) * self.width**0.5
    x = x + sinusoidal(positions, self.width).astype(x.dtype)
    x = self.drop(x, deterministic=not train)
    x = self.decoder(x, memory=memory, memory_segments=segments_of(
      lengths, memory.shape[1]), decode=decode, train=train)
    return self.tokens.logits(self.decoder_norm(x))
