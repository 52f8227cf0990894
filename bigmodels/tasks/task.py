"""The type of a task, and what tasks of one module share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Task(NamedTuple):
  """What is learned: how a model's answer to a batch is scored.

  Attributes:
    init: (key, batch) -> params, extra.
    loss: (params, extra, batch, key, train) -> loss, (extra, sums, outputs). The loss
      is the mean over unmasked examples; `outputs` are per example.
    summarize: (outputs of a split, masked examples dropped) -> name -> number.
    figures: (outputs, inputs: rows -> arrays, classes) -> title -> figure.
  """

  init: Callable
  loss: Callable
  summarize: Callable[..., dict[str, float]]
  figures: Callable[..., dict[str, Any]]


def init(model, key: jax.Array, batch) -> tuple[Any, Any]:
  """Params and every other variable collection of a Linen module for a batch."""
  variables = dict(model.init(key, batch['inputs'], train=False))
  return variables.pop('params'), variables


def apply(model, params, extra, batch, *, key: jax.Array, train: bool):
  """The module's answer to a batch, and the collections it updated.

  Masked examples are answered as zeros: whatever they hold, NaN included, reaches
  neither the loss nor its gradient.
  """
  inputs = _zero_masked(batch['inputs'], batch['mask'])
  variables = {'params': params, **extra}
  if not train or not extra:
    rngs = {'dropout': key} if train else None
    answer = model.apply(variables, inputs, train=train, rngs=rngs)
    return answer, extra
  answer, updated = model.apply(
    variables, inputs, train=train, rngs={'dropout': key},
    mutable=list(extra))
  return answer, {**extra, **updated}


def labels_of(batch) -> jax.Array:
  """The labels, zero where masked."""
  return _zero_masked(batch['labels'], batch['mask'])


def _zero_masked(values: jax.Array, mask: jax.Array) -> jax.Array:
  kept = (mask > 0).reshape(-1, *[1] * (values.ndim - 1))
  return jnp.where(kept, values, jnp.zeros_like(values))


def masked_mean(values: jax.Array, mask: jax.Array) -> tuple[jax.Array, tuple]:
  """Mean of `[batch]` values where the mask is 1, and the (total, count) behind it."""
  total = jnp.sum(jnp.where(mask > 0, values, 0.0))
  count = jnp.sum(mask)
  return total / jnp.maximum(count, 1.0), (total, count)
