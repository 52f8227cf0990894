"""Baselines of models of waveforms: what simple predictors need for the same samples.

Both are fitted to training samples, and give every level a probability.
"""

import math
from collections.abc import Sequence

import numpy as np


def unigram_bits(train: Sequence[np.ndarray], test: Sequence[np.ndarray], levels: int
                 ) -> float:
  """Bits per sample of a code that knows only how frequent each level is.

  Args:
    train: sounds to count in, int `[samples]` each, from 0 to `levels - 1`.
    test: sounds to encode.
    levels: number of levels; one is added to each count.
  """
  counts = 1 + np.bincount(np.concatenate([*train]), minlength=levels)
  found = np.bincount(np.concatenate([*test]), minlength=levels)
  bits = np.log2(counts.sum()) - np.log2(counts)
  return float(found @ bits / found.sum())


def linear_prediction_bits(train: Sequence[np.ndarray], test: Sequence[np.ndarray],
                           levels: int, order: int = 16) -> float:
  """Bits per sample of a code that predicts a level from those before.

  The prediction is linear, with coefficients by least squares (Atal and Schroeder,
  *Adaptive predictive coding of speech signals*, 1970, which adapts them). Its rounded
  error is encoded by how frequent it is in training, among the errors that lead to a
  level.

  Args:
    train: sounds to fit to, int `[samples]` each, from 0 to `levels - 1`.
    test: sounds to encode.
    levels: number of levels.
    order: number of levels before; before the beginning they are `levels // 2`.
  """
  square, product = np.zeros((order + 1,) * 2), np.zeros(order + 1)
  for sound in train:
    before = _before(sound, levels, order)
    square += before.T @ before
    product += before.T @ sound
  coefficients = np.linalg.solve(square + 1e-6 * np.eye(order + 1), product)

  def predicted(sound):
    found = np.round(_before(sound, levels, order) @ coefficients)
    return np.clip(found, 0, levels - 1).astype(int)

  errors = np.ones(2 * levels - 1)  # one is added to each count
  for sound in train:
    errors += np.bincount(sound - predicted(sound) + levels - 1,
                          minlength=2 * levels - 1)
  below = np.append(0, np.cumsum(errors))
  total, count = 0.0, 0
  for sound in test:
    first = levels - 1 - predicted(sound)  # of the error that leads to level 0
    total -= np.sum(np.log(errors[first + sound]) - np.log(
      below[first + levels] - below[first]))
    count += len(sound)
  return float(total / count / math.log(2))


def _before(sound: np.ndarray, levels: int, order: int) -> np.ndarray:
  """The `order` levels before each sample, latest last, and 1: `[samples, order + 1]`.
  """
  padded = np.concatenate([np.full(order, levels // 2), sound]).astype(np.float64)
  windows = np.lib.stride_tricks.sliding_window_view(padded[:-1], order)
  return np.concatenate([windows, np.ones((len(sound), 1))], 1)
