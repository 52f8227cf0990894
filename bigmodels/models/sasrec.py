"""Self-attentive sequential recommendation.

Kang and McAuley, *Self-attentive sequential recommendation*, 2018.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Embedding
from bigmodels.layers.positions import segment_positions
from bigmodels.layers.stack import Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models.recommenders import Vectors
from bigmodels.models.validation import check_heads, check_rates, check_sizes


class SasRec(nn.Module):
  """A causal transformer over the items of a user, which scores the next one.

  The last layer's weights are the vectors of the items. Unlike in the paper, positions
  are counted from the first item, and each part of a block reads normalized values in
  full, as in later transformers.

  Attributes:
    num_items: number of items.
    length: maximum number of items of a sequence.
    depth: number of blocks.
    width: length of the vectors.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layer; None is the width.
    dropout: rate of dropout of the embeddings, of the attention weights and of the
      output of each part.
    unroll: see `Stack`.
  """

  num_items: int
  length: int = 50
  depth: int = 2
  width: int = 50
  heads: int = 1
  hidden: int | None = None
  dropout: float = 0.0
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'num_items', 'length', 'depth', 'width', 'hidden')
    check_heads(self)
    check_rates(self, 'dropout')
    super().__post_init__()

  def setup(self):
    self.items = Vectors(self.num_items, self.width, 0.01)
    self.positions = Embedding(self.length, self.width,
                               partial(nn.initializers.normal, 0.02))
    block = partial(
      Block, attention=partial(Attention, self.heads, causal=True,
                               dropout=self.dropout),
      feed_forward=partial(FeedForward, self.hidden or self.width),
      dropout=self.dropout)
    self.blocks = Stack(block, self.depth, unroll=self.unroll)
    self.norm = nn.LayerNorm()
    self.drop = nn.Dropout(self.dropout)

  def __call__(self, inputs: jax.Array, items: jax.Array, *,
               segments: jax.Array | None = None, train: bool) -> jax.Array:
    """Scores of items to come next.

    Args:
      inputs: items so far, int `[batch, length]`.
      items: int `[batch, length, k]`, to score after each; or `[k]`, the same after all
        of them.
      segments: int `[batch, length]`: whose an item is, see `Attention`; 0 is padding.
        None if a row is one user.
      train: whether to apply dropout.

    Returns:
      `[batch, length, k]`.

    Raises:
      ValueError: for more items than `length`.
    """
    return self.score(self.encode(inputs, segments=segments, train=train), items)

  def encode(self, inputs: jax.Array, *, segments: jax.Array | None = None,
             train: bool) -> jax.Array:
    """The state after each item, `[batch, length, width]`.

    Args:
      inputs, segments, train: see `__call__`.

    Raises:
      ValueError: for more items than `length`.
    """
    if inputs.shape[1] > self.length:
      raise ValueError(f'a sequence of {inputs.shape[1]:,} items is longer than the '
                       f'model accepts: {self.length:,} (length)')
    positions = jnp.arange(inputs.shape[1])[None] if segments is None else (
      segment_positions(segments))
    x = self.items(inputs) * self.width**0.5 + self.positions(positions)
    x = self.drop(x, deterministic=not train)
    return self.norm(self.blocks(x, segments=segments, train=train))

  def score(self, states: jax.Array, items: jax.Array) -> jax.Array:
    """Products of states `[..., width]` with items `[..., k]` or `[k]`."""
    vectors = self.items(items)
    if items.ndim == 1:
      return states @ vectors.T
    return jnp.einsum('...w,...kw->...k', states, vectors)
