"""Curves as SVG: where points and ticks are."""

import math
import re
import xml.etree.ElementTree as ET

import matplotlib.ticker
import numpy as np
import pytest

from bigmodels.logs import chart
from bigmodels.logs.chart import Line


def points(svg):
  """Coordinates of each curve."""
  return [np.array(re.findall(r'[ML]([\d.]+) ([\d.]+)', path.get('d')), float)
          for path in ET.fromstring(svg).iter('path')
          if path.get('class') == 'r0' and 'h0' not in path.get('d')]


def test_points_lie_on_the_axes_that_the_ticks_describe():
  svg = chart.chart([Line('a', {0: 0.0, 50: 1.0, 100: 0.25}, 'red', 'r0')], 'loss')
  (curve,) = points(svg)
  texts = {t.text: float(t.get('y')) for t in ET.fromstring(svg).iter('text')
           if t.get('text-anchor') == 'end'}
  assert curve[0][1] == pytest.approx(texts['0'], abs=0.06)
  np.testing.assert_allclose(
    (curve[:, 0] - curve[0, 0]) / (curve[2, 0] - curve[0, 0]), [0, 0.5, 1], atol=1e-3)
  np.testing.assert_allclose(
    (curve[:, 1] - curve[0, 1]) / (curve[1, 1] - curve[0, 1]), [0, 1, 0.25], atol=2e-3)
  assert curve[1][1] == pytest.approx(texts['1'], abs=0.06)


def test_decades_have_a_log_axis_and_gaps_are_left_out():
  values = {i: 1e4 * 0.5 ** i for i in range(20)} | {3: math.nan, 4: math.inf}
  svg = chart.chart([Line('a', values, 'red', 'r0')], 'loss')
  (curve,) = points(svg)
  assert len(curve) == 18
  slopes = np.diff(curve[:, 1]) / np.diff(curve[:, 0])
  np.testing.assert_allclose(slopes, slopes[0], rtol=0.02)
  assert svg.count('M') - svg.count('class="grid"') == 2  # a gap


def test_dots_and_the_best_step():
  svg = chart.chart([Line('a', {0: 1.0, 10: 2.0}, 'red', marked=True),
                     Line('b', {5: 1.5}, 'blue')], 'loss', best=10)
  paths = [p.attrib for p in ET.fromstring(svg).iter('path')]
  curve, dots, one, dot = [p for p in paths if p['class'] == '']
  assert dots['d'].count('h0') == 2
  assert dots['d'].startswith(curve['d'].partition('L')[0])
  assert one['d'] + 'h0' == dot['d'] and dot['stroke'] == 'blue'
  (best,) = [p for p in paths if p['class'] == 'mark']
  assert f'M{curve["d"].partition("L")[2].split()[0]} ' in best['d']


def test_long_curves_are_thinned_to_means():
  found = chart.thin([(i, 2 * i) for i in range(800)])
  assert len(found) == 400 and found[0] == (0.5, 1.0) and found[-1] == (798.5, 1597.0)
  found = chart.thin([(i, math.nan if i == 1 else 1.0) for i in range(800)])
  assert math.isnan(found[0][1]) and found[1] == (2.5, 1.0)


@pytest.mark.parametrize('values', [{}, {1: math.nan}, {0: 1.0}, {1: 0.0}, {5: -3.0},
                                    {1: 1e300, 2: -1e300}, {1: 1e-300, 2: 1e-299}])
def test_any_values_are_drawn_or_nothing(values):
  svg = chart.chart([Line('<b>', values, 'red', 'r0')], '<x>')
  assert bool(svg) == any(map(math.isfinite, values.values()))
  if svg:
    ET.fromstring(svg)


@pytest.mark.parametrize(('low', 'high'), [(0, 1), (0.13, 0.97), (-3, 8), (-9, -2.5),
                                           (1e-6, 3e-6), (0, 5500)])
def test_ticks_are_those_of_matplotlib(low, high):
  locator = matplotlib.ticker.MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
  expected = [t for t in locator.tick_values(low, high)
              if low - 1e-12 <= t <= high * (1 + 1e-12)]
  found = chart.nice(low, high)
  assert 3 <= len(found) <= 7
  assert low <= found[0] and found[-1] <= high
  steps = np.diff(found)
  np.testing.assert_allclose(steps, steps[0])
  if len(found) == len(expected):
    np.testing.assert_allclose(found, expected)
