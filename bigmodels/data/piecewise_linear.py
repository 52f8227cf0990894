"""Piecewise-linear encoding of the numbers of a table."""

import itertools

import numpy as np

from bigmodels.core.errors import listed
from bigmodels.data.cleaning import Step
from bigmodels.data.frames import is_text, missing


def piecewise_linear(bins: int = 48) -> Step:
  """Replaces a number by its position in each of several bins, 0 below and 1 above it.

  A network then sees steps and bends of an effect that a standardized number hides, and
  a long tail is neither far away nor lost (Gorishniy et al., *On Embeddings for
  Numerical Features in Tabular Deep Learning*, 2022). A number beyond the training rows
  becomes their nearest end. Use it in place of `clip_outliers`, after `fill_missing`.

  The edges of the bins are quantiles of the training rows, and as many of their
  distinct values: where most rows have one value, such as 0, the others have bins too.

  Args:
    bins: maximum number of bins of a column; columns with two values are unchanged.

  Raises:
    ValueError: for fewer than 2 bins.
  """
  if bins < 2:
    raise ValueError(f'bins: must be >= 2, got {bins}')

  def edges(column):
    values = column[~missing(column)]
    distinct = np.unique(values)
    if len(distinct) <= bins + 1:
      return distinct
    at = np.linspace(0, 1, bins // 2 + 1)
    return np.unique([np.quantile(values, at), np.quantile(distinct, at)])

  def fit(train):
    found = {name: edges(column).tolist() for name, column in train.items()
             if not is_text(column)}
    return {name: limits for name, limits in found.items() if len(limits) > 2}

  def apply(parameters, frame):
    result = {}
    for name, column in frame.items():
      if name not in parameters:
        result[name] = column
        continue
      limits = parameters[name]
      for low, high in itertools.pairwise(limits):
        # np.clip keeps NaN, which a later step or the table refuses.
        result[f'{name} {low:.6g} to {high:.6g}'] = np.clip(
          (column - low) / (high - low), 0.0, 1.0)
    return result

  def describe(parameters, before, after):
    return listed(f'{name} as {len(limits) - 1} columns'
                  for name, limits in parameters.items())

  return Step(fit, apply, describe)
