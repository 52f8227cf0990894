"""Tests of bigmodels.plots.forecasting: what is drawn is what was given."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots import rendering

N, HORIZON, TARGETS = 9, 5, 2
RNG = np.random.default_rng(0)


def outputs(**more):
  return {
    'predictions': RNG.normal(size=(N, HORIZON, TARGETS)),
    'targets': RNG.normal(size=(N, HORIZON, TARGETS)),
    'squares': RNG.random((N, HORIZON)), 'squares_repeat': RNG.random((N, HORIZON)),
    'center': np.full((N, TARGETS), 10.0), 'scale': np.full((N, TARGETS), 2.0)} | more


INPUTS = plots.Inputs(
  lambda rows: np.zeros((len(rows), 30, TARGETS)) + rows[:, None, None],
  lambda rows: [{'from': f'day {row}'} for row in rows], ('load', 'price'))


def test_panels_show_inputs_truth_forecast_and_interval():
  found = outputs()
  found |= {'lower': found['predictions'] - 1, 'upper': found['predictions'] + 1}
  figures = plots.forecasting(found, INPUTS, None)
  assert [*figures] == ['Forecasts', 'Error at each step']
  panels = figures['Forecasts'].axes
  assert len(panels) == 6
  rows = plots.spread(N, 6)
  for index, (axes, row) in enumerate(zip(panels, rows, strict=True)):
    history, truth, forecast = axes.get_lines()
    np.testing.assert_allclose(history.get_ydata(), 2.0 * row + 10)
    assert history.get_xdata()[-1] == 0 and len(history.get_xdata()) == 2 * HORIZON
    for line, name in ((truth, 'targets'), (forecast, 'predictions')):
      np.testing.assert_array_equal(line.get_ydata(), found[name][row, :, index % 2])
    assert len(axes.collections) == 1
    assert axes.get_title(loc='left') == f'{("load", "price")[index % 2]}, day {row}'
  rendering.render(figures)


def test_the_error_at_each_step_is_a_root_mean():
  found = outputs()
  _, figure = plots.forecasting(found, INPUTS, None).values()
  model, repeat = figure.axes[0].get_lines()
  for line, name in ((model, 'squares'), (repeat, 'squares_repeat')):
    np.testing.assert_allclose(line.get_ydata(), np.sqrt(
      found[name].sum(0) / (N * TARGETS)))


def test_missing_truth_leaves_a_gap():
  observed = np.ones((N, HORIZON, TARGETS), np.uint8)
  observed[:, 2] = 0
  figures = plots.forecasting(outputs(observed=observed), INPUTS, None)
  truth = figures['Forecasts'].axes[0].get_lines()[1].get_ydata()
  assert np.isnan(truth[2]) and np.isfinite(np.delete(truth, 2)).all()


@pytest.mark.parametrize('count', [1, 4])
def test_few_windows_and_forecasts_that_are_not_finite(count):
  found = {name: value[:count] for name, value in outputs().items()}
  found['predictions'][0] = np.nan
  figures = plots.forecasting(found, INPUTS, None)
  assert bool(figures) == (count > 1)
  if figures:
    title = figures['Forecasts'].axes[0].get_title(loc='left')
    assert '3 of 4 rows are finite' in title
