"""Plots of choosing the right one of several candidates."""

from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def ranks(found: np.ndarray, candidates: int) -> 'dict[str, Figure]':
  """Draws how often the right candidate has each rank.

  Args:
    found: ranks from 1, int `[n]`.
    candidates: number of candidates.

  Returns:
    Title -> figure; empty if there are no ranks.
  """
  if not len(found):
    return {}
  counts = np.bincount(found, minlength=candidates + 1)[1:]
  figure, axes = style.panel(style.HALF, 3.2)
  axes.bar(np.arange(1, candidates + 1), counts / len(found), color=style.BLUE)
  axes.axhline(1 / candidates, **style.DASHED)
  axes.set(xlabel='rank of the right candidate', ylabel='fraction')
  style.subtitle(axes, f'dashed: chance, 1 of {candidates}')
  return {'Ranks of the right candidate': figure}
