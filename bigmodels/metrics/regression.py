"""Metrics of a regression."""

import warnings

import numpy as np


def regression(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes R2, MAE and MSE, in the units of the targets.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`.

  Returns:
    Name -> number. R2 is left out if a target is constant, where scikit-learn's
    0 or 1 does not depend on the predictions. MAE and MSE are NaN, and R2 is left out,
    if any value is not finite.

  Raises:
    ValueError: if the two shapes differ.
  """
  from sklearn import metrics

  targets = outputs['targets'].astype(np.float64)
  predictions = outputs['predictions'].astype(np.float64)
  if targets.shape != predictions.shape:  # they would be broadcast
    raise ValueError(f'regression: targets are {targets.shape}, predictions '
                     f'{predictions.shape}')
  if not (np.all(np.isfinite(targets)) and np.all(np.isfinite(predictions))):
    return {'mae': float('nan'), 'mse': float('nan')}
  result = {}
  # Not the variance: rounding can make that of a constant nonzero.
  if np.all(np.ptp(targets, axis=0) > 0):
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      result['r2'] = float(metrics.r2_score(targets, predictions))
  result['mae'] = float(metrics.mean_absolute_error(targets, predictions))
  result['mse'] = float(metrics.mean_squared_error(targets, predictions))
  return result
