"""Metrics of a regression."""

import functools

import numpy as np


def regression(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes R2, MAE and MSE, in the units of the targets.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`; and `weights` `[n]` if
      examples are weighted, in every metric.

  Returns:
    Name -> number. R2 is omitted if a target is constant, as scikit-learn's value of 0
    or 1 would not depend on the predictions. If any value is not finite, R2 is omitted,
    and MAE and MSE are NaN.

  Raises:
    ValueError: if the two shapes differ.
  """
  targets = outputs['targets'].astype(np.float64)
  predictions = outputs['predictions'].astype(np.float64)
  if targets.shape != predictions.shape:  # they would be broadcast
    raise ValueError(f'regression: targets are {targets.shape}, predictions '
                     f'{predictions.shape}')
  if not (np.all(np.isfinite(targets)) and np.all(np.isfinite(predictions))):
    return {'mae': float('nan'), 'mse': float('nan')}
  weights = np.ones(len(targets)) if outputs.get('weights') is None else (
    np.asarray(outputs['weights'], np.float64))
  counted = weights > 0
  targets, predictions, weights = (x[counted] for x in (targets, predictions, weights))
  if not len(targets):
    return {}
  result, errors = {}, predictions - targets
  mean = functools.partial(np.average, axis=0, weights=weights)
  # Not the variance, which rounding can make nonzero for a constant.
  if np.all(np.ptp(targets, axis=0) > 0):
    spread = mean((targets - mean(targets)) ** 2)
    result['r2'] = float(np.mean(1 - mean(errors ** 2) / spread))
  result['mae'] = float(np.mean(mean(np.abs(errors))))
  result['mse'] = float(np.mean(mean(errors ** 2)))
  return result
