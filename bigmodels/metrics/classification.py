"""Metrics of a classifier."""

import numpy as np


def classification(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes accuracy, precision, recall, F1 (each class and macro) and ROC AUC.

  Args:
    outputs: `labels` `[n]`, `predictions` `[n]`, `probabilities` `[n, classes]`.

  Returns:
    Name -> number; `f1/3` is the F1 of class 3. Macro averages are over the classes
    that occur among labels or predictions; other classes have 0, as has 0 / 0. AUC of
    more than two classes is the one-vs-rest mean; it is omitted if a class has no
    example.
  """
  from sklearn import metrics

  labels, predictions = outputs['labels'], outputs['predictions']
  scores = outputs['probabilities'].astype(np.float64)
  classes = np.arange(scores.shape[-1])
  result = {'accuracy': float(np.mean(labels == predictions))}
  if len(np.unique(labels)) == len(classes) and np.all(np.isfinite(scores)):
    # Equals `multi_class='ovr'`, which refuses float32 rows that add up to 1 only up
    # to rounding; normalizing them again would break ties.
    ones = classes if len(classes) > 2 else [1]
    result['auc'] = float(np.mean([
      metrics.roc_auc_score(labels == c, scores[:, c]) for c in ones]))
  precision, recall, f1, _ = metrics.precision_recall_fscore_support(
    labels, predictions, labels=classes, zero_division=0)
  occurs = np.isin(classes, labels) | np.isin(classes, predictions)
  for name, values in (('f1', f1), ('precision', precision), ('recall', recall)):
    result[name] = float(np.mean(values[occurs]))
    result |= {f'{name}/{c}': float(v) for c, v in zip(classes, values, strict=True)}
  return result
