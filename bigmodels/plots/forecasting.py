"""Plots of forecasts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Inputs, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_PANELS = 6
_HISTORY = 2  # rows before a forecast that are drawn, in horizons


def forecasting(outputs: Mapping[str, np.ndarray], inputs: Inputs,
                classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Draws some forecasts over the truth, and the error at each step.

  Args:
    outputs: `predictions` and `targets` `[n, horizon, targets]`; `lower` and `upper` of
      that shape if there are intervals; `squares` `[n, horizon]`, sums over the
      targets, and those of baselines as `squares_NAME`; `center` and `scale`
      `[n, targets]`, which inputs were scaled by; `observed`, see `data.Series`.
    inputs: rows `[k]` -> inputs `[k, length, channels]`, the targets first.
    classes: not used.

  Returns:
    Title -> figure; empty if no window is finite.
  """
  finite = np.isfinite(outputs['predictions']).all((1, 2))
  rows = np.flatnonzero(finite)
  if not len(rows):
    return {}
  note = style.finite_note(len(rows), len(finite))
  return {'Forecasts': _forecasts(outputs, inputs, rows, note),
          'Error at each step': _by_step(outputs, rows, note)}


def _forecasts(outputs, inputs, rows, note):
  """Windows spread over the split; each panel has another target."""
  targets = outputs['targets'].shape[-1]
  shown = rows[spread(len(rows), _PANELS)]
  figure = style.figure(style.FULL, 2.6 * -(-len(shown) // 3))
  grid = figure.subplots(-(-len(shown) // 3), min(3, len(shown)), squeeze=False).flat
  names = style.class_names((inputs.features or ())[:targets], targets)
  words = inputs.words(shown) if inputs.words else [{}] * len(shown)
  past = np.asarray(inputs(shown), np.float64)
  for index, (axes, row) in enumerate(zip(grid, shown, strict=False)):
    target = index % targets
    history = past[index, -_HISTORY * outputs['targets'].shape[1]:, target]
    if 'center' in outputs:
      history = history * outputs['scale'][row, target] + outputs['center'][row, target]
    truth = outputs['targets'][row, :, target].astype(np.float64)
    if 'observed' in outputs:
      truth = np.where(outputs['observed'][row, :, target] > 0, truth, np.nan)
    steps = np.arange(1, len(truth) + 1)
    style.styled(axes).plot(np.arange(1 - len(history), 1), history, color=style.GREY,
                            linewidth=0.9, label='inputs')
    axes.plot(steps, truth, color=style.BLUE, linewidth=1.1, label='truth',
              marker='.' if len(steps) < 4 else None)
    axes.plot(steps, outputs['predictions'][row, :, target], color=style.ORANGE,
              linewidth=1.1, label='forecast', marker='.' if len(steps) < 4 else None)
    if 'lower' in outputs:
      axes.fill_between(
        steps, outputs['lower'][row, :, target], outputs['upper'][row, :, target],
        color=style.ORANGE, alpha=0.2, linewidth=0, label='interval')
    about = ', '.join([style.shorten(names[target], 24), *words[index].values()])
    style.subtitle(axes, about, note)
    note = ''
  for axes in [*grid][len(shown):]:
    axes.set_axis_off()
  figure.axes[0].legend(fontsize=7.5, frameon=False)
  return figure


def _by_step(outputs, rows, note):
  figure, axes = style.panel(style.HALF, 3.2)
  _, horizon, targets = outputs['targets'].shape
  steps = np.arange(1, horizon + 1)
  count = np.full(horizon, len(rows) * targets, np.float64)
  if 'observed' in outputs:
    count = outputs['observed'][rows].sum((0, 2), dtype=np.float64)
  styles = {'': {'color': style.ORANGE, 'linewidth': 1.3},
            '_repeat': style.DASHED, '_seasonal': {**style.DASHED, 'linestyle': ':'}}
  for suffix, look in styles.items():
    if (name := f'squares{suffix}') in outputs:
      total = outputs[name][rows].sum(0, dtype=np.float64)
      with np.errstate(invalid='ignore', divide='ignore'):
        axes.plot(steps, np.sqrt(total / count), **look, marker='.' * (horizon < 4),
                  label={'': 'model', '_repeat': 'last value repeated',
                         '_seasonal': 'last season repeated'}[suffix])
  axes.set(xlabel='step', ylabel='root mean squared error')
  axes.set_ylim(bottom=0)
  axes.legend(fontsize=8, frameon=False)
  style.subtitle(axes, note)
  return figure
