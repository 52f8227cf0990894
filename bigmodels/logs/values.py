"""Logged values: a number, or a list of numbers, such as one for each member of a run.

A metric with one axis is logged as a list in `metrics.jsonl`. Arrays with more axes are
logged as nested lists, and not shown.
"""

from typing import Any

import numpy as np


def members(value: Any) -> np.ndarray | None:
  """Converts a logged value into an array.

  Returns:
    float64 `[]` or `[members]`, NaN for None; None if the value is empty, not numeric,
    or has more axes.
  """
  try:
    array = np.asarray(value, np.float64)
  except (TypeError, ValueError):  # text, or lists of different lengths
    return None
  numeric = not isinstance(value, str | bytes) and array.ndim < 2 and array.size
  return array if numeric else None


def mean(value: Any) -> float | None:
  """Returns the mean of a logged value over members, or None if `members` does."""
  array = members(value)
  return None if array is None else float(array.mean())
