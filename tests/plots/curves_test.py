"""Tests of plots.curve, and of what the room imports."""

import subprocess
import sys

import numpy as np

from bigmodels import plots
from tests.plots.rendering import render


def test_curves_keep_gaps_and_take_a_log_scale_over_decades():
  steps = np.arange(1, 2001)
  values = 1e4 * 0.99 ** steps
  values[100:200] = np.nan
  figure = plots.curve({'train': (steps, values), 'test': ([5], [np.nan])},
                         {'train': 'blue', 'test': 'red'}, best=3)
  assert figure.axes[0].get_yscale() == 'log'
  line = figure.axes[0].lines[0].get_ydata()
  assert len(line) == 600 and np.isnan(line).any()
  render({'': figure})
  render({'': plots.curve({'': ([], [])}, {'': 'red'})})


def test_importing_loads_no_drawing_library():
  code = ('import sys, bigmodels.plots; '
          'print([m for m in ("matplotlib", "sklearn") if m in sys.modules])')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True)
  assert found.stdout.strip() == '[]'


def test_members_are_thin_lines_around_their_mean():
  members = np.array([[1.0, 3.0], [2.0, 6.0], [np.nan, 1.0]])
  figure = plots.curve({'test': ([1, 2, 3], members)}, {'test': 'red'})
  render({'': figure})
  *thin, mean = figure.axes[0].lines
  np.testing.assert_array_equal([line.get_ydata() for line in thin], members.T)
  np.testing.assert_array_equal(mean.get_ydata(), [2, 4, np.nan])
  assert {line.get_color() for line in figure.axes[0].lines} == {'red'}
  assert all(line.get_linewidth() < mean.get_linewidth() for line in thin)


def test_curves_of_members_are_thinned_like_others():
  steps = np.arange(1200)
  figure = plots.curve({'train': (steps, np.stack([steps, 2 * steps], 1))},
                       {'train': 'red'})
  for line, factor in zip(figure.axes[0].lines, (1, 2, 1.5), strict=True):
    np.testing.assert_allclose(line.get_ydata(), factor * (2 * np.arange(600) + 0.5))
