"""The type of a metric that is summed on devices, and the mean."""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np


class Metric(Protocol):
  """A NamedTuple of arrays of any shape, each a sum over examples.

  Sums are added over examples, microbatches, devices and batches, so a metric is exact
  however a split is divided. Masked examples add zeros.
  """

  def compute(self) -> Any:
    """Returns the value of the sums: a number, an array, or a dict name -> either.

    It runs on the host, on NumPy arrays, which are float64 if batches were added.
    The result is None if nothing was counted.
    """


class Mean(NamedTuple):
  """A mean over examples, or over other units such as tokens.

  Attributes:
    total: sum of the values, `[...]`.
    count: number of values, or the sum of their weights, `[]` or `[...]`.
  """

  total: jax.Array
  count: jax.Array

  def compute(self) -> Any:
    """Returns the mean, `[...]`; None if nothing was counted."""
    count = np.asarray(self.count, np.float64)
    if not (count > 0).all():
      return None
    return np.asarray(self.total, np.float64) / count
