"""Tests of metrics.classification against scikit-learn and definitions written out."""

import itertools

import numpy as np
import pytest
from sklearn import metrics as scikit

from bigmodels import metrics, plots


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
    assert result[f'macro_{name}'] == pytest.approx(
      score(labels, predictions, average='macro'))
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
  assert result['macro_precision'] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
  assert result['roc_auc'] == pytest.approx(0.5)  # the same score for all


def test_binary_auc_counts_pairs_in_the_right_order():
  out = outputs(40, 2)
  out['probabilities'] = np.round(out['probabilities'], 1)  # with ties
  scores, labels = out['probabilities'][:, 1], out['labels']
  expected = area(scores[labels == 1], scores[labels == 0])
  assert metrics.classification(out)['roc_auc'] == pytest.approx(expected)
  assert 0.5 < expected < 1


def test_auc_of_many_classes_is_the_mean_of_one_against_the_rest():
  out = outputs(40, 4)
  scores, labels = out['probabilities'].astype(np.float64), out['labels']
  scores /= scores.sum(-1, keepdims=True)
  expected = np.mean([area(scores[labels == c, c], scores[labels != c, c])
                      for c in range(4)])
  assert metrics.classification(out)['roc_auc'] == pytest.approx(expected)


def test_an_absent_class_leaves_auc_out_and_counts_as_nothing():
  out = outputs(60, 4, absent=(2,))
  labels, predictions = out['labels'], out['predictions']
  assert 2 in predictions
  result = metrics.classification(out)
  assert 'roc_auc' not in result
  expected = scikit.recall_score(labels, predictions, labels=range(4),
                                 average='macro', zero_division=0)
  assert result['macro_recall'] == pytest.approx(expected)
  assert result['recall/2'] == result['precision/2'] == result['f1/2'] == 0


def test_a_class_neither_present_nor_predicted_does_not_count():
  out = outputs(30, 3, absent=(1,))
  out['predictions'] = out['labels'].copy()
  result = metrics.classification(out)
  assert result['accuracy'] == result['f1/0'] == result['f1/2'] == 1
  assert result['f1/1'] == 0
  assert result['macro_f1'] == result['macro_recall'] == result['macro_precision'] == 1


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
  assert result['macro_precision'] == pytest.approx(precision)
  assert result['macro_recall'] == pytest.approx(recall)
  assert result['macro_f1'] == pytest.approx(f1)


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
    assert result[f'macro_{name}'] == pytest.approx(
      score(labels, predictions, average='macro'))
    values = score(labels, predictions, average=None)
    each = dict(zip(occurring, values, strict=True))
    for c in range(classes):
      assert result[f'{name}/{c}'] == pytest.approx(each.get(c, 0))
  present = np.unique(labels)
  if len(present) < classes:
    assert 'roc_auc' not in result
  else:
    areas = [area(scores[labels == c, c], scores[labels != c, c]) for c in present]
    assert result['roc_auc'] == pytest.approx(np.mean(areas))
  recalls = [result[f'recall/{c}'] for c in present]
  assert np.mean(recalls) == pytest.approx(
    scikit.balanced_accuracy_score(labels, predictions))


@pytest.mark.parametrize('classes', [2, 3])
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_probabilities_not_finite_leave_only_metrics_of_predictions(classes, bad):
  out = outputs(30, classes)
  good = metrics.classification(out)
  out['probabilities'][3] = bad
  for name in ('roc_auc', 'average_precision', 'log_loss', 'brier',
               'calibration_error'):
    assert good.pop(name) > 0
  assert metrics.classification(out) == good


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('classes', [2, 3, 12])
@pytest.mark.parametrize('seed', range(5))
def test_every_metric_equals_scikit_learn(classes, weighted, seed):
  out = outputs(90, classes, seed)
  labels, predictions = out['labels'], out['predictions']
  scores = out['probabilities'].astype(np.float64)
  scores /= scores.sum(-1, keepdims=True)
  weights = np.random.default_rng(seed).uniform(0.1, 3, 90) if weighted else None
  given = {'sample_weight': weights}
  result = metrics.classification(out | ({'weights': weights} if weighted else {}))
  hot = np.eye(classes)[labels][:, 1:] if classes == 2 else np.eye(classes)[labels]
  ranked = scores[:, 1:] if classes == 2 else scores
  expected = {
    'accuracy': scikit.accuracy_score(labels, predictions, **given),
    'balanced_accuracy': scikit.balanced_accuracy_score(labels, predictions, **given),
    'matthews': scikit.matthews_corrcoef(labels, predictions, **given),
    'cohen_kappa': scikit.cohen_kappa_score(labels, predictions, **given),
    'macro_f1': scikit.f1_score(labels, predictions, average='macro', **given),
    'roc_auc': scikit.roc_auc_score(hot, ranked, **given),
    'average_precision': scikit.average_precision_score(hot, ranked, **given),
    'log_loss': scikit.log_loss(labels, scores, labels=range(classes), **given),
    'brier': np.average(
      np.sum((scores - np.eye(classes)[labels])**2, -1) / (1 + (classes == 2)),
      weights=weights)}
  if classes >= 10:
    expected['top5_accuracy'] = scikit.top_k_accuracy_score(
      labels, scores, k=5, **given)
  found = {name: result[name] for name in result if '/' not in name}
  for name in ('calibration_error', 'macro_recall', 'macro_precision'):  # see others
    del found[name]
  assert found == pytest.approx(expected, rel=1e-5)


def test_brier_of_two_classes_equals_scikit_learn():
  out = outputs(50, 2)
  assert metrics.classification(out)['brier'] == pytest.approx(
    scikit.brier_score_loss(out['labels'], out['probabilities'][:, 1]))


def test_weights_are_repetitions_and_0_leaves_an_example_out():
  out = outputs(60, 3)
  times = np.random.default_rng(0).integers(0, 3, 60)
  repeated = {name: np.repeat(x, times, 0) for name, x in out.items()}
  assert metrics.classification(out | {'weights': times}) == pytest.approx(
    metrics.classification(repeated))
  assert metrics.classification(out | {'weights': np.zeros(60)}) == {}


def test_ties_in_top_5_accuracy_go_to_the_lower_class_as_in_predictions():
  result = metrics.classification({
    'labels': np.array([4, 5]), 'predictions': np.array([0, 0]),
    'probabilities': np.full((2, 10), 0.1, np.float32)})
  assert result['top5_accuracy'] == 0.5


def test_calibration_error_equals_that_of_the_plot():
  out = outputs(500, 3)
  confidence = out['probabilities'][np.arange(500), out['predictions']]
  error, *_ = plots.calibration(confidence, out['labels'] == out['predictions'])
  assert metrics.classification(out)['calibration_error'] == pytest.approx(
    error, abs=1e-6)


def test_metrics_without_a_value_are_left_out():
  one = metrics.classification({
    'labels': np.array([1, 1]), 'predictions': np.array([0, 1]),
    'probabilities': np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)})
  for name in ('roc_auc', 'average_precision', 'matthews', 'cohen_kappa',
               'top5_accuracy'):
    assert name not in one
  constant = metrics.classification({
    'labels': np.array([0, 1, 1]), 'predictions': np.array([1, 1, 1]),
    'probabilities': np.array([[0.4, 0.6]] * 3, np.float32)})
  assert constant['matthews'] == constant['cohen_kappa'] == 0  # as in scikit-learn


def test_a_probability_of_0_has_a_finite_log_loss():
  result = metrics.classification({
    'labels': np.array([0, 1]), 'predictions': np.array([0, 0]),
    'probabilities': np.array([[1, 0], [1, 0]], np.float32)})
  assert result['log_loss'] == pytest.approx(-np.log(2**-23) / 2, rel=1e-6)


@pytest.mark.parametrize('threshold', [0.2, 0.5, 0.9])
def test_metrics_at_a_threshold_equal_scikit_learn(threshold):
  out = outputs(80, 2)
  above = out['probabilities'][:, 1] >= threshold
  expected = {
    'f1': scikit.f1_score, 'precision': scikit.precision_score,
    'recall': scikit.recall_score, 'accuracy': scikit.accuracy_score,
    'balanced_accuracy': scikit.balanced_accuracy_score,
    'matthews': scikit.matthews_corrcoef,
    'specificity': lambda labels, above: scikit.recall_score(
      labels, above, pos_label=0)}
  assert metrics.at_threshold(out, threshold) == pytest.approx({
    f'{name}_at_threshold': score(out['labels'], above)
    for name, score in expected.items()})


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('specificity', [0.5, 0.9, 0.999])
def test_sensitivity_at_a_specificity_is_the_best_of_scikit_learns_roc_curve(
    specificity, weighted):
  out = outputs(80, 2)
  scores = np.round(out['probabilities'][:, 1], 2)  # with ties
  labels, rng = out['labels'], np.random.default_rng(0)
  weights = rng.uniform(0.5, 2, 80) if weighted else None
  threshold, found = metrics.at_specificity(labels, scores, specificity, weights)
  false, true, _ = scikit.roc_curve(
    labels, scores, sample_weight=weights, drop_intermediate=False)
  assert found == pytest.approx(true[1 - false >= specificity - 1e-9].max())
  above = scores >= threshold

  def recall(of):
    return scikit.recall_score(labels, above, pos_label=of, sample_weight=weights)

  assert recall(1) == pytest.approx(found) and recall(0) >= specificity - 1e-9
  out['probabilities'] = np.stack([1 - scores, scores], 1)
  given = out | ({'weights': weights} if weighted else {})
  name = f'sensitivity_at_specificity_{specificity}'
  assert metrics.classification(given, specificity=specificity)[name] == (
    pytest.approx(found))


def test_sensitivity_at_a_specificity_that_only_no_alarm_has():
  labels, scores = np.array([0, 1, 1]), np.array([0.9, 0.8, 0.1])
  threshold, found = metrics.at_specificity(labels, scores, 0.9)
  assert found == 0 and threshold > 0.9


def test_classification_leaves_its_arguments_alone():
  out = outputs(30, 3)
  out['probabilities'] = out['probabilities'].astype(np.float64)
  before = {name: array.copy() for name, array in out.items()}
  metrics.classification(out)
  for name in out:
    np.testing.assert_array_equal(out[name], before[name])
