"""Tests of the figures: what they say is compared with what is known otherwise."""

import io
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics

from bigmodels import plots


def _outputs(n=60, classes=3, seed=0):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, classes, n)
  logits = rng.normal(size=(n, classes)) + 2 * np.eye(classes)[labels]
  probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  return {'labels': labels, 'predictions': probabilities.argmax(-1),
          'probabilities': probabilities.astype(np.float32)}


def _images(shape=(60, 8, 6, 3), dtype=np.uint8):
  values = np.random.default_rng(1).normal(size=shape) * 50
  images = np.abs(values).astype(dtype) if dtype == np.uint8 else values
  return lambda rows: images[rows]


def _render(drawn):
  for figure in drawn.values():
    figure.savefig(io.BytesIO(), format='svg')
  return drawn


@pytest.mark.parametrize('classes', [2, 3, 10, 20])
def test_the_confusion_matrix_has_every_count_in_its_place(classes):
  outputs = _outputs(400, classes)
  axes = plots.classification(outputs, None, None)['Confusion matrix'].axes[0]
  shown = np.full((classes, classes), -1)
  for text in axes.texts:
    column, row = text.get_position()
    shown[row, column] = int(text.get_text())
  wanted = metrics.confusion_matrix(outputs['labels'], outputs['predictions'],
                                    labels=range(classes))
  np.testing.assert_array_equal(shown, wanted)
  assert axes.get_ylim()[0] > axes.get_ylim()[1]  # row 0 is on top
  colors = axes.images[0].get_array()
  np.testing.assert_allclose(colors, wanted / wanted.sum(1, keepdims=True))


def test_the_confusion_matrix_is_labelled_with_the_names_of_the_classes():
  drawn = plots.classification(_outputs(), None, ('cat', 'dog', 'bird'))
  axes = drawn['Confusion matrix'].axes[0]
  assert [t.get_text() for t in axes.get_yticklabels()] == ['cat', 'dog', 'bird']
  assert [t.get_text() for t in axes.get_xticklabels()] == ['cat', 'dog', 'bird']


def test_more_than_twenty_classes_are_colours_only():
  drawn = plots.classification(_outputs(200, 21), None, None)
  assert not drawn['Confusion matrix'].axes[0].texts


def test_roc_is_for_two_classes_and_agrees_with_sklearn():
  outputs = _outputs(classes=2)
  figure = plots.classification(outputs, None, None)['ROC curve']
  area = metrics.roc_auc_score(outputs['labels'], outputs['probabilities'][:, 1])
  assert f'AUC {area:.4f}' in figure.axes[0].get_title(loc='left')
  assert 'ROC curve' not in plots.classification(_outputs(), None, None)


def test_calibration_error_is_what_paper_and_pencil_give():
  confidence = np.array([0.55, 0.6, 0.9, 1.0])
  right = np.array([True, False, True, True])
  # Two bins of five: (0.4, 0.6] has mean 0.575 and accuracy 0.5, (0.8, 1] 0.95 and 1.
  error, means, accuracy, counts = plots.calibration(confidence, right, bins=5)
  assert error == pytest.approx(0.5 * 0.075 + 0.5 * 0.05)
  np.testing.assert_array_equal(counts, [0, 0, 2, 0, 2])
  np.testing.assert_allclose(means, [0, 0, 0.575, 0, 0.95])
  np.testing.assert_allclose(accuracy, [0, 0, 0.5, 0, 1])


def test_mistakes_are_mistakes_and_the_surest_come_first():
  outputs = _outputs(200)
  asked = []

  def inputs(rows):
    asked.append(rows)
    return _images((200, 8, 8, 1))(rows)

  figure = plots.classification(outputs, inputs, ('a', 'b', 'c'))[
    'Most confident mistakes']
  (rows,) = asked
  labels, predictions = outputs['labels'], outputs['predictions']
  confidence = outputs['probabilities'].max(-1)
  wrong = labels != predictions
  assert wrong[rows].all()
  assert len(rows) == min(plots.MISTAKES, wrong.sum())
  assert (np.diff(confidence[rows]) <= 0).all()
  assert confidence[rows[0]] == confidence[wrong].max()
  captions = [axes.get_title() for axes in figure.axes if axes.images]
  assert captions == [f'{"abc"[labels[r]]} → {"abc"[predictions[r]]}\n'
                      f'{confidence[r]:.3f}' for r in rows]


def test_no_mistakes_give_no_figure_of_them():
  outputs = _outputs()
  outputs['labels'] = outputs['predictions']
  assert 'Most confident mistakes' not in plots.classification(
    outputs, _images(), None)


def test_rows_of_a_table_are_not_shown_as_images():
  drawn = plots.classification(_outputs(), _images((60, 5)), None)
  assert 'Most confident mistakes' not in drawn


def test_bytes_that_end_early_are_bright_enough_together():
  images = np.random.default_rng(0).integers(0, 17, (60, 8, 8, 1)).astype(np.uint8)
  images[:, 0, 0] = 16
  drawn = plots.classification(_outputs(), lambda rows: images[rows], None)
  shown = [a.images[0].get_array() for a in drawn['Most confident mistakes'].axes
           if a.images]
  assert shown and all(picture.max() == 1 for picture in shown)


@pytest.mark.parametrize('scale, shift', [(1, 0), (1e3, -500), (1e-6, 5), (0, 3)])
def test_float_images_of_any_range_are_scaled_for_the_eye(scale, shift):
  image = np.random.default_rng(0).uniform(size=(9, 7, 1)) * scale + shift
  picture = plots._picture(image)
  assert picture.shape == (9, 7, 3)
  assert picture.min() == 0 and picture.max() == (1 if scale else 0)


def test_large_images_shrink_and_bytes_keep_their_brightness():
  picture = plots._picture(np.full((500, 300, 3), 51, np.uint8))
  assert max(picture.shape) <= 96
  np.testing.assert_allclose(picture, 0.2)


@pytest.mark.parametrize('classes', [2, 3, 50])
@pytest.mark.parametrize('n', [1, 2])
def test_one_or_two_rows_are_enough(n, classes):
  _render(plots.classification(_outputs(n, classes), _images(), None))


def test_one_class_present():
  outputs = _outputs(classes=2)
  outputs['labels'] = np.zeros_like(outputs['labels'])
  drawn = _render(plots.classification(outputs, _images(), None))
  assert 'ROC curve' not in drawn


def test_rows_that_are_not_finite_do_not_count_and_it_says_so():
  outputs = _outputs(classes=2)
  outputs['probabilities'][:20] = np.nan
  drawn = _render(plots.classification(outputs, _images(dtype=float), None))
  axes = drawn['Confusion matrix'].axes[0]
  assert sum(int(t.get_text()) for t in axes.texts) == 40
  assert axes.get_title(loc='left') == '40 of 60 rows are finite'
  outputs['predictions'] = np.full(60, np.nan)
  assert plots.classification(outputs, _images(), None) == {}


def test_class_names_may_be_long_strange_or_few():
  names = ('a class name\nthat goes on ' * 9, '$x_{', '<script>')
  _render(plots.classification(_outputs(), _images(), names))
  _render(plots.classification(_outputs(), _images(), ('only one',)))


def test_regression_has_a_panel_for_every_target_up_to_six():
  targets = np.random.default_rng(0).normal(size=(40, 8))
  drawn = _render(plots.regression(
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
  assert len(axes.collections[0].get_offsets()) == plots.POINTS
  assert '2,000 of 30,000' in axes.get_title(loc='left')


@pytest.mark.parametrize('predictions', [
  np.zeros((1, 1)), np.full((5, 1), 1e30), np.array([[0.0], [np.nan], [1.0]])])
def test_regression_survives(predictions):
  _render(plots.regression(
    {'targets': np.ones_like(predictions), 'predictions': predictions}, None, None))


def test_regression_without_a_finite_row_has_no_figures():
  nothing = np.full((3, 2), np.nan)
  assert plots.regression({'targets': nothing, 'predictions': nothing}, None,
                            None) == {}


def test_the_loss_of_each_text_and_its_mean_over_tokens():
  nats, tokens = np.array([2.0, 30, 9, 5, np.nan]), np.array([1, 10, 6, 0, 3])
  drawn = _render(plots.language({'nats': nats, 'tokens': tokens}, None, None))
  axes, = drawn['Loss of each text'].axes
  # Those of 2, 3 and 1.5 nats a token; a text of none, or of no number, has no bar.
  edges = np.array([[bar.get_x(), bar.get_x() + bar.get_width()]
                    for bar in axes.patches if bar.get_height()])
  assert sum(bar.get_height() for bar in axes.patches) == 3
  for value in (1.5, 2, 3):
    assert ((edges[:, 0] <= value + 1e-9) & (value - 1e-9 <= edges[:, 1])).any()
  assert axes.lines[0].get_xdata() == [pytest.approx(41 / 17)] * 2
  assert '2.412, the mean over all tokens' in axes.get_title(loc='left')
  assert '3 of 5' in axes.get_title(loc='left')


@pytest.mark.parametrize(('nats', 'tokens'), [
  ([], []), ([0.0, 0.0], [0, 0]), ([np.nan], [4]), ([np.inf, np.nan], [1, 1])])
def test_texts_without_a_loss_have_no_figure(nats, tokens):
  outputs = {'nats': np.array(nats), 'tokens': np.array(tokens)}
  assert plots.language(outputs, None, None) == {}


def test_one_text_has_a_figure():
  _render(plots.language({'nats': np.float32([3]), 'tokens': np.float32([2])}, None,
                           None))


# --- generation -----------------------------------------------------------------

MOMENTS = (1, 20, 3000)


def _generated(n=40, size=(8, 6, 1), seen=3, columns=5, ways=(2, 4)):
  """What an evaluation gives; the album has images at so many of the moments."""
  chance = np.random.default_rng(0)
  made, real = chance.integers(1, 17, (2, n, *size)).astype(np.uint8)
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
  drawn = _render(plots.generation(
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
  drawn = _render(plots.generation(outputs, None, None, **settings))
  assert len(drawn) == (4 if shown else 0)


def test_a_split_too_small_for_the_ways_has_none():
  outputs, settings = _generated(n=7, seen=1)
  drawn = _render(plots.generation(outputs, None, None, **settings))
  assert list(drawn) == ['Samples', 'Real', 'Along the run']


def test_large_images_fit_an_album():
  outputs, settings = _generated(size=(64, 64, 3))
  for figure in _render(plots.generation(outputs, None, None, **settings)).values():
    assert max(figure.axes[0].images[0].get_array().shape) <= 1200


@pytest.mark.parametrize('n, seen', [(7, 2), (13, 3)])
def test_the_split_may_end_within_a_row_of_the_album(n, seen):
  outputs, settings = _generated(n=n, seen=seen)
  _render(plots.generation(outputs, None, None, **settings))


@pytest.mark.parametrize('n, seen', [(7, 1), (12, 2), (5, 1)])
def test_an_album_may_end_with_the_split(n, seen):
  outputs, settings = _generated(n=n, seen=seen)
  _render(plots.generation(outputs, None, None, **settings))


@pytest.mark.parametrize('name', ['a class with a name ' * 6, '$x_{$'])
def test_classes_of_an_album_may_have_strange_names(name):
  outputs, settings = _generated()
  _render(plots.generation(outputs, None, (name, 'b', '<c>'), **settings))


def test_curves_keep_gaps_and_take_a_log_scale_over_decades():
  steps = np.arange(1, 2001)
  values = 1e4 * 0.99 ** steps
  values[100:200] = np.nan
  figure = plots.curve({'train': (steps, values), 'test': ([5], [np.nan])},
                         {'train': 'blue', 'test': 'red'}, best=3)
  assert figure.axes[0].get_yscale() == 'log'
  line = figure.axes[0].lines[0].get_ydata()
  assert len(line) == 600 and np.isnan(line).any()
  _render({'': figure})
  _render({'': plots.curve({'': ([], [])}, {'': 'red'})})


def test_importing_loads_no_drawing_library():
  code = ('import sys, bigmodels.plots; '
          'print([m for m in ("matplotlib", "sklearn") if m in sys.modules])')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True)
  assert found.stdout.strip() == '[]'


def test_episodes_are_the_worst_the_middle_and_the_best():
  returns = np.array([7.0, 1.0, np.nan, 4.0], np.float32)
  film = np.arange(4 * 6 * 2, dtype=np.float32).reshape(4, 6, 2)
  drawn = _render(plots.control(
    {'return': returns, 'length': np.array([12, 4, 2, 7]), 'frames': film},
    None, None, every=2))
  line = drawn['Returns'].axes[0].lines[0]
  np.testing.assert_allclose(line.get_xdata(), [1, 4, 7])
  np.testing.assert_allclose(line.get_ydata(), [1 / 3, 2 / 3, 1])
  panels = drawn['Episodes'].axes
  assert [panel.get_title(loc='left') or panel.texts[0].get_text()
          for panel in panels] == [
    'the worst: return 1', 'the middle: return 4', 'the best: return 7']
  for panel, row, frames in zip(panels, (1, 3, 0), (2, 4, 6), strict=True):
    np.testing.assert_allclose(panel.lines[0].get_xdata(), 2 * np.arange(frames))
    np.testing.assert_allclose(panel.lines[1].get_ydata(), film[row, :frames, 1])


@pytest.mark.parametrize(('shape', 'titles'), [
  ((3, 8, 9, 7, 1), {'Returns', 'Episodes'}), ((3, 8, 9, 7, 4), {'Returns'}),
  ((3, 8, 40), {'Returns'})])
def test_films_are_drawn_of_images_and_of_few_numbers(shape, titles):
  outputs = {'return': np.arange(3.0), 'length': np.full(3, 8),
             'frames': np.zeros(shape, np.uint8)}
  assert _render(plots.control(outputs, None, None)).keys() == titles


def test_no_return_is_finite():
  nothing = {'return': np.full(2, np.nan), 'length': np.ones(2), 'frames': np.zeros(2)}
  assert plots.control(nothing, None, None) == {}
