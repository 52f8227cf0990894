"""Plots of the errors of groups."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Table

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def error_by_group(right: np.ndarray, groups: np.ndarray, names: Sequence[str], *,
                   what: str = 'task') -> 'dict[str, Figure | Table]':
  """Draws the error of each group, and lists it.

  Args:
    right: whether the prediction of each example is right, bool `[n]`.
    groups: index of the group of each example, int `[n]`.
    names: names of the groups.
    what: what a group is, in the singular.

  Returns:
    Title -> figure or table; groups without examples are left out.
  """
  counts = np.bincount(groups, minlength=len(names))
  wrong = np.bincount(groups, ~np.asarray(right, bool), minlength=len(names))
  there = np.flatnonzero(counts)
  if not len(there):
    return {}
  errors = 100 * wrong[there] / counts[there]
  shown = [style.shorten(names[i], 24) for i in there]
  figure, axes = style.panel(style.WIDE, 0.8 + 0.19 * len(there))
  axes.barh(range(len(there)), errors, color=style.BLUE, height=0.7)
  axes.set_yticks(range(len(there)), shown, parse_math=False)
  axes.invert_yaxis()
  axes.axvline(errors.mean(), color=style.ORANGE, linewidth=1.2)
  axes.axvline(5, **style.DASHED)
  axes.set_xlabel('error, %')
  style.subtitle(axes, f'the line: {errors.mean():.1f} %, the mean over the {what}s; '
                 'dashed: 5 %')
  rows = [(name, f'{error:.1f} %', f'{wrong[i]:,.0f} of {counts[i]:,}')
          for name, error, i in zip(shown, errors, there, strict=True)]
  return {f'Error by {what}': figure,
          f'Errors of each {what}': Table((what, 'error', 'wrong'), rows)}
