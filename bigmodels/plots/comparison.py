"""Plots of sets of runs, and of the differences of their means."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHORTEST, _ROW = 1.1, 0.42  # inches


def runs(names: Sequence[str], values: Sequence[Sequence[float]], metric: str,
         pairs: bool) -> 'Figure':
  """Draws a metric of each run, and the mean of each set.

  Args:
    names: of the sets.
    values: of the runs of each set.
    metric: its name.
    pairs: whether runs at the same place in all sets belong together; they are joined
      by lines.
  """
  figure, axes = style.panel(style.FULL, _SHORTEST + _ROW * len(names))
  if pairs:
    for each in zip(*values, strict=True):
      axes.plot(each, range(len(names)), color=style.GREY, linewidth=0.6, zorder=1)
  for index, each in enumerate(values):
    color = style.ORANGE if index else style.BLUE
    axes.plot(each, [index] * len(each), 'o', color=color, alpha=0.6, markersize=5,
              markeredgewidth=0)
    axes.plot([sum(each) / len(each)], [index], '|', color=color, markersize=20,
              markeredgewidth=2.2)
  _label(axes, names)
  axes.set_xlabel(f'{metric} of each run; the mean is a bar', parse_math=False)
  return figure


def differences(names: Sequence[str], means: Sequence[float],
                intervals: Sequence[tuple[float, float] | None], metric: str
                ) -> 'Figure':
  """Draws differences with their intervals, beside none.

  Args:
    names: of what is compared.
    means: of the differences.
    intervals: of the means; None for one that has none.
    metric: its name.
  """
  figure, axes = style.panel(style.FULL, _SHORTEST + _ROW * len(names))
  axes.axvline(0, **style.DASHED)
  for index, (mean, interval) in enumerate(zip(means, intervals, strict=True)):
    if interval:
      axes.plot(interval, [index] * 2, color=style.BLUE, linewidth=2)
    axes.plot([mean], [index], 'o', color=style.BLUE, markersize=6)
  _label(axes, names)
  axes.set_xlabel(f'difference of the means of {metric}', parse_math=False)
  return figure


def _label(axes, names):
  axes.set_yticks(range(len(names)), [*names], parse_math=False)
  axes.set_ylim(len(names) - 0.4, -0.6)
