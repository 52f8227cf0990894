"""Embeddings: vectors that are near each other for examples of one identity."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core import whole_batch
from bigmodels.core.errors import UserError
from bigmodels.core.from_run import FROM_RUN
from bigmodels.core.vectors import products, unit_length
from bigmodels.tasks.task import (
  Columns,
  Split,
  Task,
  Threshold,
  apply,
  init,
  labels_of,
  masked_mean,
)

_IDENTITIES = 'identities'  # a collection of the model state


def embedding(model, loss: Callable = losses.triplet, *,
              threshold: float | None = None, nearest: int = 5, rate: float = 0.2,
              test_time: Callable | None = None, training: Any = FROM_RUN) -> Task:
  """Learns embeddings of identities, such as people, also of those not seen.

  The loss compares an example with the others of the whole batch: over all devices,
  also with pmap, but within a microbatch. `data.PerClass` composes batches that have
  several examples of each identity. In an evaluation, whose identities may be others,
  the examples of a batch are compared alike; a loss with prototypes has no value there.

  The metrics of an evaluation are those of pairs of examples, see `data.Pairs` and
  `metrics.verification`. The threshold of similarity from which on two examples are of
  one identity is chosen on a validation split after training, by accuracy.

  The task keeps the mean embedding of each identity in training, a moving average over
  the batches that have it. Its product with an embedding is the mean cosine with the
  examples of that identity; the identities with the highest are the nearest.

  Args:
    model: Linen module, `[batch, ...]` -> `[batch, width]`, of any length; or with
      prototypes, such as `models.WithPrototypes`.
    loss: (embeddings of length 1 `[batch, width]`, labels, mask, and prototypes
      `[classes, width]` if the model has them) -> losses `[batch]`, which of them count
      `[batch]`; see `losses.metric_learning`.
    threshold: a similarity, > -1 and < 1, in place of the one that is chosen.
    nearest: number of nearest identities that are predicted.
    rate: of the moving averages, > 0 and <= 1: the weight of the latest batch.
    test_time: test-time augmentation, `inputs` `[batch, ...]` -> pairs of a weight and
      a view, such as `data.test_time.mirrored`: an embedding is then the mean over the
      views, of length 1. None for none.
    training: the opened training split; supplied by the run.

  Raises:
    ValueError: for a setting out of range.
    UserError: for training data without classes.
  """
  if threshold is not None and not -1 < threshold < 1:
    raise ValueError(f'threshold: must be > -1 and < 1, or None, got {threshold}')
  if nearest < 1:
    raise ValueError(f'nearest: must be >= 1, got {nearest}')
  if not 0 < rate <= 1:
    raise ValueError(f'rate: must be > 0 and <= 1, got {rate}')
  if getattr(training, 'classes', None) is None:
    raise UserError('embedding needs training data with classes, the identities')
  columns, names = Columns(), training.classes

  def made(key, batch):
    params, state = init(model, columns, key, batch)
    output = jax.eval_shape(lambda: model.apply(
      {'params': params, **state}, *columns.of(batch)[0], train=False))
    width = (output[0] if isinstance(output, tuple) else output).shape[-1]
    return params, {**state, _IDENTITIES: jnp.zeros((len(names), width))}

  def embedded(params, state, batch, key, train):
    output, state = apply(
      model, columns, params, state, batch, key=key, train=train)
    vectors, *prototypes = output if isinstance(output, tuple) else (output,)
    if vectors.ndim != 2:
      raise ValueError(f'embedding needs vectors [batch, width], the model gives '
                       f'{vectors.shape}')
    return unit_length(vectors), prototypes, state

  def views_of(params, state, batch, key):
    found = [(weight, embedded(params, state, {**batch, 'inputs': view}, key, False))
             for weight, view in test_time(batch['inputs'])]
    mean = sum(weight * vectors for weight, (vectors, *_) in found)
    return unit_length(mean), *found[0][1][1:]

  def objective(params, model_state, batch, key, train):
    state = {name: x for name, x in model_state.items() if name != _IDENTITIES}
    vectors, prototypes, state = views_of(params, state, batch, key) if (
      test_time is not None and not train) else embedded(
        params, state, batch, key, train)
    mask, means = batch['mask'], model_state[_IDENTITIES]
    found, outputs = {'loss': metrics.Mean(jnp.zeros(()), jnp.zeros(()))}, {}
    value = found['loss'].total
    if 'labels' in batch and (train or not prototypes):
      whole = whole_batch.gathered((vectors, labels_of(batch), mask))
      values, counted = whole_batch.own(loss(*whole, *prototypes))
      value, found['loss'] = masked_mean(values, counted)
      if train:
        _, found['active'] = masked_mean((values > 0).astype(jnp.float32), counted)
        means = _updated(means, *whole, rate=rate)
    if not train:
      similar = jnp.where((means != 0).any(1), products(vectors, means), -jnp.inf)
      similarities, which = jax.lax.top_k(similar, min(nearest, len(names)))
      outputs = {'embeddings': vectors, 'nearest': which, 'similarities': similarities,
                 **{name: batch[name] for name in ('labels', 'partners', 'row')
                    if name in batch}}
    return value, ({**state, _IDENTITIES: means}, found, outputs)

  return Task(
    made, objective, columns.names, ('embeddings', 'nearest', 'similarities'), _check,
    metrics.verification, _draw, threshold=Threshold(
      'accuracy' if threshold is None else threshold, metrics.best_similarity, _decide,
      metrics.verified, otherwise='every example is taken for the nearest identity'),
    answers=partial(_answers, names=names))


def _updated(means: jax.Array, vectors: jax.Array, labels: jax.Array, mask: jax.Array,
             *, rate: float) -> jax.Array:
  """The moving averages `[classes, width]` after a batch; the first one is its mean."""
  vectors, kept = jax.lax.stop_gradient(vectors), (mask > 0).astype(jnp.float32)
  totals = jnp.zeros_like(means).at[labels].add(kept[:, None] * vectors)
  counts = jnp.zeros(len(means)).at[labels].add(kept)[:, None]
  step = jnp.where((means != 0).any(1, keepdims=True), rate, 1.0)
  latest = totals / jnp.maximum(counts, 1.0)
  return jnp.where(counts > 0, means + step * (latest - means), means)


def _decide(outputs: Mapping[str, np.ndarray], threshold: float) -> np.ndarray:
  """The nearest identity, int `[n]`; -1 if its similarity is below the threshold."""
  near = outputs['similarities'][:, 0] >= threshold
  return np.where(near, outputs['nearest'][:, 0], -1)


def _answers(outputs: Mapping[str, np.ndarray], *, names: tuple[str, ...]
             ) -> dict[str, Any]:
  """`identity`, unless it is unknown; the nearest ones; and the embedding.

  An identity that no batch of training has had is not near: there is none then.
  """
  nearest, similarities = outputs['nearest'], outputs['similarities']
  there = np.isfinite(similarities)
  predictions = outputs.get('predictions', np.where(there[:, 0], nearest[:, 0], -1))
  found: dict[str, Any] = {'identity': [
    names[number] if number >= 0 else None for number in predictions.tolist()]}
  for place in range(nearest.shape[1]):
    found[f'nearest_{place + 1}'] = [names[i] if known else None for i, known in zip(
      nearest[:, place].tolist(), there[:, place].tolist(), strict=True)]
    found[f'similarity_{place + 1}'] = np.ma.masked_array(
      similarities[:, place], ~there[:, place])
  return {**found, 'embedding': outputs['embeddings']}


def _draw(outputs: Mapping[str, np.ndarray], inputs: plots.Inputs, classes: Any, *,
          threshold: float | None = None) -> dict[str, Any]:
  del classes  # of training: an evaluation may have other identities
  return plots.verification(outputs, inputs, metrics.pairs(outputs),
                            threshold=threshold)


def _check(split: Split) -> None:
  """Refuses training labels that are no classes, and evaluations that are.

  Raises:
    UserError: also for an evaluation without labels.
  """
  if split.name == 'train' and split.labels is not None and split.labels.ndim != 1:
    raise UserError('train: embedding needs labels [batch] that are classes, got '
                    f'{split.labels.shape}')
  if split.outputs and 'labels' not in split.outputs:
    raise UserError(f'{split.name}: has no labels, by which examples are of one '
                    'identity')
  if split.outputs and 'partners' not in split.outputs:
    split.say(f'{split.name}: has no pairs, see data.Pairs: there is no ROC AUC, and '
              'no threshold can be chosen on it')
