"""Recurrent networks that read tokens: a classifier and a language model."""

from collections.abc import Callable
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.recurrent import Lstm
from bigmodels.models.validation import check_choices, check_rates, check_sizes

Pooling = Literal['last', 'mean', 'max']


class RecurrentClassifier(nn.Module):
  """Embedded tokens, recurrent layers, pooling over time, one dense layer.

  Attributes:
    vocabulary: number of tokens.
    num_outputs: number of classes.
    width: width of each layer's state, in each direction.
    embedding: width of the token embeddings.
    depth: number of recurrent layers.
    bidirectional: whether each depth has a second layer that reads backwards (Schuster
      and Paliwal, *Bidirectional recurrent neural networks*, 1997).
    cell: makes a layer, such as `Lstm`, `Gru` or `partial(Lstm, unroll=2)`.
    pooling: 'last' takes the states after the last step read, in each direction; 'mean'
      and 'max' are over all steps except padding.
    dropout: rate of dropout, in training, of the input of each layer, including the
      dense layer.
    recurrent_dropout: rate of dropout, in training, of the states; see `Recurrent`.
    embedding_dropout: rate at which tokens are dropped in training, each at all its
      positions in a sequence or at none (Gal and Ghahramani, *A theoretically grounded
      application of dropout in recurrent neural networks*, 2016).
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
    check_choices(self, pooling=get_args(Pooling))
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, segments: jax.Array | None = None,
               train: bool) -> jax.Array:
    """Classifies sequences.

    Args:
      inputs: tokens, int `[batch, length]`.
      segments: int `[batch, length]`, 0 for padding; None for no padding.
      train: whether to apply dropout.

    Returns:
      Logits, `[batch, num_outputs]`. Padding does not affect them; 'mean' and 'max' of
      only padding are 0.

    Raises:
      ValueError: for tokens of another shape.
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
  """Embedded tokens, recurrent layers, logits of the next token.

  Zaremba et al., *Recurrent neural network regularization*, 2014.

  Attributes:
    vocabulary: number of tokens.
    width: width of the embedding and of each layer's state.
    depth: number of recurrent layers.
    cell: makes a layer, such as `Lstm` or `Gru`.
    dropout: rate of dropout, in training, of the input of each layer and of the last
      layer; the mask is the same at each step of a sequence.
    recurrent_dropout: rate of dropout, in training, of the states; see `Recurrent`.
    embedding_dropout: rate at which tokens are dropped; see `RecurrentClassifier`.
    tied: whether the last layer shares its weights with the embedding (Press and Wolf,
      *Using the output embedding to improve language models*, 2017; Inan et al., *Tying
      word vectors and word classifiers*, 2017).
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
    """Predicts the token after each token.

    Args:
      inputs: tokens, int `[batch, length]`.
      segments: int `[batch, length]`, 0 for padding; a new document begins where the
        number changes, and documents are independent.
      train: whether to apply dropout.
      decode: whether to continue from the last call. The collection 'cache' holds the
        states, `[batch, width]` each; without it they are zero. It must be mutable, and
        is the second result of `apply`: `logits, {'cache': ...}`.

    Returns:
      Logits, `[batch, length, vocabulary]`.

    Raises:
      ValueError: for tokens of another shape.
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
        # `init` makes the cache of a model that has read no tokens.
        state = jax.tree.map(jnp.zeros_like, state) if self.is_initializing() else state
        self.put_variable('cache', f'state_{depth}', state)
    x = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)(x)
    flat = x.reshape(-1, self.width)  # a product of two matrices is fastest
    bias = self.param('bias', nn.initializers.zeros, (self.vocabulary,))
    if self.tied:
      logits = embed.attend(flat)
    else:
      logits = nn.Dense(self.vocabulary, use_bias=False, name='logits')(flat)
    return (logits + bias).reshape(*x.shape[:2], self.vocabulary)


def _check(model, sizes):
  check_sizes(model, *sizes)
  check_rates(model, 'dropout', 'recurrent_dropout', 'embedding_dropout')
  if isinstance(model.cell, nn.Module) or not callable(model.cell):
    raise ValueError('cell: must be callable and make a layer, such as Lstm; got '
                     f'{type(model.cell).__name__}')


def _small():
  return nn.initializers.normal(0.1)


def _tokens(inputs):
  if inputs.ndim != 2:
    raise ValueError(f'inputs: must be tokens [batch, length], got {inputs.shape}')
  return inputs.astype(jnp.int32)


def _without_tokens(x, inputs, vocabulary, rate, train):
  """Sets the embeddings of some tokens to 0, different ones in each sequence."""
  if not train or not rate:
    return x
  kept = nn.Dropout(rate, deterministic=False, name='embedding_dropout')(
    jnp.ones((len(x), vocabulary), x.dtype))
  return x * jnp.take_along_axis(kept, _tokens(inputs), 1)[..., None]


def _pool(x, segments, pooling):
  real = jnp.ones(x.shape[:2], bool) if segments is None else segments != 0
  if pooling == 'mean':  # layers give 0 for padding
    count = jnp.maximum(real.sum(1, keepdims=True), 1)
    return (x.sum(1, dtype=jnp.float32) / count).astype(x.dtype)
  largest = jnp.max(jnp.where(real[..., None], x, -jnp.inf), 1)
  return jnp.where(real.any(1, keepdims=True), largest, 0)
