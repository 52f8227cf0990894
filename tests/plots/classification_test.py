"""Tests of plots.classification against scikit-learn, and of odd splits."""

import numpy as np
import pytest
from sklearn import metrics

from bigmodels import plots
from bigmodels.plots.classification import MISTAKES
from tests.plots.rendering import render


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


@pytest.mark.parametrize('classes', [2, 3, 10, 20])
def test_the_confusion_matrix_has_every_count_in_its_place(classes):
  outputs = _outputs(400, classes)
  axes = plots.classification(outputs, None, None)['Confusion matrix'].axes[0]
  shown = np.full((classes, classes), -1)
  for text in axes.texts:
    column, row = text.get_position()
    shown[row, column] = int(text.get_text())
  pairs = [*zip(outputs['labels'], outputs['predictions'], strict=True)]
  expected = np.array([[pairs.count((true, predicted)) for predicted in range(classes)]
                       for true in range(classes)])
  np.testing.assert_array_equal(shown, expected)
  assert axes.get_ylim()[0] > axes.get_ylim()[1]  # row 0 is on top
  colors = axes.images[0].get_array()
  np.testing.assert_allclose(colors, expected / expected.sum(1, keepdims=True))


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
  assert len(rows) == min(MISTAKES, wrong.sum())
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
  assert shown and all(image.max() == 1 for image in shown)


@pytest.mark.parametrize('classes', [2, 3, 50])
@pytest.mark.parametrize('n', [1, 2])
def test_one_or_two_rows_are_enough(n, classes):
  render(plots.classification(_outputs(n, classes), _images(), None))


def test_one_class_present():
  outputs = _outputs(classes=2)
  outputs['labels'] = np.zeros_like(outputs['labels'])
  drawn = render(plots.classification(outputs, _images(), None))
  assert 'ROC curve' not in drawn


def test_rows_that_are_not_finite_do_not_count_and_it_says_so():
  outputs = _outputs(classes=2)
  outputs['probabilities'][:20] = np.nan
  drawn = render(plots.classification(outputs, _images(dtype=float), None))
  axes = drawn['Confusion matrix'].axes[0]
  assert sum(int(t.get_text()) for t in axes.texts) == 40
  assert axes.get_title(loc='left') == '40 of 60 rows are finite'
  outputs['predictions'] = np.full(60, np.nan)
  assert plots.classification(outputs, _images(), None) == {}


def test_class_names_may_be_long_strange_or_few():
  names = ('a class name\nthat goes on ' * 9, '$x_{', '<script>')
  render(plots.classification(_outputs(), _images(), names))
  render(plots.classification(_outputs(), _images(), ('only one',)))


def test_precision_and_recall_have_the_prevalence_and_the_threshold():
  outputs = _outputs(classes=2)
  labels, scores = outputs['labels'], outputs['probabilities'][:, 1]
  drawn = plots.classification(outputs, None, ('no', 'yes'), threshold=0.3)
  axes = drawn['Precision and recall'].axes[0]
  area = metrics.average_precision_score(labels, scores)
  title = axes.get_title(loc='left')
  assert f'average precision {area:.4f}' in title and 'positive: yes' in title
  assert axes.lines[0].get_ydata()[0] == pytest.approx(np.mean(labels))
  (recall,), (precision,) = axes.lines[-1].get_data()
  assert recall == pytest.approx(metrics.recall_score(labels, scores >= 0.3))
  assert precision == pytest.approx(metrics.precision_score(labels, scores >= 0.3))
  (false,), (true,) = drawn['ROC curve'].axes[0].lines[-1].get_data()
  assert true == pytest.approx(recall)
  assert false == pytest.approx(np.mean(scores[labels == 0] >= 0.3))
  assert 'Confusion matrix at the threshold' in drawn
  plain = plots.classification(outputs, None, None)
  assert len(plain['ROC curve'].axes[0].lines) == 2
  assert 'Confusion matrix at the threshold' not in plain


def test_weights_count_in_the_curves():
  outputs = _outputs(classes=2)
  weights = np.arange(len(outputs['labels'])) % 3
  repeated = {name: np.repeat(x, weights, 0) for name, x in outputs.items()}
  one, other = (plots.classification(x, None, None) for x in (
    {**outputs, 'weights': weights}, repeated))
  for name in ('ROC curve', 'Precision and recall', 'Reliability'):
    assert one[name].axes[0].get_title(loc='left') == (
      other[name].axes[0].get_title(loc='left'))
