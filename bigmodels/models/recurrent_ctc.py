"""Recurrent networks that transcribe, by connectionist temporal classification."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense
from bigmodels.layers.masks import segments_of
from bigmodels.layers.recurrent import Lstm
from bigmodels.layers.subsampling import stack_frames
from bigmodels.models.validation import check_rates, check_sizes


class RecurrentCtc(nn.Module):
  """Bidirectional recurrent layers over frames, and logits of tokens.

  Graves et al., *Speech recognition with deep recurrent neural networks*, 2013.

  Attributes:
    vocabulary: number of tokens, of which token 0 is the blank.
    width: width of each layer's state, in each direction.
    depth: number of layers.
    stack: number of frames that make one step of the first layer.
    halve: number of layers, from the second on, before which two steps become one (Chan
      et al., *Listen, attend and spell*, 2016).
    cell: makes a layer, such as `Lstm`, `Gru` or `partial(Lstm, unroll=2)`.
    dropout: rate of dropout, in training, of the input of each layer, including the
      dense layer.
    recurrent_dropout: rate of dropout, in training, of the states; see `Recurrent`.
  """

  vocabulary: int
  width: int = 256
  depth: int = 3
  stack: int = 1
  halve: int = 0
  cell: Callable[..., nn.Module] = Lstm
  dropout: float = 0.0
  recurrent_dropout: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'width', 'depth', 'stack')
    check_rates(self, 'dropout', 'recurrent_dropout')
    if not 0 <= self.halve < self.depth:
      raise ValueError(f'halve: must be 0 to {self.depth - 1}, below the depth, got '
                       f'{self.halve}')
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
    if inputs.ndim != 3:
      raise ValueError('inputs: must be features [batch, length, features], got '
                       f'{inputs.shape}')
    if lengths is None:
      lengths = jnp.full(len(inputs), inputs.shape[1])
    x, lengths = stack_frames(inputs, lengths, self.stack)
    for depth in range(self.depth):
      if 0 < depth <= self.halve:
        x, lengths = stack_frames(x, lengths, 2)
      segments = segments_of(lengths, x.shape[1])
      x = jnp.concatenate([
        self._layer(depth, reverse)(x, segments=segments, train=train)[0]
        for reverse in (False, True)], -1)
      x = nn.LayerNorm(name=f'norm_{depth}')(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return Dense(self.vocabulary, name='head')(x), lengths

  def _layer(self, depth, reverse):
    return self.cell(
      width=self.width, dropout=self.dropout if depth else 0.0, reverse=reverse,
      recurrent_dropout=self.recurrent_dropout,
      name=f'{"backward" if reverse else "forward"}_{depth}')
