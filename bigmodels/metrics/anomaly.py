"""Metrics of scores that should be high for anomalies."""

import numpy as np

from bigmodels.metrics.classification import ranking


def anomaly(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes how well scores rank anomalies, by scikit-learn's definitions.

  - `roc_auc`, the area under the ROC curve: the probability that an anomaly has a
    higher score than another example.
  - `average_precision`, a summary of the precision-recall curve (PR-AUC); scores at
    random have the fraction of anomalies.

  Args:
    outputs: `scores` `[n]`; `labels` `[n]`, 1 for anomalies and 0 for others, if known;
      and `weights` `[n]` if examples are weighted.

  Returns:
    Name -> number; empty without labels, without examples of both kinds, or if a score
    is not finite.
  """
  if 'labels' not in outputs:
    return {}
  scores, positive = outputs['scores'], outputs['labels'] == 1
  weights = outputs.get('weights')
  if weights is not None:
    counted = weights > 0
    scores, positive, weights = (x[counted] for x in (scores, positive, weights))
    weights = weights.astype(np.float64)
  if not positive.any() or positive.all() or not np.isfinite(scores).all():
    return {}
  area, precision = ranking(scores, positive, weights)
  return {'roc_auc': float(area), 'average_precision': float(precision)}


def flagged(outputs: dict[str, np.ndarray], threshold: float) -> dict[str, float]:
  """Computes what a threshold flags: the examples whose score is at least that.

  Args:
    outputs: `scores` `[n]`, and the others of `anomaly`.
    threshold: the smallest score that is flagged.

  Returns:
    `flagged`, the fraction of examples; and with labels of both kinds
    `precision_at_threshold`, `recall_at_threshold` and `f1_at_threshold` of anomalies,
    where 0 / 0 is 0.
  """
  found = np.float64(outputs['scores']) >= threshold
  weights = np.asarray(outputs.get('weights', np.ones(len(found))), np.float64)
  if not weights.any():
    return {}
  result = {'flagged': float(np.average(found, weights=weights))}
  if not anomaly(outputs):
    return result
  positive = outputs['labels'] == 1
  hits = weights @ (found & positive)
  alarms, anomalies = weights @ found, weights @ positive
  return result | {
    'precision_at_threshold': float(hits / alarms) if alarms else 0.0,
    'recall_at_threshold': float(hits / anomalies),
    'f1_at_threshold': float(2 * hits / (alarms + anomalies))}
