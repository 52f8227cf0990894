"""The type of a task, and what tasks of one module share."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError


class Task(NamedTuple):
  """What is learned: how a model's answer to a batch is scored.

  Attributes:
    init: (key, batch) -> params, model_state.
    loss: (params, model_state, batch, key, train) -> loss, (model_state, sums,
      outputs). The loss is the mean over unmasked examples; `outputs` are per example.
    summarize: (outputs of a split, masked examples dropped) -> name -> number.
    figures: (outputs, inputs: rows -> arrays, classes) -> title -> figure.
    generate: (params, model_state, prompts: list of texts, key, `decoding.Settings`) ->
      for each prompt the text that follows on it, and of how many tokens; None where
      no text is learned.
  """

  init: Callable
  loss: Callable
  summarize: Callable[..., dict[str, float]]
  figures: Callable[..., dict[str, Any]]
  generate: Callable[..., list[tuple[str, int]]] | None = None


def init(model, key: jax.Array, batch) -> tuple[Any, Any]:
  """Params and every other variable collection of a Linen module for a batch.

  Raises:
    ValueError: if the module is not called with what the batch has.
  """
  _check_call(model, batch)
  variables = dict(model.init(
    key, *_arguments(batch), **_keywords(batch), train=False))
  return variables.pop('params'), variables


def apply(model, params, model_state, batch, *, key: jax.Array, train: bool):
  """The module's answer to a batch, and the collections it updated.

  The module is called with `inputs`; with `decoder_inputs` after it, and with the
  keywords `segments`, `decoder_segments` and `places`, where the batch has them.
  Masked examples are answered as zeros: whatever they hold, NaN included, reaches
  neither the loss nor its gradient.

  Raises:
    ValueError: if the module is not called with what the batch has.
  """
  _check_call(model, batch)
  arguments = [zero_masked(x, batch['mask']) for x in _arguments(batch)]
  variables = {'params': params, **model_state}
  call = partial(model.apply, variables, *arguments, **_keywords(batch), train=train)
  if not train or not model_state:
    return call(rngs={'dropout': key} if train else None), model_state
  answer, updated = call(rngs={'dropout': key}, mutable=list(model_state))
  return answer, {**model_state, **updated}


def encode(tokenizer, flag: str, text: str) -> np.ndarray:
  """The tokens of a text, int32 `[n]`; a text that has none is refused with its flag.

  Raises:
    UserError: as the tokenizer does.
  """
  try:
    return tokenizer.encode(text)
  except UserError as error:
    raise UserError(f'{flag}: {error}') from None


_ARGUMENTS = ('inputs', 'decoder_inputs')
_KEYWORDS = ('segments', 'decoder_segments', 'places')


def _arguments(batch) -> list[jax.Array]:
  return [batch[name] for name in _ARGUMENTS if name in batch]


def _keywords(batch) -> dict[str, jax.Array]:
  return {name: batch[name] for name in _KEYWORDS if name in batch}


def _check_call(model, batch) -> None:
  """Refuses a module that has no place for what a batch has, or wants more."""
  module = getattr(model, 'model', model)  # within its precision
  try:
    inspect.signature(type(module).__call__).bind(
      module, *_arguments(batch), **_keywords(batch), train=False)
  except TypeError as error:
    given = [name for name in (*_ARGUMENTS, *_KEYWORDS) if name in batch]
    raise ValueError(f'{type(module).__name__} is called with {", ".join(given)}: '
                     f'{error}') from None


def labels_of(batch) -> jax.Array:
  """The labels, zero where masked."""
  return zero_masked(batch['labels'], batch['mask'])


def zero_masked(values: jax.Array, mask: jax.Array) -> jax.Array:
  """`[batch, ...]` with zeros where the mask `[batch]` is 0."""
  kept = (mask > 0).reshape(-1, *[1] * (values.ndim - 1))
  return jnp.where(kept, values, jnp.zeros_like(values))


def masked_mean(values: jax.Array, mask: jax.Array) -> tuple[jax.Array, tuple]:
  """Mean of `[batch]` values where the mask is 1, and the (total, count) behind it.

  Raises:
    ValueError: for values of another shape, which would be broadcast.
  """
  if values.shape != mask.shape:
    raise ValueError(f'a loss must be one number for each example, {mask.shape}, got '
                     f'{values.shape}')
  total = jnp.sum(jnp.where(mask > 0, values, 0.0))
  count = jnp.sum(mask)
  return total / jnp.maximum(count, 1.0), (total, count)


def token_weights(batch) -> jax.Array:
  """How much each label counts, float32 `[batch, length]`: 0 where nothing is asked."""
  labels = batch['labels']
  weights = batch['weights'] if 'weights' in batch else jnp.ones(labels.shape)
  return weights.astype(jnp.float32) * batch['mask'][:, None]


def weighted_mean(values: jax.Array, weights: jax.Array) -> tuple[jax.Array, tuple]:
  """Mean of `[batch, length]` values by weights, and the (total, count) behind it."""
  total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
  count = jnp.sum(weights)
  return total / jnp.maximum(count, 1.0), (total, count)
