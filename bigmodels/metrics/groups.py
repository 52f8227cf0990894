"""Metrics of each group of a split."""

from collections.abc import Sequence

import numpy as np

FAILED = 0.05  # Weston et al., 2015: a task with more errors is failed


def error_by_group(right: np.ndarray, groups: np.ndarray, names: Sequence[str]
                   ) -> dict[str, float]:
  """Computes the error of each group, their mean, and how many groups are failed.

  Args:
    right: whether the prediction of each example is right, bool `[n]`.
    groups: index of the group of each example, int `[n]`.
    names: names of the groups.

  Returns:
    `mean_error`, the mean over the groups, whatever their sizes; `failed`, the number
    of groups with an error above 5 %; and `error/NAME`. Groups without examples are
    left out.
  """
  counts = np.bincount(groups, minlength=len(names))
  wrong = np.bincount(groups, ~np.asarray(right, bool), minlength=len(names))
  each = {name: float(wrong[i] / counts[i]) for i, name in enumerate(names)
          if counts[i]}
  if not each:
    return {}
  errors = np.array([*each.values()])
  return {'mean_error': float(errors.mean()), 'failed': int((errors > FAILED).sum()),
          **{f'error/{name}': error for name, error in each.items()}}
