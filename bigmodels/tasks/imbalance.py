"""Classes of unequal size: their weights, and the threshold between two of them."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from bigmodels import metrics
from bigmodels.core.errors import UserError, nearest
from bigmodels.core.from_run import FROM_RUN
from bigmodels.tasks.task import Threshold

# What a threshold may maximize; the sensitivity, at a specificity.
THRESHOLD_METRICS = ('f1', 'balanced_accuracy', 'matthews', 'sensitivity')


def class_weights(setting: str | Mapping[str | int, float] | None,
                  class_counts: Callable[[], Mapping[str, float]]
                  ) -> np.ndarray | None:
  """The weight of each class, float32 `[classes]`; None without a setting.

  Args:
    setting, class_counts: see `tasks.classification`. 'balanced' is scikit-learn's
      `compute_class_weight`; a class without training examples has weight 0.

  Raises:
    UserError: for a class that the data does not have, a weight out of range, or no
      class with examples and a weight above 0.
  """
  if setting is None:
    return None
  if setting != 'balanced' and not isinstance(setting, Mapping):
    raise UserError("class_weights: must be 'balanced' or a map of class names to "
                    f'weights, got {setting!r}')
  if class_counts is FROM_RUN:
    raise UserError('class_weights: need class_counts, () -> class name -> training '
                    'examples, where no run supplies it')
  found = class_counts()
  counts = np.array([*found.values()], np.float64)
  if setting == 'balanced':
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)
  weights = dict.fromkeys(found, 1.0)
  for name, weight in setting.items():
    if str(name) not in weights:
      raise UserError(f'class_weights: no class {str(name)!r}'
                      f'{nearest(str(name), weights)}')
    if not isinstance(weight, int | float) or not 0 <= weight < np.inf:
      raise UserError(f'class_weights: the weight of {str(name)!r} must be finite and '
                      f'>= 0, got {weight!r}')
    weights[str(name)] = weight
  result = np.array([*weights.values()], np.float32)
  if not (result[counts > 0] > 0).any():
    raise UserError('class_weights: no class with training examples has a weight > 0')
  return result


def threshold(setting: str | float | None, specificity: float | None = None
              ) -> Threshold | None:
  """The decision between two classes; None without a setting.

  Args:
    setting, specificity: see `tasks.classification`.

  Raises:
    ValueError: for a setting that is neither one of `THRESHOLD_METRICS` nor between 0
      and 1; or a specificity that is not between 0 and 1, or missing.
  """
  if specificity is not None and not 0 < specificity < 1:
    raise ValueError(f'specificity: must be between 0 and 1, got {specificity}')
  if setting is None:
    return None
  if isinstance(setting, str) and setting not in THRESHOLD_METRICS:
    raise ValueError(f'threshold: cannot be chosen by {setting!r}; must be one of '
                     f'{", ".join(THRESHOLD_METRICS)}, or a number between 0 and 1')
  if not isinstance(setting, str) and not 0 < setting < 1:
    raise ValueError(f'threshold: must be between 0 and 1, got {setting}')
  if setting == 'sensitivity' and specificity is None:
    raise ValueError("threshold='sensitivity': is the largest at a specificity: set "
                     'it too, such as specificity=0.9')

  def decide(outputs, value):
    return metrics.above(outputs['probabilities'], value)

  return Threshold(
    setting, partial(best_threshold, by=setting, specificity=specificity), decide,
    metrics.at_threshold)


def best_threshold(outputs: Mapping[str, np.ndarray], *, by: str,
                   specificity: float | None = None) -> tuple[float, float] | None:
  """The threshold of class 1 at which a metric is largest.

  Every threshold that changes a prediction is compared. The result is halfway between
  two probabilities of the split; of equally good ones, the nearest to 0.5.

  Args:
    outputs: of a split: `labels` `[n]`, `probabilities` `[n, 2]`; and `weights` `[n]`
      if examples are weighted.
    by: one of `THRESHOLD_METRICS`.
    specificity: the least of it, for 'sensitivity'; see `metrics.at_specificity`.

  Returns:
    The threshold, and the metric there; None unless both classes have examples.
  """
  weights = np.asarray(outputs.get('weights', 1.0), np.float64)
  scores = outputs['probabilities'][:, 1].astype(np.float64)
  weights = np.broadcast_to(weights, scores.shape)
  order = np.argsort(-scores, kind='stable')
  scores, weights = scores[order], weights[order]
  positive = weights * (outputs['labels'][order] == 1)
  last = np.append(scores[1:] < scores[:-1], True)  # of equal scores
  true = np.cumsum(positive)[last]
  false = np.cumsum(weights - positive)[last]
  positives, negatives = true[-1], false[-1]
  if not positives or not negatives or not np.isfinite(scores).all():
    return None
  if by == 'sensitivity':
    return metrics.at_specificity(
      outputs['labels'][order], scores, specificity, weights)
  levels = scores[last]
  between = (levels + np.append(levels[1:], 0.0)) / 2
  if by == 'f1':
    values = 2 * true / (true + false + positives)
  elif by == 'balanced_accuracy':
    values = (true / positives + 1 - false / negatives) / 2
  else:
    total, predicted = positives + negatives, true + false
    spread = predicted * (total - predicted) * positives * negatives
    values = np.divide(true * total - predicted * positives, np.sqrt(spread),
                       out=np.zeros(len(true)), where=spread > 0)
  best = np.flatnonzero(values >= values.max() - 1e-12)
  chosen = best[np.argmin(np.abs(between[best] - 0.5))]
  return float(between[chosen]), float(values[chosen])
