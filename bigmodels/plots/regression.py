"""Plots of a regression."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Inputs

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def regression(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
               classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Draws predictions against targets, and residuals, with a panel for each target.

  At most 6 targets are shown.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`.
    inputs: not used.
    classes: names of the targets; None numbers them.

  Returns:
    Title -> figure; empty if no row is finite.
  """
  targets = np.asarray(outputs['targets'], np.float64)
  predictions = np.asarray(outputs['predictions'], np.float64)
  rows = np.isfinite(predictions).all(-1) & np.isfinite(targets).all(-1)
  if not rows.any():
    return {}
  note = style.finite_note(rows.sum(), len(rows))
  targets, predictions = targets[rows], predictions[rows]
  names = style.class_names(classes, targets.shape[-1])
  return {
    'Predicted against actual': _scatter(targets, predictions, names, note),
    'Residuals': _residuals(predictions - targets, names, note),
  }


def _scatter(targets, predictions, names, note):
  rows = np.arange(len(targets))
  if len(rows) > style.POINTS:
    rows = np.sort(np.random.default_rng(0).choice(rows, style.POINTS, replace=False))
    note = f'{len(rows):,} of {len(targets):,} rows, drawn at random'
  figure, panels = _panels(names)
  for column, (axes, name) in enumerate(panels):
    actual, predicted = targets[rows, column], predictions[rows, column]
    # Rasterized within the SVG: thousands of vector points would be larger.
    axes.scatter(actual, predicted, 9, style.BLUE, alpha=0.45, linewidths=0,
                 rasterized=True)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, **style.DASHED)
    axes.set(xlabel='actual', ylabel='predicted')
    style.subtitle(axes, name, note)
    note = ''
  return figure


def _residuals(residuals, names, note):
  figure, panels = _panels(names)
  for column, (axes, name) in enumerate(panels):
    values = residuals[:, column]
    # An outlier would squeeze the rest; the outermost bars include values beyond them.
    low, high = np.percentile(values, (1, 99))
    low, high = max(values.min(), 2 * low - high), min(values.max(), 2 * high - low)
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:
      low, high = low - 0.5 * (size or 1), high + 0.5 * (size or 1)
    bins = int(np.clip(2 * len(values) ** (1 / 3), 5, 60))
    axes.hist(np.clip(values, low, high), bins=bins, range=(low, high),
              color=style.BLUE, alpha=0.6, edgecolor='white', linewidth=0.4)
    axes.axvline(0, **style.DASHED)
    axes.set(xlabel='predicted - actual', ylabel='rows')
    summary = f'mean {values.mean():.3g}, deviation {values.std():.3g}'
    style.subtitle(axes, name, summary, note)
    note = ''
  return figure


def _panels(names, most=6, columns=3):
  count = min(len(names), most)
  rows = -(-count // columns)
  size = (style.FULL, 3 * rows) if count > 1 else (style.HALF, 3.6)
  figure = style.figure(*size)
  grid = figure.subplots(rows, min(count, columns), squeeze=False).flat
  for axes in grid[count:]:
    axes.set_axis_off()
  for axes in grid[:count]:
    style.styled(axes).locator_params(axis='x', nbins=5)
  shown = [style.shorten(name, 36) if len(names) > 1 else '' for name in names[:most]]
  return figure, list(zip(grid[:count], shown, strict=True))
