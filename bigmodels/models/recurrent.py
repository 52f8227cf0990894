"""Recurrent networks that read tokens: a classifier and a language model."""

import difflib
from collections.abc import Callable
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.recurrent import Lstm
from bigmodels.models.validation import check_shares, check_sizes

Pooling = Literal['last', 'mean', 'max']


class RecurrentClassifier(nn.Module):
  """Embedded tokens, recurrent layers, pooling over time, one dense layer.

  Attributes:
    vocabulary: number of tokens.
    num_outputs: width of the answer.
    width: of each layer's state, in each direction.
    embedding: width of what stands for a token.
    depth: number of recurrent layers.
    bidirectional: at each depth have two layers, of which one reads backwards.
    cell: `Lstm`, `Gru` or what makes another such layer; `partial(Lstm, unroll=2)`.
    pooling: 'last' takes the states after the last step read, in each direction; 'mean'
      and 'max' are over all steps but padding.
    dropout: share left out in training of what goes into each layer, the dense one too.
    recurrent_dropout: share of the states left out in training; see `Recurrent`.
    embedding_dropout: share of the tokens left out in training; one that is left out is
      at every place where a sequence has it (Gal and Ghahramani, 2016).
  """

  vocabulary: int
  num_outputs: int
  width: int = 128
  embedding: int = 128
  depth: int = 1
  bidirectional: bool = True
  cell: Callable[..., nn.Module] = Lstm
  pooling: Pooling = 'last'
  dropout: float = 0.0
  recurrent_dropout: float = 0.0
  embedding_dropout: float = 0.0

  def __post_init__(self):
    _check(self, ('vocabulary', 'num_outputs', 'width', 'embedding', 'depth'))
    names = get_args(Pooling)
    if self.pooling not in names:
      close = difflib.get_close_matches(str(self.pooling), names, n=1)
      hint = f'did you mean {close[0]!r}?' if close else f'there is {", ".join(names)}'
      raise ValueError(f'pooling: wants another than {self.pooling!r}; {hint}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, segments: jax.Array | None = None,
               train: bool) -> jax.Array:
    """Classifies sequences.

    Args:
      inputs: tokens, integer `[batch, length]`.
      segments: integer `[batch, length]`, 0 where there is padding; None for none.
      train: whether to drop out.

    Returns:
      Logits, `[batch, num_outputs]`. Padding changes nothing; of nothing else than
      padding 'mean' and 'max' are 0.
    """
    x = nn.Embed(self.vocabulary, self.embedding, embedding_init=_small(),
                 name='embedding')(_tokens(inputs))
    x = _without_tokens(x, inputs, self.vocabulary, self.embedding_dropout, train)
    for depth in range(self.depth):
      read = [self._layer(depth, reverse)(x, segments=segments, train=train)
              for reverse in ((False, True) if self.bidirectional else (False,))]
      x = jnp.concatenate([outputs for outputs, _ in read], -1)
    if self.pooling == 'last':
      last = [jax.tree.leaves(state)[0] for _, state in read]
      pooled = jnp.concatenate(last, -1).astype(x.dtype)
    else:
      pooled = _pool(x, segments, self.pooling)
    pooled = nn.Dropout(self.dropout, deterministic=not train)(pooled)
    return nn.Dense(self.num_outputs)(pooled)

  def _layer(self, depth, reverse):
    return self.cell(
      width=self.width, dropout=self.dropout, reverse=reverse,
      recurrent_dropout=self.recurrent_dropout,
      name=f'{"backward" if reverse else "forward"}_{depth}')


class RecurrentLanguageModel(nn.Module):
  """Embedded tokens, recurrent layers, a logit for every token that may come next.

  Attributes:
    vocabulary: number of tokens.
    width: of the embedding and of each layer's state.
    depth: number of recurrent layers.
    cell: `Lstm`, `Gru` or what makes another such layer.
    dropout: share left out in training of what goes into each layer and into the
      logits, the same at each step of a sequence.
    recurrent_dropout: share of the states left out in training; see `Recurrent`.
    embedding_dropout: share of the tokens left out; see `RecurrentClassifier`.
    tied: have the embedding give the logits as well (Press and Wolf, "Using the output
      embedding to improve language models", 2017; Inan et al., 2017).
  """

  vocabulary: int
  width: int = 256
  depth: int = 1
  cell: Callable[..., nn.Module] = Lstm
  dropout: float = 0.0
  recurrent_dropout: float = 0.0
  embedding_dropout: float = 0.0
  tied: bool = True

  def __post_init__(self):
    _check(self, ('vocabulary', 'width', 'depth'))
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, segments: jax.Array | None = None,
               train: bool, decode: bool = False) -> jax.Array:
    """What may come after each token, from that and those before it.

    Args:
      inputs: tokens, integer `[batch, length]`.
      segments: integer `[batch, length]`: 0 where there is padding; where the number
        changes another document begins, of which none knows of another.
      train: whether to drop out.
      decode: go on where the last call ended. The collection 'cache' holds the states,
        `[batch, width]` each; without one they are zero. It has to be mutable, and is
        the answer's second part then: `logits, {'cache': ...}`.

    Returns:
      Logits, `[batch, length, vocabulary]`.
    """
    embed = nn.Embed(self.vocabulary, self.width, embedding_init=_small(),
                     name='embedding')
    x = embed(_tokens(inputs))
    x = _without_tokens(x, inputs, self.vocabulary, self.embedding_dropout, train)
    for depth in range(self.depth):
      name, state = f'layer_{depth}', None
      layer = self.cell(width=self.width, dropout=self.dropout, name=name,
                        recurrent_dropout=self.recurrent_dropout)
      if decode and self.has_variable('cache', f'state_{depth}'):
        state = self.get_variable('cache', f'state_{depth}')
      x, state = layer(x, segments=segments, state=state, train=train)
      if decode:
        # A cache that `init` makes has read nothing.
        state = jax.tree.map(jnp.zeros_like, state) if self.is_initializing() else state
        self.put_variable('cache', f'state_{depth}', state)
    x = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)(x)
    flat = x.reshape(-1, self.width)  # one product of two matrices is fastest
    bias = self.param('bias', nn.initializers.zeros, (self.vocabulary,))
    if self.tied:
      logits = embed.attend(flat)
    else:
      logits = nn.Dense(self.vocabulary, use_bias=False, name='logits')(flat)
    return (logits + bias).reshape(*x.shape[:2], self.vocabulary)


def _check(model, sizes):
  check_sizes(model, *sizes)
  check_shares(model, 'dropout', 'recurrent_dropout', 'embedding_dropout')
  if isinstance(model.cell, nn.Module) or not callable(model.cell):
    raise ValueError('cell: wants a recipe, such as Lstm, got '
                     f'{type(model.cell).__name__}')


def _small():
  return nn.initializers.normal(0.1)


def _tokens(inputs):
  if inputs.ndim != 2:
    raise ValueError(f'inputs: wants tokens [batch, length], got {inputs.shape}')
  return inputs.astype(jnp.int32)


def _without_tokens(x, inputs, vocabulary, share, train):
  """Embedded tokens with some kinds of token set to 0, which ones by sequence."""
  if not train or not share:
    return x
  kept = nn.Dropout(share, deterministic=False, name='embedding_dropout')(
    jnp.ones((len(x), vocabulary), x.dtype))
  return x * jnp.take_along_axis(kept, _tokens(inputs), 1)[..., None]


def _pool(x, segments, pooling):
  real = jnp.ones(x.shape[:2], bool) if segments is None else segments != 0
  if pooling == 'mean':  # what layers give for padding is 0
    count = jnp.maximum(real.sum(1, keepdims=True), 1)
    return (x.sum(1, dtype=jnp.float32) / count).astype(x.dtype)
  largest = jnp.max(jnp.where(real[..., None], x, -jnp.inf), 1)
  return jnp.where(real.any(1, keepdims=True), largest, 0)
