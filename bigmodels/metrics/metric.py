"""What a metric is: arrays that add up, and what they come to at the end."""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np


class Metric(Protocol):
  """A NamedTuple of arrays of any shape, each a sum over examples.

  Sums over examples, microbatches, devices and batches add up, so a metric is exact
  however a split is cut; masked examples add zeros. Nothing else needs to be known of
  it but `compute`.
  """

  def compute(self) -> Any:
    """The value of the sums: a number, an array, or a dict of name -> one of these.

    It runs on the host, on NumPy arrays, float64 where many batches were added. None
    where nothing was counted.
    """


class Mean(NamedTuple):
  """A mean over examples, or over whatever is counted.

  Attributes:
    total: sum of the values, `[...]`.
    count: how many there are, or the sum of their weights, `[]` or `[...]`.
  """

  total: jax.Array
  count: jax.Array

  def compute(self) -> Any:
    """The mean, `[...]`; None if nothing was counted."""
    count = np.asarray(self.count, np.float64)
    if not (count > 0).all():
      return None
    return np.asarray(self.total, np.float64) / count
