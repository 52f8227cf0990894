"""Curves of a metric over the steps of a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def curve(splits: Mapping[str, tuple[ArrayLike, ArrayLike]],
          colors: Mapping[str, str], *, best: float | None = None,
          width: float = style.HALF) -> 'Figure':
  """Draws one metric over the steps, all splits in one panel.

  Args:
    splits: name -> steps `[n]`, values `[n]` or `[n, members]`, NaN for no value. The
      split 'train' is a thin line; others have a marker at each evaluation. Members are
      thin lines of one colour, and their mean is a thicker line.
    colors: colours of the splits, by name.
    best: step of the best checkpoint, marked with a line.
    width: width of the figure in inches.
  """
  figure, axes = style.panel(width, 0.32 * width + 1.1)
  shown = np.zeros(0)
  for name, (steps, values) in splits.items():
    steps, values = _thin(np.asarray(steps, float), np.asarray(values, float))
    if values.ndim > 1:
      axes.plot(steps, values, color=colors[name], linewidth=0.6, alpha=0.4, zorder=2)
      shown = np.append(shown, values[np.isfinite(values)])
      values = values.mean(1)
    finite = values[np.isfinite(values)]
    shown = np.append(shown, finite)
    train = name == 'train'
    marker = None if train and len(finite) > 1 else 'o'
    axes.plot(steps, values, color=colors[name], marker=marker, markersize=3,
              linewidth=1 if train else 1.5, zorder=2 if train else 3)
  # A linear axis would hide decades; a single spike may be cut off.
  if len(shown) and shown.min() > 0 and np.percentile(shown, 95) > 50 * shown.min():
    axes.set_yscale('log')
  if best is not None:
    axes.axvline(best, color='black', linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
  axes.grid(axis='y', linewidth=0.5)
  axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
  axes.set_xlabel('step')
  return figure


def _thin(steps, values, most=600):
  """Averages sections of a curve that has more points than a screen can show."""
  if len(steps) <= most:
    return steps, values
  groups = np.array_split(np.arange(len(steps)), most)
  return tuple(np.array([a[g].mean(0) for g in groups]) for a in (steps, values))
