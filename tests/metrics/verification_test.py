"""Tests of bigmodels.metrics.verification, against scikit-learn and loops."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from bigmodels import metrics


def outputs(seed=0, n=60, decimals=None):
  """Embeddings of people, and pairs of them."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 15, n)
  x = rng.normal(size=(15, 4))[labels] + rng.normal(size=(n, 4))
  x /= np.linalg.norm(x, axis=1, keepdims=True)
  partners = np.stack([rng.permutation(n)[:8] for _ in range(n)])
  partners[rng.uniform(size=partners.shape) < 0.3] = -1
  if decimals is not None:  # many equal similarities
    x = np.round(x, decimals)
  return {'embeddings': x, 'labels': labels, 'row': np.arange(n), 'partners': partners}


def listed(found):
  """Whether pairs are the same, and their similarities, by a loop."""
  same, scores = [], []
  for a, each in enumerate(found['partners']):
    for b in each[each >= 0]:
      same.append(found['labels'][a] == found['labels'][b])
      scores.append(found['embeddings'][a] @ found['embeddings'][b])
  return np.array(same), np.array(scores)


@pytest.mark.parametrize('decimals', [None, 0])
def test_curves_are_scikit_learns(decimals):
  given = outputs(decimals=decimals)
  same, scores = listed(given)
  found = metrics.verification(given, rates=(0.5, 0.1, 0.01, 1e-9))
  assert found['roc_auc'] == pytest.approx(roc_auc_score(same, scores))
  false, true, _ = roc_curve(same, scores, drop_intermediate=False)
  for rate in (0.5, 0.1, 0.01):
    assert found[f'tar@{rate:g}'] == pytest.approx(true[false <= rate].max())
  assert 'tar@1e-09' not in found  # less than one pair


@pytest.mark.parametrize('decimals', [None, 0])
def test_the_best_threshold_is_the_best_of_all(decimals):
  given = outputs(1, decimals=decimals)
  same, scores = listed(given)
  threshold, accuracy = metrics.best_similarity(given)

  def balanced(cut):
    return (np.mean(scores[same] >= cut) + np.mean(scores[~same] < cut)) / 2

  cuts = [-2, 2, *((np.unique(scores)[1:] + np.unique(scores)[:-1]) / 2)]
  assert accuracy == pytest.approx(max(map(balanced, cuts)))
  assert balanced(threshold) == pytest.approx(accuracy)
  decided = metrics.verified(given, threshold)
  assert decided['accuracy'] == pytest.approx(np.mean((scores >= threshold) == same))
  assert decided['true_accept_rate'] == pytest.approx(
    np.mean(scores[same] >= threshold))
  assert decided['false_accept_rate'] == pytest.approx(
    np.mean(scores[~same] >= threshold))


def test_rank_1_is_the_nearest_other_example():
  given = outputs(2, n=40)
  x, labels, right = given['embeddings'], given['labels'], []
  for i in range(len(x)):
    if np.count_nonzero(labels == labels[i]) > 1:
      others = [j for j in range(len(x)) if j != i]
      right.append(labels[max(others, key=lambda j: x[i] @ x[j])] == labels[i])
  assert metrics.rank_1(x, labels) == pytest.approx(np.mean(right))
  assert metrics.rank_1(x, np.arange(len(x))) is None


def test_pairs_of_masked_examples_are_left_out():
  given = outputs(3)
  kept = np.flatnonzero(given['row'] % 7 != 0)
  found = metrics.pairs({name: values[kept] for name, values in given.items()})
  expected = {(a, b) for a in kept for b in given['partners'][a] if b in kept}
  assert {*zip(kept[found.first], kept[found.second], strict=True)} == expected
  np.testing.assert_array_equal(
    found.same, given['labels'][kept][found.first] == given['labels'][kept][
      found.second])


def test_without_pairs_of_both_kinds_there_is_no_curve():
  given = outputs(4)
  del given['partners']
  assert [*metrics.verification(given)] == ['rank_1']
  assert metrics.best_similarity(given) is None and metrics.verified(given, 0.5) == {}
  one = {**outputs(4), 'labels': np.zeros(60, int)}
  assert [*metrics.verification(one)] == ['rank_1']
  assert metrics.best_similarity(one) is None
  broken = outputs(4)
  broken['embeddings'][3] = np.nan
  assert metrics.verification(broken) == {}
  assert metrics.best_similarity(broken) is None
