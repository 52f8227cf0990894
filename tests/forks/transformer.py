"""A decoder-only language model over random tokens: its memory can be planned."""

from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
import optax

from bigmodels import data, models
from bigmodels.config import Duration, Experiment
from bigmodels.models import sharding_rules
from bigmodels.tasks.task import Columns, Task, apply, init, labels_of, masked_mean


def next_token(model) -> Task:
  """The token that follows each token of a text.

  Args:
    model: Linen module, `[batch, length]` -> logits `[batch, length, vocabulary]`.
  """

  def loss(params, model_state, batch, key, train):
    logits, model_state = apply(
      model, Columns(), params, model_state, batch, key=key, train=train)
    values = optax.softmax_cross_entropy_with_integer_labels(
      logits.astype(jnp.float32), labels_of(batch)).mean(-1)
    value, total = masked_mean(values, batch['mask'])
    return value, (model_state, {'loss': total}, {'loss': values})

  return Task(partial(init, model, Columns()), loss)


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
    model=models.Gpt(vocabulary, length, depth, width, heads, remat=remat),
    task=next_token,
    optimizer=partial(optax.adamw, learning_rate=learning_rate),
    train=batches('train'),
    evals={'test': batches('test')},
    evaluate_every=Duration(steps=steps),
    log_every=Duration(steps=1),
    duration=Duration(steps=steps),
    seed=seed,
    rules=sharding_rules.TRANSFORMER)
