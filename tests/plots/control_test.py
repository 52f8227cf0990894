"""Tests of plots.control."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots.rendering import render


def test_episodes_are_the_worst_the_median_and_the_best():
  returns = np.array([7.0, 1.0, np.nan, 4.0], np.float32)
  frames = np.arange(4 * 6 * 2, dtype=np.float32).reshape(4, 6, 2)
  drawn = render(plots.control(
    {'return': returns, 'length': np.array([12, 4, 2, 7]), 'frames': frames},
    None, None, every=2))
  line = drawn['Returns'].axes[0].lines[0]
  np.testing.assert_allclose(line.get_xdata(), [1, 4, 7])
  np.testing.assert_allclose(line.get_ydata(), [1 / 3, 2 / 3, 1])
  panels = drawn['Episodes'].axes
  assert [panel.get_title(loc='left') or panel.texts[0].get_text()
          for panel in panels] == [
    'the worst: return 1', 'the median: return 4', 'the best: return 7']
  for panel, row, count in zip(panels, (1, 3, 0), (2, 4, 6), strict=True):
    np.testing.assert_allclose(panel.lines[0].get_xdata(), 2 * np.arange(count))
    np.testing.assert_allclose(panel.lines[1].get_ydata(), frames[row, :count, 1])


@pytest.mark.parametrize(('shape', 'titles'), [
  ((3, 8, 9, 7, 1), {'Returns', 'Episodes'}), ((3, 8, 9, 7, 4), {'Returns'}),
  ((3, 8, 40), {'Returns'})])
def test_frames_are_drawn_of_images_and_of_few_numbers(shape, titles):
  outputs = {'return': np.arange(3.0), 'length': np.full(3, 8),
             'frames': np.zeros(shape, np.uint8)}
  assert render(plots.control(outputs, None, None)).keys() == titles


def test_no_return_is_finite():
  nothing = {'return': np.full(2, np.nan), 'length': np.ones(2), 'frames': np.zeros(2)}
  assert plots.control(nothing, None, None) == {}
