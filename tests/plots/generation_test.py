"""Tests of plots.generation: every image is in its place."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots.rendering import render

STEPS = (1, 20, 3000)


def _generated(n=40, size=(8, 6, 1), seen=3, columns=5, paths=(2, 4)):
  """What an evaluation gives, and the snapshots of so many of the steps."""
  rng = np.random.default_rng(0)
  made, real = rng.integers(1, 17, (2, n, *size)).astype(np.uint8)
  between = np.zeros((n, *size), np.uint8)
  between[: paths[0] * paths[1]] = made[: paths[0] * paths[1]]
  outputs = {'generated': made, 'real': real, 'between': between,
             'labels': np.arange(n) % 3}
  snapshots = {step: {'generated': rng.integers(1, 17, (columns, *size)).astype(
    np.uint8)} for step in STEPS[:seen]}
  return outputs, {'snapshots': snapshots, 'paths': paths, 'white': 16}


def _cells(figure, rows, columns, size):
  """The images in a grid, `[rows, columns, height, width]`, and its labels."""
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
    cells, names = _cells(drawn[title], 3, 10, (8, 6))
    assert names == ['a', 'b', 'c']  # a row for each class
    for label in range(3):
      np.testing.assert_allclose(
        cells[label], outputs[name][label : label + 30 : 3, ..., 0] / 16)
  assert drawn['Samples'].axes[0].get_title(loc='left') == 'measured by it'
  cells, names = _cells(drawn['Along the run'], 3, 5, (8, 6))
  assert names == ['1', '20', '3,000']
  np.testing.assert_allclose(
    cells, [settings['snapshots'][step]['generated'][..., 0] / 16 for step in STEPS])
  cells, _ = _cells(drawn['Between two latents'], 2, 4, (8, 6))
  np.testing.assert_allclose(
    cells, outputs['between'][:8, ..., 0].reshape(2, 4, 8, 6) / 16)


@pytest.mark.parametrize('seen', [0, 1, 2])
def test_there_is_a_row_for_every_snapshot(seen):
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


def test_a_split_too_small_for_the_paths_has_none():
  outputs, settings = _generated(n=7, seen=1)
  drawn = render(plots.generation(outputs, None, None, **settings))
  assert list(drawn) == ['Samples', 'Real', 'Along the run']


def test_large_images_fit_a_grid():
  outputs, settings = _generated(size=(64, 64, 3))
  for figure in render(plots.generation(outputs, None, None, **settings)).values():
    assert max(figure.axes[0].images[0].get_array().shape) <= 1200


@pytest.mark.parametrize('count', [1, 7, 8, 9, 100])
def test_of_many_snapshots_the_early_ones_and_the_last_are_shown(count):
  outputs, settings = _generated()
  images = {'generated': outputs['generated'][:5]}
  settings['snapshots'] = {10 * (i + 1): images for i in range(count)}
  drawn = plots.generation(outputs, None, None, **settings)
  steps = [int(t.get_text().replace(',', ''))
           for t in drawn['Along the run'].axes[0].get_yticklabels()]
  assert steps[0] == 10 and steps[-1] == 10 * count
  assert len(steps) == len(set(steps)) <= 8 and len(steps) >= min(count, 4)
  assert steps == sorted(steps)


@pytest.mark.parametrize('name', ['a class with a name ' * 6, '$x_{$'])
def test_classes_of_a_grid_may_have_strange_names(name):
  outputs, settings = _generated()
  render(plots.generation(outputs, None, (name, 'b', '<c>'), **settings))
