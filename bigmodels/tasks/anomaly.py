"""Anomaly detection: a score of how unusual an example is, learned without labels."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import metrics, plots
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.core.from_run import FROM_RUN
from bigmodels.tasks.task import (
  Columns,
  Split,
  Task,
  Threshold,
  apply,
  check_weights,
  example_weights,
  init,
  masked_mean,
)

TOP = 3  # values of an input that are named for each example


def anomaly(model, *, contamination: float | None = None,
            normal: str | Sequence[str] | None = None,
            inputs: tuple[str, ...] = ('inputs',),
            class_counts: Callable[[], Mapping[str, float]] = FROM_RUN) -> Task:
  """Scores how unusual examples are; a high score is an anomaly.

  The loss is the mean score, so that examples such as most others get low ones. Labels,
  if the data has them, are used in evaluations only, never in training. A column
  `weights` of the batch, float `[batch]`, weighs the examples in the loss and in all
  metrics.

  An evaluation also gives the `TOP` values of each input that contribute most to its
  score: those with the largest product of the value and the score's gradient by it,
  which is to first order what the score would lose if the value were 0, the centre of
  standardized inputs.

  Args:
    model: Linen module, `[batch, ...]` -> scores `[batch]`, >= 0.
    contamination: the expected fraction of anomalies, > 0 and <= 0.5. A finished run
      flags every example whose score is at least that of as many examples of a
      validation split; or of training rows, in a run without one. None flags none.
    normal: the class, or classes, of labels that are no anomalies; all others are. None
      for labels of two classes of which the second is the anomaly.
    inputs: columns that the model is called with, in this order.
    class_counts: () -> class name -> its training examples; only for `normal`.

  Raises:
    ValueError: for a contamination out of range.
    UserError: for a normal class that the data does not have.
  """
  if contamination is not None and not 0 < contamination <= 0.5:
    raise ValueError(f'contamination: must be > 0 and <= 0.5, got {contamination}')
  columns = Columns(inputs)
  known = _normal_classes(normal, class_counts)

  def score(params, model_state, batch, key, train):
    scores, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    if scores.shape != batch['mask'].shape:
      raise ValueError(f'anomaly needs a score for each example, '
                       f'{batch["mask"].shape}, the model gives {scores.shape}')
    return scores.astype(jnp.float32), model_state

  def objective(params, model_state, batch, key, train):
    weights = example_weights(batch, columns)
    scores, model_state = score(params, model_state, batch, key, train)
    value, mean = masked_mean(scores, weights)
    outputs = {'scores': scores}
    if not train:
      outputs |= contributions(params, model_state, batch, key)
      if weights is not batch['mask']:
        outputs['weights'] = weights
      if 'labels' in batch:
        outputs['labels'] = _anomalies(batch['labels'], known)
    return value, (model_state, {'loss': mean}, outputs)

  def contributions(params, model_state, batch, key):
    name = columns.arguments[0]
    values = batch[name].astype(jnp.float32)

    def total(values):
      scores, _ = score(params, model_state, {**batch, name: values}, key, False)
      return jnp.sum(jnp.where(batch['mask'] > 0, scores, 0.0))

    parts = jnp.maximum(jax.grad(total)(values) * values, 0.0)
    parts = parts.reshape(len(parts), -1)
    largest, which = jax.lax.top_k(parts, min(TOP, parts.shape[-1]))
    whole = parts.sum(-1, keepdims=True)
    return {'which': which, 'shares': largest / jnp.where(whole > 0, whole, 1.0)}

  return Task(
    partial(init, model, columns), objective, columns.names, ('scores',),
    partial(_check, known=known), metrics.anomaly, plots.anomaly,
    threshold=None if contamination is None else _threshold(contamination),
    answers=_answers)


def _normal_classes(normal: str | Sequence[str] | None,
                    class_counts: Callable[[], Mapping[str, float]]
                    ) -> np.ndarray | None:
  """Whether each class is normal, bool `[classes]`; None without a setting."""
  if normal is None:
    return None
  if class_counts is FROM_RUN:
    raise UserError('normal: needs class_counts, () -> class name -> training '
                    'examples, where no run supplies it')
  names = [*class_counts()]
  chosen = [normal] if isinstance(normal, str) else [*map(str, normal)]
  for name in chosen:
    if name not in names:
      raise UserError(f'normal: no class {name!r}{nearest(name, names)}')
  if not 0 < len({*chosen}) < len(names):
    raise UserError(f'normal: must be some of the {len(names)} classes, got '
                    f'{listed(chosen)}')
  return np.isin(names, chosen)


def _anomalies(labels: jax.Array, known: np.ndarray | None) -> jax.Array:
  """1 for anomalies and 0 for others, int32 `[batch]`."""
  if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
    raise ValueError('anomaly needs labels [batch] that are classes, got '
                     f'{labels.dtype} {labels.shape}')
  if known is None:
    return (labels == 1).astype(jnp.int32)
  return 1 - jnp.take(jnp.asarray(known, jnp.int32), labels)


def _threshold(contamination: float) -> Threshold:

  def decide(outputs, value):
    return (np.float64(outputs['scores']) >= value).astype(np.int32)

  return Threshold(
    'contamination', partial(highest, fraction=contamination), decide, metrics.flagged,
    labelled=False, otherwise='nothing is flagged')


def highest(outputs: Mapping[str, np.ndarray], *, fraction: float
            ) -> tuple[float, float] | None:
  """The threshold that a fraction of the examples reaches, at least one of them.

  Args:
    outputs: of a split: `scores` `[n]`.
    fraction: of the examples, > 0 and < 1.

  Returns:
    The threshold, halfway between two scores unless these are equal, and the fraction
    that reaches it; None if a score is not finite.
  """
  scores = np.sort(np.float64(outputs['scores']))[::-1]
  if not np.isfinite(scores).all():
    return None
  count = max(1, round(fraction * len(scores)))
  value = float(scores[count - 1 : count + 1].mean())
  return value, float(np.mean(scores >= value))


def _answers(outputs: Mapping[str, np.ndarray]) -> dict[str, list]:
  found = {'score': outputs['scores'].tolist()}
  if 'predictions' in outputs:
    found['flagged'] = outputs['predictions'].astype(bool).tolist()
  return found


def _check(split: Split, known: np.ndarray | None) -> None:
  """Prints which labels are anomalies; refuses labels that do not say it.

  Raises:
    UserError: also for weights that cannot be used.
  """
  check_weights(split)
  if split.classes is None:
    if split.labels is not None:
      raise UserError(f'{split.name}: labels are numbers, must be classes, of which '
                      'one is the anomaly; or leave them out')
    return
  if known is None and len(split.classes) != 2:
    raise UserError(
      f'{split.name}: the labels have {len(split.classes):,} classes, '
      f'{listed(split.classes)}: which are no anomalies? --config.task.normal=CLASS, '
      'or a tuple of several; all others are anomalies')
  of_class = np.array([False, True]) if known is None else ~known
  names = [name for name, is_anomaly in zip(split.classes, of_class, strict=True)
           if is_anomaly]
  if split.labels is None:
    return
  count = int(of_class[split.labels].sum())
  said = f'{count:,} of {split.length:,} examples are anomalies ({listed(names)})'
  if known is None and split.name.startswith('train') and 2 * count > split.length:
    raise UserError(f'{split.name}: {said}, more than half: are they not the normal '
                    f'ones? --config.task.normal={names[0]} says so')
  split.say(f'{split.name}: {said}, for evaluations only' + (
    '' if 0 < count < split.length else
    '; ROC AUC and average precision have no value there'))
