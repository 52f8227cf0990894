"""Tests of plots.regression."""

import numpy as np
import pytest

from bigmodels import plots
from bigmodels.plots.style import POINTS
from tests.plots.rendering import render


def test_regression_has_a_panel_for_every_target_up_to_six():
  targets = np.random.default_rng(0).normal(size=(40, 8))
  drawn = render(plots.regression(
    {'targets': targets, 'predictions': targets + 1}, None, None))
  for figure in drawn.values():
    assert sum(axes.axison for axes in figure.axes) == 6
  axes = drawn['Residuals'].axes[0]
  assert axes.get_title(loc='left').startswith('0\nmean 1, deviation')
  assert sum(bar.get_height() for bar in axes.patches) == 40


def test_a_scatter_of_many_points_is_a_sample_and_says_so():
  targets = np.random.default_rng(0).normal(size=(30_000, 1))
  drawn = plots.regression({'targets': targets, 'predictions': targets}, None, None)
  axes = drawn['Predicted against actual'].axes[0]
  assert len(axes.collections[0].get_offsets()) == POINTS
  assert '2,000 of 30,000' in axes.get_title(loc='left')


@pytest.mark.parametrize('predictions', [
  np.zeros((1, 1)), np.full((5, 1), 1e30), np.array([[0.0], [np.nan], [1.0]])])
def test_regression_survives(predictions):
  render(plots.regression(
    {'targets': np.ones_like(predictions), 'predictions': predictions}, None, None))


def test_regression_without_a_finite_row_has_no_figures():
  nothing = np.full((3, 2), np.nan)
  assert plots.regression({'targets': nothing, 'predictions': nothing}, None,
                            None) == {}
