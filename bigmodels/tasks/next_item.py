"""The next item of a user, from those before it."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions.catalog import Catalog
from bigmodels.metrics import Mean
from bigmodels.tasks.ranking import in_chunks, ranker
from bigmodels.tasks.task import Columns, Task, init, masked_mean, zero_masked


def next_item(model, *, catalog: Catalog,
              loss: Literal['binary', 'softmax', 'full_softmax'] = 'binary',
              negatives: int = 1, candidates: int = 100, top: int = 10) -> Task:
  """Predicts what a user gets next; in training, after each item.

  Negatives and evaluations are as in `implicit`.

  Args:
    model: `models.SasRec`, or a module with its methods.
    catalog: the users and items; supplied by the run.
    loss: 'binary' classifies the item and each negative, as in the paper; 'softmax'
      chooses it among them; 'full_softmax' among all items, which trains in fewer
      epochs (Klenitskiy and Vasilev, *Turning dross into gold loss*, 2023) and takes
      memory for a score of each item after each item.
    negatives: number of negatives for each item; not used by 'full_softmax'.
    candidates: number of sampled candidates in an evaluation.
    top: number of items to recommend.

  Raises:
    ValueError: for another loss, or a number out of range.
    UserError: if a user has all items.
  """
  legal = ('binary', 'softmax', 'full_softmax')
  if loss not in legal:
    raise ValueError(f'loss: must be one of {", ".join(legal)}, got {loss!r}')
  if negatives < 1:
    raise ValueError(f'negatives: must be >= 1, got {negatives}')
  ranked = ranker(catalog, candidates=candidates, top=top)
  of_train = catalogs.sampler(catalog, last=0)
  size = len(catalog.items)

  def start(key, batch):
    inputs = batch['inputs']
    return init(model, Columns(('inputs', 'items'), ('segments',)), key, {
      'inputs': inputs, 'items': jnp.zeros((*inputs.shape, 1), jnp.int32),
      'segments': batch['segments']})

  def call(params, method, *args, **options):
    return model.apply({'params': params}, *args, method=method, **options)

  def values_of(params, states, labels, drawn):
    """The loss of each label `[...]` after states `[..., width]`."""
    if loss == 'full_softmax':
      scores = call(params, 'score', states, jnp.arange(size)).astype(jnp.float32)
      return losses.cross_entropy(scores, labels)
    scores = call(params, 'score', states, jnp.concatenate(
      [labels[..., None], drawn], -1)).astype(jnp.float32)
    each = losses.binary_ranking if loss == 'binary' else losses.softmax_ranking
    return each(scores[..., 0], scores[..., 1:])

  def objective(params, model_state, batch, key, train):
    missing = [name for name in ('inputs', 'segments', 'users', 'labels')
               if name not in batch]
    if missing:
      raise ValueError(f'the task needs the column {missing[0]!r}, as of '
                       f'data.Histories; the data has {", ".join(batch)}')
    inputs, segments, users, labels = (zero_masked(batch[name], batch['mask'])
                                       for name in ('inputs', 'segments', 'users',
                                                    'labels'))
    draws, key = jax.random.split(key)
    states = call(params, 'encode', inputs, segments=segments, train=train,
                  rngs={'dropout': key} if train else None)
    if train:
      weights = (segments > 0).astype(jnp.float32)
      drawn = None if loss == 'full_softmax' else of_train.draw(draws, users, negatives)
      values = jnp.where(weights > 0, values_of(params, states, labels, drawn), 0.0)
      total = Mean(values.sum(), weights.sum())
      return total.total / jnp.maximum(total.count, 1.0), (
        model_state, {'loss': total}, {})
    last = jnp.maximum((segments > 0).sum(1) - 1, 0)
    states = jnp.take_along_axis(states, last[:, None, None], 1)[:, 0]
    labels, users = labels[jnp.arange(len(labels)), last], users[:, 0]
    sampled = ranked.sampled(batch, users)
    drawn = sampled[:, np.arange(negatives) % candidates]
    value, total = masked_mean(values_of(params, states, labels, drawn), batch['mask'])
    scores = in_chunks(lambda items: call(
      params, 'score', states, items).astype(jnp.float32), size)
    return value, (model_state, {'loss': total}, {
      **ranked.outputs(scores, batch, users, labels, sampled), 'targets': labels})

  return Task(start, objective, ('inputs', 'segments', 'users', 'seen'),
              ('recommended', 'scores'), summarize=metrics.recommendation,
              plots=partial(plots.recommendation, popularity=ranked.popularity),
              answers=ranked.answers)
