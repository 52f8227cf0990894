"""Metrics of a regression."""

import warnings

import numpy as np


def regression(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes MSE, MAE and R2, in the units of the targets.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`.

  Returns:
    Name -> number. R2 is left out if a target is constant, as scikit-learn's 0 or 1
    depends on nothing that was predicted. MSE and MAE are NaN, and R2 is left out, if
    any value is not finite.

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
    return {'mse': float('nan'), 'mae': float('nan')}
  result = {
    'mse': float(metrics.mean_squared_error(targets, predictions)),
    'mae': float(metrics.mean_absolute_error(targets, predictions)),
  }
  # Not the variance: rounding can make that of a constant nonzero.
  if np.all(np.ptp(targets, axis=0) > 0):
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      result['r2'] = float(metrics.r2_score(targets, predictions))
  return result
