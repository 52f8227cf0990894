"""Calibration of probabilities by one number, the temperature."""

import numpy as np

LARGEST = 100.0  # temperatures from 1/100 to 100 are searched
_TINY = np.finfo(np.float32).tiny


def temperature(labels: np.ndarray, probabilities: np.ndarray,
                weights: np.ndarray | None = None) -> float:
  """Fits the temperature at which probabilities have the smallest log loss.

  Guo et al., *On Calibration of Modern Neural Networks*, 2017. A temperature above 1
  makes all probabilities less sure, and none changes the most likely class.

  Args:
    labels: int `[n]`, of a validation split.
    probabilities: of the classes, `[n, classes]`.
    weights: of the examples, `[n]`; None for 1.

  Returns:
    From 1/100 to 100, to a relative error of 1e-6.
  """
  logits = np.log(np.maximum(np.float64(probabilities), _TINY))
  rows = np.arange(len(labels))
  weights = np.ones(len(labels)) if weights is None else np.float64(weights)

  def slope(inverse):  # of the log loss, by 1 / temperature, in which it is convex
    means = np.sum(_softmax(inverse * logits) * logits, -1)
    return weights @ (means - logits[rows, labels])

  low, high = 1 / LARGEST, LARGEST
  while high > low * (1 + 1e-6):
    middle = np.sqrt(low * high)
    low, high = (low, middle) if slope(middle) > 0 else (middle, high)
  return float(1 / np.sqrt(low * high))


def at_temperature(probabilities: np.ndarray, value: float) -> np.ndarray:
  """Returns the probabilities at a temperature: `[n, classes]` -> the same."""
  return _softmax(np.log(np.maximum(np.float64(probabilities), _TINY)) / value)


def _softmax(logits: np.ndarray) -> np.ndarray:
  powers = np.exp(logits - logits.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)
