"""Plots of retrieval."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def recalls(ranks: Mapping[str, np.ndarray], candidates: int) -> 'dict[str, Figure]':
  """Draws the fraction of right ones among the k nearest, against k.

  Args:
    ranks: name of a direction -> the rank of each right one, from 1, int `[n]`.
    candidates: number of images, at which the axis ends.

  Returns:
    Title -> figure; empty if there are no ranks.
  """
  if candidates < 2 or not all(len(found) for found in ranks.values()):
    return {}
  figure, axes = style.panel(style.HALF, 3.2)
  at = np.unique(np.geomspace(1, candidates, 100).round().astype(int))
  for (name, found), color in zip(ranks.items(), (style.BLUE, style.ORANGE),
                                  strict=False):
    axes.plot(at, [(found <= k).mean() for k in at], color=color, label=name)
  axes.plot(at, at / candidates, **style.DASHED)
  axes.set(xlabel='k', ylabel='R@k', xscale='log', ylim=(0, 1))
  axes.legend(fontsize=8, frameon=False, loc='upper left')
  style.subtitle(axes, 'dashed: images in random order')
  return {'Recall among the k nearest': figure}
