"""Tests of metrics.classification against scikit-learn and definitions written out."""

import itertools

import numpy as np
import pytest
from sklearn import metrics as scikit

from bigmodels import metrics


def outputs(n, classes, seed=0, absent=()):
  """Random outputs of a classifier, with float32 probabilities as a device gives."""
  rng = np.random.default_rng(seed)
  present = [c for c in range(classes) if c not in absent]
  labels = np.concatenate([present, rng.choice(present, n - len(present))])
  logits = rng.normal(size=(n, classes)) + np.eye(classes)[labels]
  scores = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  scores = scores.astype(np.float32)
  return {'labels': labels.astype(np.int32), 'predictions': scores.argmax(-1),
          'probabilities': scores}


def area(positive, negative):
  """Share of (positive, negative) pairs in the right order; a tie is half."""
  pairs = itertools.product(positive, negative)
  return np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs])


@pytest.mark.parametrize('classes', [2, 3, 5])
def test_each_class_and_macro_equal_scikit_learn(classes):
  out = outputs(80, classes)
  labels, predictions = out['labels'], out['predictions']
  result = metrics.classification(out)
  assert result['accuracy'] == scikit.accuracy_score(labels, predictions)
  for name, score in (('precision', scikit.precision_score),
                      ('recall', scikit.recall_score), ('f1', scikit.f1_score)):
    assert result[name] == pytest.approx(score(labels, predictions, average='macro'))
    each = score(labels, predictions, average=None)
    assert [result[f'{name}/{c}'] for c in range(classes)] == pytest.approx(each)


def test_precision_recall_and_f1_by_hand():
  result = metrics.classification({
    'labels': np.array([0, 0, 0, 1, 1, 2]),
    'predictions': np.array([0, 0, 1, 1, 0, 2]),
    'probabilities': np.full((6, 3), 1 / 3, np.float32)})
  assert result['accuracy'] == pytest.approx(4 / 6)
  assert result['precision/0'] == pytest.approx(2 / 3)
  assert result['recall/1'] == pytest.approx(1 / 2)
  assert result['f1/2'] == 1
  assert result['precision'] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
  assert result['auc'] == pytest.approx(0.5)  # the same score for all


def test_binary_auc_counts_pairs_in_the_right_order():
  out = outputs(40, 2)
  out['probabilities'] = np.round(out['probabilities'], 1)  # with ties
  scores, labels = out['probabilities'][:, 1], out['labels']
  expected = area(scores[labels == 1], scores[labels == 0])
  assert metrics.classification(out)['auc'] == pytest.approx(expected)
  assert 0.5 < expected < 1


def test_auc_of_many_classes_is_the_mean_of_one_against_the_rest():
  out = outputs(40, 4)
  scores, labels = out['probabilities'].astype(np.float64), out['labels']
  scores /= scores.sum(-1, keepdims=True)
  expected = np.mean([area(scores[labels == c, c], scores[labels != c, c])
                      for c in range(4)])
  assert metrics.classification(out)['auc'] == pytest.approx(expected)


def test_an_absent_class_leaves_auc_out_and_counts_as_nothing():
  out = outputs(60, 4, absent=(2,))
  labels, predictions = out['labels'], out['predictions']
  assert 2 in predictions
  result = metrics.classification(out)
  assert 'auc' not in result
  expected = scikit.recall_score(labels, predictions, labels=range(4),
                                 average='macro', zero_division=0)
  assert result['recall'] == pytest.approx(expected)
  assert result['recall/2'] == result['precision/2'] == result['f1/2'] == 0


def test_a_class_neither_present_nor_predicted_does_not_count():
  out = outputs(30, 3, absent=(1,))
  out['predictions'] = out['labels'].copy()
  result = metrics.classification(out)
  assert result['accuracy'] == result['f1/0'] == result['f1/2'] == 1
  assert result['f1/1'] == 0
  assert result['f1'] == result['recall'] == result['precision'] == 1


# Macro values by hand, as fractions of true and predicted examples of each class.
@pytest.mark.parametrize('labels, predictions, classes, precision, recall, f1', [
  ([0, 2], [0, 2], 3, 1, 1, 1),  # class 1 is nowhere
  ([0, 0, 2], [0, 2, 2], 3, 3 / 4, 3 / 4, 2 / 3),
  ([0, 0], [0, 1], 2, 1 / 2, 1 / 4, 1 / 3),  # class 1 is predicted alone
  ([1], [1], 2, 1, 1, 1),  # one example
  ([1], [0], 2, 0, 0, 0),
  ([3], [3], 10, 1, 1, 1),
  ([0, 1, 2], [1, 2, 0], 3, 0, 0, 0),  # all wrong
  ([0, 1], [2, 2], 4, 0, 0, 0),
  ([0, 0, 0], [0, 0, 0], 5, 1, 1, 1),
  ([0, 1, 1, 4], [0, 1, 4, 4], 6, 5 / 6, 5 / 6, 7 / 9),
  ([0, 1, 1, 4], [0, 1, 3, 4], 6, 3 / 4, 5 / 8, 2 / 3),
])
def test_macro_averages_by_hand(labels, predictions, classes, precision, recall, f1):
  result = metrics.classification({
    'labels': np.array(labels), 'predictions': np.array(predictions),
    'probabilities': np.full((len(labels), classes), 1 / classes, np.float32)})
  assert result['precision'] == pytest.approx(precision)
  assert result['recall'] == pytest.approx(recall)
  assert result['f1'] == pytest.approx(f1)


@pytest.mark.filterwarnings('ignore:y_pred contains classes not in y_true',
                            'ignore:A single label was found',
                            'ignore::sklearn.exceptions.UndefinedMetricWarning')
@pytest.mark.parametrize('seed', range(60))
def test_small_splits_equal_scikit_learn(seed):
  """Classes that are absent, one example, ties: whatever is drawn."""
  rng = np.random.default_rng(seed)
  classes, n = rng.integers(2, 7), rng.integers(1, 12)
  labels = rng.integers(classes, size=n)
  scores = rng.integers(1, 4, size=(n, classes)).astype(np.float32)
  scores /= scores.sum(-1, keepdims=True)
  predictions = scores.argmax(-1)
  result = metrics.classification({
    'labels': labels, 'predictions': predictions, 'probabilities': scores})
  assert result['accuracy'] == pytest.approx(
    scikit.accuracy_score(labels, predictions))
  occurring = np.union1d(labels, predictions)
  for name, score in (('precision', scikit.precision_score),
                      ('recall', scikit.recall_score), ('f1', scikit.f1_score)):
    assert result[name] == pytest.approx(score(labels, predictions, average='macro'))
    values = score(labels, predictions, average=None)
    each = dict(zip(occurring, values, strict=True))
    for c in range(classes):
      assert result[f'{name}/{c}'] == pytest.approx(each.get(c, 0))
  present = np.unique(labels)
  if len(present) < classes:
    assert 'auc' not in result
  else:
    areas = [area(scores[labels == c, c], scores[labels != c, c]) for c in present]
    assert result['auc'] == pytest.approx(np.mean(areas))
  recalls = [result[f'recall/{c}'] for c in present]
  assert np.mean(recalls) == pytest.approx(
    scikit.balanced_accuracy_score(labels, predictions))


@pytest.mark.parametrize('classes', [2, 3])
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_probabilities_not_finite_leave_only_auc_out(classes, bad):
  out = outputs(30, classes)
  good = metrics.classification(out)
  out['probabilities'][3] = bad
  assert good.pop('auc') > 0
  assert metrics.classification(out) == good


def test_classification_leaves_its_arguments_alone():
  out = outputs(30, 3)
  out['probabilities'] = out['probabilities'].astype(np.float64)
  before = {name: array.copy() for name, array in out.items()}
  metrics.classification(out)
  for name in out:
    np.testing.assert_array_equal(out[name], before[name])
