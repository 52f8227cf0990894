"""Tests of bigmodels.metrics against scikit-learn and definitions written out."""

import itertools
import math

import numpy as np
import pytest
from scipy import linalg
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
  """Classes that are absent, one example, ties: whatever chance gives."""
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
  there = np.union1d(labels, predictions)
  for name, score in (('precision', scikit.precision_score),
                      ('recall', scikit.recall_score), ('f1', scikit.f1_score)):
    assert result[name] == pytest.approx(score(labels, predictions, average='macro'))
    each = dict(zip(there, score(labels, predictions, average=None), strict=True))
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


@pytest.mark.parametrize('targets', [1, 3])
def test_regression_equals_definitions_and_scikit_learn(targets):
  rng = np.random.default_rng(0)
  y = (100 + 5 * rng.normal(size=(50, targets))).astype(np.float32)
  p = y + rng.normal(size=y.shape).astype(np.float32)
  result = metrics.regression({'targets': y, 'predictions': p})
  y, p = y.astype(np.float64), p.astype(np.float64)
  errors = y - p
  assert result['mse'] == pytest.approx(np.mean(errors**2))
  assert result['mae'] == pytest.approx(np.mean(np.abs(errors)))
  explained = 1 - (errors**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
  assert result['r2'] == pytest.approx(explained.mean())
  assert result['r2'] == pytest.approx(scikit.r2_score(y, p))


@pytest.mark.parametrize('y', [
  np.full((7, 1), 0.1, np.float32),
  np.stack([np.full(7, 1 / 3), np.arange(7)], -1).astype(np.float32),
  np.ones((1, 1), np.float32),
  np.full((3, 1), 0.1),  # whose deviation in float64 is 1.4e-17
  np.zeros((5, 1)), np.full((9, 3), 1e-3),
])
def test_targets_that_never_change_leave_r2_out(y):
  result = metrics.regression({'targets': y, 'predictions': y + 2})
  assert set(result) == {'mse', 'mae'}
  assert result['mse'] == pytest.approx(4)
  assert result['mae'] == pytest.approx(2)


# R2 by hand: 1 - sum of squared errors / sum of squared distances from the mean.
@pytest.mark.parametrize('targets, predictions, mse, mae, r2', [
  ([0, 2], [0, 2], 0, 0, 1),
  ([0, 2], [1, 1], 1, 1, 0),
  ([0, 2], [2, 0], 4, 2, -3),
  ([1, 2, 3], [1, 2, 6], 3, 1, -3.5),
  ([5], [3], 4, 2, None),  # one example
  ([5, 5], [5, 5], 0, 0, None),
  ([5, 5], [4, 7], 2.5, 1.5, None),
  ([[0, 5], [2, 5]], [[0, 5], [2, 5]], 0, 0, None),
  ([[0, 1], [2, 3]], [[0, 1], [2, 3]], 0, 0, 1),
  ([[0, 1], [2, 3]], [[1, 1], [1, 3]], 0.5, 0.5, 0.5),  # the mean of 0 and 1
  ([1e9, 1e9 + 64], [1e9, 1e9 + 64], 0, 0, 1),
  ([1e-30, 2e-30], [1e-30, 2e-30], 0, 0, 1),
])
def test_regression_by_hand(targets, predictions, mse, mae, r2):
  targets, predictions = (np.array(x, np.float32).reshape(len(x), -1)
                          for x in (targets, predictions))
  expected = {'mse': mse, 'mae': mae} | ({} if r2 is None else {'r2': r2})
  assert metrics.regression({'targets': targets, 'predictions': predictions}) == (
    pytest.approx(expected))


def test_targets_and_predictions_are_never_broadcast():
  out = {'targets': np.zeros(3), 'predictions': np.zeros((3, 1))}
  with pytest.raises(ValueError, match=r'targets are \(3,\), predictions \(3, 1\)'):
    metrics.regression(out)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_targets_not_finite_give_nan(bad):
  y = np.arange(4.0)[:, None]
  result = metrics.regression({'targets': np.where(y == 2, bad, y), 'predictions': y})
  assert all(math.isnan(value) for value in result.values())


@pytest.mark.parametrize('bad', [np.nan, -np.inf])
def test_predictions_not_finite_give_nan(bad):
  y = np.arange(4.0)[:, None]
  result = metrics.regression({'targets': y, 'predictions': np.where(y == 2, bad, y)})
  assert set(result) == {'mse', 'mae'}
  assert all(math.isnan(value) for value in result.values())


# --- language -------------------------------------------------------------------


def test_perplexity_is_of_all_tokens_not_of_texts():
  out = {'nats': np.float32([8, 0, 1]) * np.float32(np.log(2)),
         'tokens': np.float32([1, 0, 2])}
  assert metrics.language(out) == {'perplexity': pytest.approx(8)}  # 9 bits, 3 tokens
  # 2 to the 3 bits that a token takes, e to the nats.
  assert metrics.language({'nats': np.full(4, 2.5), 'tokens': np.full(4, 5)}) == {
    'perplexity': pytest.approx(math.exp(0.5))}


def test_perplexity_of_nothing_and_of_too_much():
  nothing = {'nats': np.zeros(3), 'tokens': np.zeros(3)}
  assert metrics.language(nothing) == {}
  worst = {'nats': np.float32([1e30]), 'tokens': np.float32([1])}
  assert metrics.language(worst) == {'perplexity': math.inf}
  broken = {'nats': np.float32([np.nan, 1]), 'tokens': np.float32([1, 1])}
  assert math.isnan(metrics.language(broken)['perplexity'])


def test_perplexity_adds_up_in_double_precision():
  n = 200_000
  out = {'nats': np.full(n, 0.1, np.float32), 'tokens': np.ones(n, np.float32)}
  expected = math.exp(float(np.float32(0.1)))
  assert metrics.language(out)['perplexity'] == pytest.approx(expected, rel=1e-9)


def bleu(translation, reference):
  """Papineni et al., equations 1 to 3, for one pair of texts of words."""
  one, two, logs = translation.split(), reference.split(), []
  for n in range(1, 5):
    found, known = ([tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
                    for words in (one, two))
    right = sum(min(found.count(gram), known.count(gram)) for gram in set(found))
    logs.append(math.log(right / len(found)))
  return 100 * math.exp(min(0, 1 - len(two) / len(one)) + sum(logs) / 4)


@pytest.mark.parametrize(('translation', 'reference'), [
  ('the cat sat on the mat', 'the cat sat on the mat'),
  ('the cat sat on a mat today', 'the cat sat on the mat'),
  ('the the cat sat on the', 'the cat sat on the old mat with a hat')])
def test_bleu_by_its_definition(translation, reference):
  found = metrics.bleu([translation], [reference])
  assert found == {'bleu': pytest.approx(bleu(translation, reference))}


def test_bleu_is_of_the_corpus_cased_and_of_detokenised_text():
  references = ['A dog runs in the park.', 'Two men sit here.']
  assert metrics.bleu(references, references) == {'bleu': pytest.approx(100)}
  lower = metrics.bleu([text.lower() for text in references], references)
  # Lengths are of all texts together: what one lacks another may have too much of.
  apart = metrics.bleu(['A dog runs in the park.', 'Two men sit here on it.'],
                       ['A dog runs in the park now.', 'Two men sit here.'])
  assert 0 < lower['bleu'] < 100 and 0 < apart['bleu'] < 100
  # By hand: 7 + 5 of 7 + 7 words are right, 5 + 3 pairs, ...; a full stop is a word.
  ratios = [12 / 14, 8 / 12, 6 / 10, 4 / 8]
  assert apart['bleu'] == pytest.approx(100 * math.prod(ratios) ** 0.25)


def test_bleu_of_texts_without_a_word():
  assert metrics.bleu(['', ''], ['a b', 'c']) == {'bleu': 0.0}


# --- generation -----------------------------------------------------------------


def features(count, width=6, seed=0):
  """Features whose covariance is not diagonal."""
  chance = np.random.default_rng(seed)
  mixed = chance.normal(size=(count, width)) @ chance.normal(size=(width, width))
  return (mixed + chance.normal(size=width)).astype(np.float32)


@pytest.mark.parametrize('width', [1, 2, 6])
def test_frechet_is_the_formula_by_a_root_of_the_product(width):
  first, second = features(40, width), features(55, width, 1)
  a, b = (np.cov(x.astype(np.float64), rowvar=False).reshape(width, width)
          for x in (first, second))
  apart = (first.mean(0, dtype=np.float64) - second.mean(0, dtype=np.float64)) ** 2
  expected = apart.sum() + np.trace(a + b - 2 * np.real(linalg.sqrtm(a @ b)))
  found = metrics.frechet(first, second)
  assert found == pytest.approx(expected, rel=1e-6) and found > 0.01
  assert metrics.frechet(second, first) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize('count', [4, 40])  # of fewer than the width, no full rank
def test_frechet_of_a_copy_that_is_moved_or_scaled(count):
  first = features(count).astype(np.float64)
  size = np.trace(np.cov(first, rowvar=False))
  assert metrics.frechet(first, first) == pytest.approx(0, abs=1e-6 * size)
  assert metrics.frechet(first, first[::-1] + 0.5) == pytest.approx(
    6 * 0.25, abs=1e-6 * size)
  mean = first.mean(0)
  for scale in (3.0, 0.0):
    moved = mean + scale * (first - mean)
    assert metrics.frechet(first, moved) == pytest.approx(
      size * (1 - scale) ** 2, rel=1e-6)


def test_frechet_of_independent_features_adds_up():
  signs = np.array(list(itertools.product((-1, 1), repeat=3)), np.float64)
  one, two = np.array([1.0, 2, 3]), np.array([4.0, 2, 0])
  centre = np.array([1.0, 0, -2])
  # Signs are uncorrelated, of variance 8 / 7 with the sample's correction.
  expected = (centre**2).sum() + 8 / 7 * ((one - two) ** 2).sum()
  assert metrics.frechet(signs * one, signs * two + centre) == pytest.approx(expected)


def among(points, others, neighbours):
  """Kynkaanniemi et al., 2019, equations 1 and 2, one pair after the other."""
  inside = []
  for other in others:
    within = False
    for i, point in enumerate(points):
      away = sorted(math.dist(point, p) for j, p in enumerate(points) if j != i)
      within |= math.dist(point, other) <= away[neighbours - 1]
    inside.append(within)
  return np.mean(inside)


@pytest.mark.parametrize('width', [1, 3, 20])
@pytest.mark.parametrize('neighbours', [1, 3])
def test_precision_and_recall_equal_two_loops(width, neighbours):
  chance = np.random.default_rng(width)
  real = chance.normal(size=(25, width)).astype(np.float32)
  made = (0.5 + 0.7 * chance.normal(size=(18, width))).astype(np.float32)
  found = metrics.precision_recall(real, made, neighbours)
  expected = among(real, made, neighbours), among(made, real, neighbours)
  assert found == pytest.approx(expected)
  assert expected[0] != expected[1] and 0 < min(expected) < 1


def test_a_point_as_far_away_as_the_neighbour_is_among_them():
  real = np.array([[0.0], [1], [3], [7]])  # whose nearest are 1, 1, 2 and 4 away
  made = np.array([[11.0], [12], [-1], [-2]])
  assert metrics.precision_recall(real, made, 1) == (0.5, 0.25)


def test_the_same_has_all_of_both_and_what_is_far_away_nothing():
  real = features(30)
  assert metrics.precision_recall(real, real.copy()) == (1, 1)
  assert metrics.precision_recall(real, real + 1000) == (0, 0)
  # All in one place that is real: what is made is good, and little of all there is.
  near = real[:1] + 1e-3 * features(10, seed=2)
  precision, recall = metrics.precision_recall(real, near)
  assert precision == 1 and recall == pytest.approx(1 / 30)


@pytest.mark.parametrize('real, made', [(3, 9), (9, 3)])
def test_points_without_so_many_neighbours_are_refused(real, made):
  with pytest.raises(ValueError, match=f'neighbours: wants fewer than the {real} real '
                     f'and {made} generated points, got 3'):
    metrics.precision_recall(features(real), features(made))


def test_generation_compares_what_its_names_say():
  made, real, train = features(30, seed=1), features(20, seed=2), features(25, seed=3)
  found = metrics.generation({'generated': made, 'real': real, 'train': train}, 2)
  precision, recall = metrics.precision_recall(real, made, 2)
  assert found == {
    'frechet': metrics.frechet(made, train),
    'frechet_real': metrics.frechet(real, train),
    'precision': precision, 'recall': recall}
  assert precision != recall
