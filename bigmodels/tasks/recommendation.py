"""Recommendation from who has what: ratings, or what users choose."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions.catalog import Catalog
from bigmodels.data.readers.users import NONE
from bigmodels.tasks.ranking import in_chunks, ranker
from bigmodels.tasks.task import (
  Columns,
  Task,
  init,
  labels_of,
  masked_mean,
  zero_masked,
)

_COLUMNS = Columns(('users', 'items'), (
  'user_numbers', 'user_categories', 'item_numbers', 'item_categories'))


def ratings(model, *, catalog: Catalog, target_mean, target_std, top: int = 10) -> Task:
  """Predicts what users rate items.

  The model's output is multiplied by `target_std`, and `target_mean` is added. An
  evaluation clips predictions to the scale; beside them stand those of the biases of
  users and items alone, see `catalog.fit_biases`. Items with a rating in training are
  recommended by their predicted ratings.

  Args:
    model: module of `models.recommenders`, users `[batch]` and items `[batch, k]` ->
      `[batch, k]`.
    catalog: the users and items; supplied by the run.
    target_mean: mean of the training ratings, `[1]`; supplied by the run.
    target_std: their standard deviation, `[1]`; supplied by the run.
    top: number of items to recommend.

  Raises:
    ValueError: for a catalog without ratings.
  """
  if catalog.biases is None:
    raise ValueError(
      'ratings: needs data.Interactions with a rating, and no min_rating')
  mean, std = (jnp.asarray(x, jnp.float32).reshape(()) for x in (
    target_mean, target_std))
  biases = {name: jnp.asarray(x) for name, x in catalog.biases.items()}
  low, high = catalog.scale
  ranked = ranker(catalog, top=top, offered=catalog.popularity > 0)

  def clipped(output):
    return jnp.clip(output * std + mean, low, high)

  def objective(params, model_state, batch, key, train):
    users, items, mask = *_pairs(batch), batch['mask']
    output, penalty = _scores(
      model, catalog, params, model_state, users, items[:, None], key, train)
    targets = labels_of(batch).astype(jnp.float32)
    value, total = masked_mean(
      (output[:, 0] - (targets - mean) / std) ** 2 + penalty, mask)
    if train:
      return value, (model_state, {'loss': total}, {})
    of_biases = biases['mean'] + sum(
      jnp.where(numbers >= 0, biases[name][jnp.maximum(numbers, 0)], 0.0)
      for name, numbers in (('users', users), ('items', items)))
    # An evaluation asks for ratings only, and is spared the scores of all items.
    lists = jax.lax.cond(
      jnp.any(batch['items'] == NONE),
      lambda: ranked.recommended(clipped(_all_scores(
        model, catalog, params, model_state, users, key)), batch, users),
      lambda: ranked.nothing(len(users)))
    return value, (model_state, {'loss': total}, {
      'targets': targets[:, None], 'predictions': clipped(output),
      'of_biases': jnp.clip(of_biases, low, high)[:, None], 'asked': batch['items'],
      **lists})

  def summarize(outputs):
    model, biases = (_errors(outputs, name) for name in ('predictions', 'of_biases'))
    return {name: value for metric in model for name, value in (
      (metric, model[metric]), (f'biases_{metric}', biases[metric]))}

  def answers(outputs):
    if (outputs['asked'] != NONE).any():
      return {'prediction': outputs['predictions'][:, 0].tolist()}
    return ranked.answers(outputs)

  return Task(partial(_init, model, catalog), objective, ('users', 'items', 'seen'),
              ('predictions', 'asked', 'recommended', 'scores'), summarize=summarize,
              plots=partial(plots.ratings, popularity=ranked.popularity),
              answers=answers)


def implicit(model, *, catalog: Catalog,
             loss: Literal['binary', 'softmax', 'in_batch'] = 'binary',
             negatives: int = 4, candidates: int = 99, top: int = 10) -> Task:
  """Ranks the items that a user has above those that the user does not have.

  Negatives are drawn in the compiled step, as a function of the run's seed and the
  step, among the items that the user does not have in training. An evaluation ranks
  each item of the split among all items that the user does not have in any split, and
  among `candidates` of these, drawn with replacement. Beside them stands a ranking by
  popularity in training. See `metrics.recommendation`.

  Args:
    model: as of `ratings`.
    catalog: the users and items; supplied by the run.
    loss: 'binary' classifies the item and each negative (He et al., 2017); 'softmax'
      chooses it among them; 'in_batch' among the items of the other rows of a batch
      that the user does not have, corrected by their popularity (see
      `losses.in_batch_softmax`). The last depends on the size of a microbatch and, by
      pmap, of a device's part.
    negatives: number of negatives for each item; not used by 'in_batch'.
    candidates: number of sampled candidates in an evaluation.
    top: number of items to recommend.

  Raises:
    ValueError: for another loss, a number out of range, or a catalog of ratings.
    UserError: if a user has all items.
  """
  legal = ('binary', 'softmax', 'in_batch')
  if loss not in legal:
    raise ValueError(f'loss: must be one of {", ".join(legal)}, got {loss!r}')
  if negatives < 1:
    raise ValueError(f'negatives: must be >= 1, got {negatives}')
  if catalog.biases is not None:
    raise ValueError('implicit: needs data.Interactions without a rating, or with '
                     'min_rating')
  ranked = ranker(catalog, candidates=candidates, top=top)
  of_train = catalogs.sampler(catalog, last=0)
  in_train = catalog.known(0)
  counts = np.maximum(ranked.popularity, 0.5)
  log_q = jnp.asarray(np.log(counts / counts.sum()), jnp.float32)

  def in_batch(params, model_state, users, items, mask, key, train):
    scores, penalty = _scores(
      model, catalog, params, model_state, users, items, key, train)
    others = ~catalogs.has(in_train, users, items) & (mask[None] > 0)
    return losses.in_batch_softmax(scores, log_q[items], others) + penalty

  def objective(params, model_state, batch, key, train):
    users, items = _pairs(batch)
    items, mask = jnp.maximum(items, 0), batch['mask']  # those of predictions are NONE
    draws, key = jax.random.split(key)
    if loss == 'in_batch' and train:
      values = in_batch(params, model_state, users, items, mask, key, train)
      value, total = masked_mean(values, mask)
      return value, (model_state, {'loss': total}, {})
    if train:
      drawn = of_train.draw(draws, users, negatives)
    else:
      sampled = ranked.sampled(batch, users)
      drawn = sampled[:, np.arange(negatives) % candidates]
    scores, penalty = _scores(
      model, catalog, params, model_state, users,
      jnp.concatenate([items[:, None], drawn], 1), key, train)
    each = losses.binary_ranking if loss == 'binary' else losses.softmax_ranking
    value, total = masked_mean(each(scores[:, 0], scores[:, 1:]) + penalty, mask)
    if train:
      return value, (model_state, {'loss': total}, {})
    every = _all_scores(model, catalog, params, model_state, users, key)
    return value, (model_state, {'loss': total}, {
      **ranked.outputs(every, batch, users, items, sampled), 'targets': items})

  return Task(partial(_init, model, catalog), objective, ('users', 'seen'),
              ('recommended', 'scores'), summarize=metrics.recommendation,
              plots=partial(plots.recommendation, popularity=ranked.popularity),
              answers=ranked.answers)


def _pairs(batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
  """Users and items, 0 where masked."""
  for name in ('users', 'items'):
    if name not in batch:
      raise ValueError(f'the task needs the column {name!r}, as of data.Interactions; '
                       f'the data has {", ".join(batch)}')
  return tuple(zero_masked(batch[name], batch['mask']) for name in ('users', 'items'))


def _features(catalog: Catalog, users: jax.Array, items: jax.Array
              ) -> dict[str, jax.Array]:
  """The features of users `[batch]` and items `[batch, k]` or `[k]`."""
  return {name: jnp.asarray(table)[jnp.maximum(
    users if name.startswith('user') else items, 0)]
    for name, table in catalog.features.items()}


def _init(model, catalog: Catalog, key: jax.Array, batch) -> tuple[Any, Any]:
  users, items = _pairs(batch)
  items = items[:, None]
  return init(model, _COLUMNS, key, {
    'users': users, 'items': items, **_features(catalog, users, items)})


def _scores(model, catalog: Catalog, params, model_state, users, items, key, train
            ) -> tuple[jax.Array, jax.Array]:
  """Scores `[batch, k]`, and the penalty of each example `[batch]`, 0 for none."""
  features, (of_users, of_items) = _features(catalog, users, items), catalog.trained
  users = _without(users, of_users)
  if catalog.biases is not None:  # other tasks learn such items, as negatives
    items = _without(items, of_items)
  scores, found = model.apply(
    {'params': params, **model_state}, users, items, **features, train=train,
    rngs={'dropout': key} if train else None, mutable=['losses'])
  zero = jnp.zeros(len(users))
  penalties = jax.tree.leaves(found.get('losses', {})) if train else []
  return scores.astype(jnp.float32), sum(
    (each.astype(jnp.float32) for each in penalties), zero)


def _without(numbers: jax.Array, trained: np.ndarray) -> jax.Array:
  """Numbers of users or items, -1 for those that have nothing in training."""
  return jnp.where(jnp.asarray(trained)[jnp.maximum(numbers, 0)], numbers, -1)


def _all_scores(model, catalog: Catalog, params, model_state, users, key) -> jax.Array:
  """Scores of all items, `[batch, items]`."""
  return in_chunks(lambda items: _scores(
    model, catalog, params, model_state, users, items, key, False)[0],
    len(catalog.items))


def _errors(outputs: dict[str, np.ndarray], name: str) -> dict[str, float]:
  found = metrics.regression({'targets': outputs['targets'],
                              'predictions': outputs[name]})
  if 'mse' not in found:
    return found
  return {'rmse': float(np.sqrt(found['mse'])),
          **{key: value for key, value in found.items() if key != 'mse'}}


