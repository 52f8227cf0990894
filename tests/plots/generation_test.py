"""Tests of plots.generation: every image is in its place."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots.rendering import render

MOMENTS = (1, 20, 3000)


def _generated(n=40, size=(8, 6, 1), seen=3, columns=5, ways=(2, 4)):
  """What an evaluation gives; the album has images at so many of the moments."""
  rng = np.random.default_rng(0)
  made, real = rng.integers(1, 17, (2, n, *size)).astype(np.uint8)
  album, between = np.zeros((2, n, *size), np.uint8)
  album[: seen * columns] = made[: seen * columns]
  between[: ways[0] * ways[1]] = made[: ways[0] * ways[1]]
  outputs = {'generated': made, 'real': real, 'album': album, 'between': between,
             'labels': np.arange(n) % 3}
  return outputs, {'moments': MOMENTS, 'columns': columns, 'ways': ways, 'white': 16}


def _cells(figure, rows, columns, size):
  """The images in an album, `[rows, columns, height, width]`, and its labels."""
  axes, = figure.axes
  page = np.asarray(axes.images[0].get_array())[..., 0]
  high, wide = ((side + 2) // n for side, n in zip(page.shape, (rows, columns),
                                                   strict=True))
  each = (high - 2) // size[0]
  cells = np.stack([[page[r * high : r * high + each * size[0] : each,
                          c * wide : c * wide + each * size[1] : each]
                     for c in range(columns)] for r in range(rows)])
  return cells, [t.get_text() for t in axes.get_yticklabels()]


def test_what_a_generator_makes_is_in_its_place():
  outputs, settings = _generated()
  drawn = render(plots.generation(
    outputs, None, ('a', 'b', 'c'), note='measured by it', **settings))
  assert list(drawn) == ['Samples', 'Real', 'Along the run', 'Between two latents']
  for title, name in (('Samples', 'generated'), ('Real', 'real')):
    cells, names = _cells(drawn[title], 3, 5, (8, 6))
    assert names == ['a', 'b', 'c']  # a row for each class
    for label in range(3):
      np.testing.assert_allclose(
        cells[label], outputs[name][label : label + 15 : 3, ..., 0] / 16)
  assert drawn['Samples'].axes[0].get_title(loc='left') == 'measured by it'
  cells, names = _cells(drawn['Along the run'], 3, 5, (8, 6))
  assert names == ['1', '20', '3,000']
  np.testing.assert_allclose(
    cells, outputs['album'][:15, ..., 0].reshape(3, 5, 8, 6) / 16)
  cells, _ = _cells(drawn['Between two latents'], 2, 4, (8, 6))
  np.testing.assert_allclose(
    cells, outputs['between'][:8, ..., 0].reshape(2, 4, 8, 6) / 16)


@pytest.mark.parametrize('seen', [0, 1, 2])
def test_an_album_goes_up_to_where_the_run_is(seen):
  outputs, settings = _generated(seen=seen)
  drawn = plots.generation(outputs, None, None, **settings)
  assert ('Along the run' in drawn) == (seen > 0)
  if seen:
    cells, names = _cells(drawn['Along the run'], seen, 5, (8, 6))
    assert names == ['1', '20'][:seen] and cells.shape[:2] == (seen, 5)


@pytest.mark.parametrize('channels, shown', [(1, True), (2, False), (3, True),
                                             (4, False)])
def test_only_grey_and_coloured_images_are_shown(channels, shown):
  outputs, settings = _generated(size=(4, 4, channels))
  drawn = render(plots.generation(outputs, None, None, **settings))
  assert len(drawn) == (4 if shown else 0)


def test_a_split_too_small_for_the_ways_has_none():
  outputs, settings = _generated(n=7, seen=1)
  drawn = render(plots.generation(outputs, None, None, **settings))
  assert list(drawn) == ['Samples', 'Real', 'Along the run']


def test_large_images_fit_an_album():
  outputs, settings = _generated(size=(64, 64, 3))
  for figure in render(plots.generation(outputs, None, None, **settings)).values():
    assert max(figure.axes[0].images[0].get_array().shape) <= 1200


@pytest.mark.parametrize('n, seen', [(7, 2), (13, 3)])
def test_the_split_may_end_within_a_row_of_the_album(n, seen):
  outputs, settings = _generated(n=n, seen=seen)
  render(plots.generation(outputs, None, None, **settings))


@pytest.mark.parametrize('n, seen', [(7, 1), (12, 2), (5, 1)])
def test_an_album_may_end_with_the_split(n, seen):
  outputs, settings = _generated(n=n, seen=seen)
  render(plots.generation(outputs, None, None, **settings))


@pytest.mark.parametrize('name', ['a class with a name ' * 6, '$x_{$'])
def test_classes_of_an_album_may_have_strange_names(name):
  outputs, settings = _generated()
  render(plots.generation(outputs, None, (name, 'b', '<c>'), **settings))
