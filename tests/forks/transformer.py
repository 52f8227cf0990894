"""A decoder-only language model over random tokens: its memory can be planned."""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels import data
from bigmodels.experiment import Experiment, Span
from bigmodels.layers.stack import Stack
from bigmodels.tasks.task import Task, apply, init, labels_of, masked_mean


class Block(nn.Module):
  """Causal attention, then two dense layers; norms come first (Xiong et al., 2020).

  Attributes:
    width: of the residual stream.
    heads: of the attention.
    dropout: share of what each half adds that is left out in training.
  """

  width: int
  heads: int
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, length, width]` -> the same shape."""
    drop = partial(nn.Dropout, self.dropout, deterministic=not train)
    mask = nn.make_causal_mask(jnp.ones((1, x.shape[1])))
    h = nn.LayerNorm()(x)
    x = x + drop()(nn.MultiHeadDotProductAttention(self.heads)(h, mask=mask))
    h = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
    return x + drop()(nn.Dense(self.width)(h))


class Gpt(nn.Module):
  """Token and position embeddings, blocks, a norm, and a logit for every token.

  Attributes:
    vocabulary: number of tokens.
    depth: number of blocks.
    width: of the residual stream.
    heads: of the attention; they divide the width.
    dropout: see `Block`.
    remat: see `Stack`.
  """

  vocabulary: int
  depth: int = 2
  width: int = 64
  heads: int = 4
  dropout: float = 0.0
  remat: Literal['none', 'dots', 'full'] = 'none'

  def __post_init__(self):
    if self.width % self.heads:
      raise ValueError(f'heads: {self.heads} of them do not divide the width, '
                       f'{self.width}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """Tokens, `[batch, length]` -> logits, `[batch, length, vocabulary]`."""
    small = nn.initializers.normal(0.02)
    positions = self.param('positions', small, (inputs.shape[1], self.width))
    x = nn.Embed(self.vocabulary, self.width, embedding_init=small)(
      inputs.astype(jnp.int32))
    block = partial(Block, self.width, self.heads, self.dropout)
    x = Stack(block, self.depth, self.remat)(x + positions, train=train)
    return nn.Dense(self.vocabulary, use_bias=False, kernel_init=small)(
      nn.LayerNorm()(x))


def next_token(model) -> Task:
  """The token that follows each token of a text.

  Args:
    model: Linen module, `[batch, length]` -> logits `[batch, length, vocabulary]`.
  """

  def loss(params, extra, batch, key, train):
    logits, extra = apply(model, params, extra, batch, key=key, train=train)
    values = optax.softmax_cross_entropy_with_integer_labels(
      logits.astype(jnp.float32), labels_of(batch)).mean(-1)
    value, total = masked_mean(values, batch['mask'])
    return value, (extra, {'loss': total}, {'loss': values})

  return Task(partial(init, model), loss, lambda outputs: {}, lambda *drawn: {})


def config(*, depth: int = 2, width: int = 64, heads: int = 4, length: int = 32,
           vocabulary: int = 256, batch_size: int = 8,
           remat: Literal['none', 'dots', 'full'] = 'full', steps: int = 4,
           learning_rate: float = 1e-3, examples: int = 1024,
           seed: int = 0) -> Experiment:
  tokens = np.random.default_rng(seed).integers(
    vocabulary, size=(examples, length + 1), dtype=np.uint16)
  source = data.Arrays(inputs=tokens[:, :-1], labels=tokens[:, 1:])

  def batches(split):
    return data.Batches(source=source.split(split), batch_size=batch_size)

  return Experiment(
    model=Gpt(vocabulary, depth, width, heads, remat=remat),
    task=next_token,
    optimizer=partial(optax.adamw, learning_rate=learning_rate),
    train=batches('train'),
    evals={'test': batches('test')},
    evaluate=Span(steps=steps),
    log=Span(steps=1),
    duration=Span(steps=steps),
    seed=seed)
