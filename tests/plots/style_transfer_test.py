"""Tests of plots.style_transfer."""

import numpy as np

from bigmodels import plots
from tests.plots.rendering import render


def outputs(count):
  rng = np.random.default_rng(0)
  images = {name: rng.integers(0, 256, (count, *shape, 3)).astype(np.uint8)
            for name, shape in (('photographs', (12, 16)), ('styles', (9, 9)),
                                ('predictions', (12, 16)))}
  numbers = {name: np.linspace(1, 2, count) * 10**power for power, name in enumerate(
    ('content', 'style', 'content_noise', 'style_noise', 'style_photograph'))}
  return images | numbers


def words(rows):
  return [{'image': f'photograph {row}', 'style': 'wave.jpg'} for row in rows]


def test_photograph_style_and_result():
  given = outputs(5)
  drawn = render(plots.style_transfer(given, plots.Inputs(None, words), None))
  axes = drawn['Photograph, style and result'].axes
  assert len(axes) == 3 * 3  # of five photographs three
  assert [each.get_title(loc='left') for each in axes[3:6]] == [
    'photograph 2\ncontent 0, style 1.5e+04',
    'wave.jpg\nnoise: content 150, style 1.5e+03', 'result\ncontent 1.5, style 15']
  for panel, name in zip(axes[3:6], ('photographs', 'styles', 'predictions'),
                         strict=True):
    np.testing.assert_array_equal(panel.images[0].get_array(), given[name][2])


def test_one_without_names():
  drawn = render(plots.style_transfer(outputs(1), plots.Inputs(None), None))
  titles = [each.get_title(loc='left').split('\n')[0] for figure in drawn.values()
            for each in figure.axes]
  assert titles == ['0', 'style', 'result']
