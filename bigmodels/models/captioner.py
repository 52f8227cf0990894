"""A network that reads an image, and a transformer that writes its caption.

Vinyals et al., *Show and tell: a neural image caption generator*, 2015, with the
decoder of Vaswani et al., *Attention is all you need*, 2017.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.activations import gelu
from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense, Embedding
from bigmodels.layers.positions import NextPositions, sinusoidal
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models.validation import check_heads, check_rates, check_sizes


class Captioner(nn.Module):
  """Blocks as in GPT, which also attend to the places of the last map of an image.

  Attributes:
    image: network of images without a head: `[batch, height, width, channels]` ->
      maps, such as `ResNet` with `num_outputs=None`; or features `[batch, features]`,
      which are one place.
    vocabulary: number of tokens.
    depth: number of blocks.
    width: width of every block.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layers; None is 4 times the width.
    dropout: rate of dropout of the embeddings, the places of the image, and the output
      of each sublayer.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  image: nn.Module
  vocabulary: int
  depth: int = 4
  width: int = 256
  heads: int = 4
  hidden: int | None = None
  dropout: float = 0.1
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'depth', 'width', 'hidden')
    check_heads(self)
    check_rates(self, 'dropout')
    super().__post_init__()

  def setup(self):
    self.places = Dense(self.width)
    self.tokens = Embedding(self.vocabulary, self.width, partial(
      nn.initializers.normal, self.width**-0.5))
    self.next_positions = NextPositions()
    self.drop = nn.Dropout(self.dropout)
    norm = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)
    attention = partial(Attention, self.heads)
    block = partial(
      Block, partial(attention, causal=True), cross=attention, norm=norm,
      dropout=self.dropout, feed_forward=partial(
        FeedForward, self.hidden or 4 * self.width, activation=gelu))
    self.decoder = Stack(block, self.depth, remat=self.remat, unroll=self.unroll)
    self.image_norm, self.decoder_norm = norm(), norm()

  def __call__(self, inputs: jax.Array, captions: jax.Array, *, train: bool
               ) -> jax.Array:
    """Logits of the tokens that follow those of captions.

    Args:
      inputs: images, `[batch, height, width, channels]`.
      captions: int `[batch, captions, length]`, starting with the token that begins a
        text.
      train: whether to apply dropout.

    Returns:
      `[batch, captions, length, vocabulary]`.
    """
    batch, count, length = captions.shape
    logits = self.decode(captions.reshape(-1, length), self.encode(inputs, train=train),
                         train=train)
    return logits.reshape(batch, count, length, -1)

  def encode(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """Reads images; returns their places, `[batch, places, width]`."""
    x = self.image(inputs, train=train)
    x = x[-1] if isinstance(x, tuple) else x
    x = self.places(x.reshape(len(x), -1, x.shape[-1]))
    return self.drop(self.image_norm(x), deterministic=not train)

  def decode(self, target: jax.Array, memory: jax.Array, *, decode: int = 0,
             train: bool) -> jax.Array:
    """Logits as in `__call__`, given the places of images.

    Args:
      target: int `[rows, length]`.
      memory: `[batch, places, width]`; it may have fewer rows than the target, see
        `Attention`.
      decode: if not 0, the target follows the tokens in the cache, which holds this
        many tokens; see `Attention`.
      train: whether to apply dropout.

    Returns:
      `[rows, length, vocabulary]`.
    """
    positions = self.next_positions(target, None) if decode else (
      jnp.arange(target.shape[1]))
    x = self.tokens(target) * self.width**0.5
    x = x + sinusoidal(positions, self.width).astype(x.dtype)
    x = self.drop(x, deterministic=not train)
    x = self.decoder(x, memory=memory, decode=decode, train=train)
    return self.tokens.logits(self.decoder_norm(x))
