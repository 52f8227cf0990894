"""Metrics of a classifier.

They equal scikit-learn's, which takes seconds for a thousand classes.
"""

import numpy as np

TOP = 5  # classes, of the accuracy of several guesses
BINS = 15  # of the calibration error
_MANY = 10  # fewer classes than that have no top-5 accuracy


def classification(outputs: dict[str, np.ndarray], *,
                   specificity: float | None = None) -> dict[str, float]:
  """Computes the metrics of a split, most of them by scikit-learn's definitions.

  - `accuracy`, `balanced_accuracy` (the mean recall of the classes that have examples),
    `matthews` and `cohen_kappa`, of the predictions.
  - `precision/3`, `recall/3` and `f1/3` of class 3; 0 / 0 is 0. `macro_precision`,
    `macro_recall` and `macro_f1` are averages over the classes that occur among labels
    or predictions.
  - `roc_auc`, the area under the ROC curve, and `average_precision`, a summary of the
    precision-recall curve (PR-AUC), of class 1 of two classes; for more classes, the
    mean of each against the rest.
  - `top5_accuracy`, of ten or more classes: the label is among the five most likely.
  - `log_loss`, in nats, of probabilities clipped at 1.2e-7; and `brier`, the squared
    error of the probability of class 1 of two classes, or the sum over more classes.
  - `sensitivity_at_specificity_0.9`, of two classes, if the specificity is 0.9: the
    largest recall of class 1 where that of class 0 is at least 0.9, over all
    thresholds; see `at_specificity`.
  - `calibration_error`: the expected calibration error, in 15 bins of the confidence
    (Guo et al., *On Calibration of Modern Neural Networks*, 2017).

  Args:
    outputs: `labels` `[n]`, `predictions` `[n]`, `probabilities` `[n, classes]`; and
      `weights` `[n]` if examples are weighted, in every metric.
    specificity: of `sensitivity_at_specificity`, or None for no such metric.

  Returns:
    Name -> number. `roc_auc`, `average_precision` and that are omitted if a class has
    no example, `matthews` and `cohen_kappa` if only one class has examples. If a
    probability is not finite, there are only the metrics of predictions.
  """
  labels, predictions = outputs['labels'], outputs['predictions']
  scores = np.asarray(outputs['probabilities'])
  weights = np.asarray(outputs.get('weights', np.ones(len(labels))), np.float64)
  counted = weights > 0
  if not counted.all():
    labels, predictions, scores, weights = (
      x[counted] for x in (labels, predictions, scores, weights))
  if not len(labels):
    return {}
  classes = scores.shape[-1]
  counts = confusion(labels, predictions, weights, classes)
  true, predicted = counts.sum(1), counts.sum(0)
  result = {'accuracy': float(np.trace(counts) / counts.sum())}
  finite = bool(np.isfinite(scores).all())
  if finite and (true > 0).all():
    columns = np.ascontiguousarray(scores.T)
    given = weights if 'weights' in outputs else None
    ranked = [ranking(columns[c], labels == c, given)
              for c in (range(classes) if classes > 2 else [1])]
    result['roc_auc'], result['average_precision'] = map(
      float, np.mean(ranked, axis=0))
    if specificity is not None and classes == 2:
      result[f'sensitivity_at_specificity_{specificity:g}'] = at_specificity(
        labels, columns[1], specificity, given)[1]
  right = np.diagonal(counts)
  precision, recall, f1 = (
    np.divide(a, b, out=np.zeros(classes), where=b > 0) for a, b in (
      (right, predicted), (right, true), (2 * right, true + predicted)))
  result['balanced_accuracy'] = float(np.mean(recall[true > 0]))
  occurs = (true > 0) | (predicted > 0)
  for name, values in (('f1', f1), ('precision', precision), ('recall', recall)):
    result[f'macro_{name}'] = float(np.mean(values[occurs]))
    result |= {f'{name}/{c}': v for c, v in enumerate(values.tolist())}
  if np.count_nonzero(true) > 1:
    result |= _agreement(counts)
  if finite:
    result |= _probabilistic(labels, predictions, scores, weights)
  return result


def at_threshold(outputs: dict[str, np.ndarray], threshold: float) -> dict[str, float]:
  """Computes metrics of two classes, where class 1 is predicted from a threshold on.

  Args:
    outputs: `labels` `[n]`, `probabilities` `[n, 2]`; and `weights`, see
      `classification`.
    threshold: the smallest probability of class 1 that predicts it.

  Returns:
    Name -> number: `accuracy_at_threshold`, `balanced_accuracy_at_threshold`,
    `matthews_at_threshold`; of class 1 `f1_at_threshold`, `precision_at_threshold` and
    `recall_at_threshold`, the sensitivity; `specificity_at_threshold`, the recall of
    class 0. They are omitted where `classification` omits them.
  """
  found = classification({**outputs, 'predictions': above(
    outputs['probabilities'], threshold)})
  names = {'f1/1': 'f1', 'precision/1': 'precision', 'recall/1': 'recall',
           'recall/0': 'specificity',
           **{name: name for name in ('accuracy', 'balanced_accuracy', 'matthews')}}
  return {f'{new}_at_threshold': found[name] for name, new in names.items()
          if name in found}


def at_specificity(labels: np.ndarray, scores: np.ndarray, specificity: float,
                   weights: np.ndarray | None = None) -> tuple[float, float]:
  """Finds the largest sensitivity at a specificity, over all thresholds.

  Args:
    labels: int `[n]`, 0 or 1; both occur.
    scores: high for class 1, finite, `[n]`.
    specificity: the least recall of class 0.
    weights: weights of the examples, `[n]`; None for 1.

  Returns:
    The threshold, from which on class 1 is predicted, halfway between two scores: of
    those with the largest sensitivity, the one with the largest specificity; and that
    sensitivity, the recall of class 1.
  """
  scores = np.float64(scores)
  weights = np.ones(len(labels)) if weights is None else np.float64(weights)
  order = np.argsort(-scores, kind='stable')
  scores, positive = scores[order], labels[order] == 1
  ends = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # of equal scores
  true, false = (np.append(0.0, np.cumsum(weights[order] * of_class)[ends])
                 for of_class in (positive, ~positive))
  allowed = false <= false[-1] * (1 - specificity) + 1e-12 * false[-1]
  found = int(np.argmax(np.where(allowed, true, -1.0)))  # the first: fewest alarms
  levels = np.append(scores[ends], scores[-1])
  threshold = np.nextafter(levels[0], np.inf) if found == 0 else (
    levels[found - 1] + levels[found]) / 2
  return float(threshold), float(true[found] / true[-1])


def above(probabilities: np.ndarray, threshold: float) -> np.ndarray:
  """Predicts class 1 from a threshold on: `[n, 2]` -> int32 `[n]`."""
  # In float64, as a threshold lies between two float32 that may be neighbours.
  return (np.float64(probabilities[:, 1]) >= threshold).astype(np.int32)


def confusion(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray,
              classes: int) -> np.ndarray:
  """Adds up the weights of each pair of a label and a prediction.

  Args:
    labels, predictions: int `[n]`.
    weights: `[n]`.
    classes: number of classes.

  Returns:
    float64 `[classes, classes]`, rows are labels.
  """
  pairs = labels.astype(np.int64) * classes + predictions
  return np.bincount(pairs, weights, classes**2).reshape(classes, classes)


def ranking(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None
            ) -> tuple[float, float]:
  """Computes the area under the ROC curve, and the average precision, of one class.

  Args:
    scores: finite scores, high for the class, `[n]`.
    positive: whether an example is of the class, bool `[n]`; both kinds occur.
    weights: weights of the examples, `[n]`, > 0; None for 1.
  """
  everyone, every = _sorted(scores, weights)
  wins, hits = _sorted(scores[positive], None if weights is None else weights[positive])
  low, high = (np.searchsorted(everyone, wins, side) for side in ('left', 'right'))
  first, last = (np.searchsorted(wins, wins, side) for side in ('left', 'right'))
  # Of negatives with an equal score, half are in the right order.
  below = (every[low] - hits[first] + every[high] - hits[last]) / 2
  precision = (hits[-1] - hits[first]) / (every[-1] - every[low])
  parts = np.diff(hits) / hits[-1]
  return parts @ below / (every[-1] - hits[-1]), parts @ precision


def _sorted(scores: np.ndarray, weights: np.ndarray | None
            ) -> tuple[np.ndarray, np.ndarray]:
  """Sorted scores `[n]`, and the weight of the first 0, 1, ... of them, `[n + 1]`."""
  if weights is None:
    return np.sort(scores), np.arange(len(scores) + 1.0)
  order = np.argsort(scores)
  return scores[order], np.append(0.0, np.cumsum(weights[order]))


def _agreement(counts: np.ndarray) -> dict[str, float]:
  """Matthews' correlation and Cohen's kappa of a confusion matrix."""
  counts = counts / counts.sum()
  true, predicted, right = counts.sum(1), counts.sum(0), np.trace(counts)
  chance = true @ predicted
  spread = (1 - true @ true) * (1 - predicted @ predicted)
  # 0 if there is one prediction for all, as in scikit-learn.
  constant = np.count_nonzero(predicted) == 1
  return {'matthews': 0.0 if constant else float((right - chance) / np.sqrt(spread)),
          'cohen_kappa': float((right - chance) / (1 - chance))}


def _probabilistic(labels, predictions, scores, weights) -> dict[str, float]:
  """Metrics of probabilities that are finite."""
  rows, classes = np.arange(len(labels)), scores.shape[-1]
  of_label = scores[rows, labels]
  result = {}

  def mean(values):
    return float(np.average(values, weights=weights))

  if classes >= _MANY:
    # Ties are broken as in predictions: by the lower class.
    before = (scores > of_label[:, None]).sum(1)
    tied = scores == of_label[:, None]
    before += np.where(tied.sum(1) > 1, (np.cumsum(tied, 1)[rows, labels] - 1), 0)
    result[f'top{TOP}_accuracy'] = mean(before < TOP)
  least = np.finfo(np.float32).eps  # as scikit-learn for float32
  result['log_loss'] = mean(-np.log(np.clip(of_label.astype(np.float64), least,
                                            1 - least)))
  squares = np.einsum('nc,nc->n', scores, scores, dtype=np.float64)
  brier = mean(squares - 2 * of_label.astype(np.float64) + 1)
  result['brier'] = brier / 2 if classes == 2 else brier
  confidence = scores[rows, predictions].astype(np.float64)
  edge = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
  gaps = np.bincount(edge, weights * ((labels == predictions) - confidence))
  result['calibration_error'] = float(np.abs(gaps).sum() / weights.sum())
  return result
