"""Tests of metrics of rankings, against plain loops."""

import math

import numpy as np
import pytest

from bigmodels import metrics


def expected(above, equal):
  """The mean over every order of the items with equal scores, by a plain loop."""
  total = dict.fromkeys(('hr1', 'hr5', 'hr10', 'hr20', 'ndcg10', 'mrr'), 0.0)
  for a, e in zip(above, equal, strict=True):
    for rank in range(a + 1, a + e + 2):
      share = 1 / (e + 1) / len(above)
      for k in (1, 5, 10, 20):
        total[f'hr{k}'] += share * (rank <= k)
      total['ndcg10'] += share * (1 / math.log2(rank + 1) if rank <= 10 else 0)
      total['mrr'] += share / rank
  return total


@pytest.mark.parametrize('ties', [0, 3, 40])
def test_equal_a_plain_loop(ties):
  rng = np.random.default_rng(ties)
  above, equal = rng.integers(0, 60, 50), rng.integers(0, ties + 1, 50)
  found = metrics.ranking(above, equal)
  assert found.keys() == expected(above, equal).keys()
  for name, value in expected(above, equal).items():
    assert found[name] == pytest.approx(value, abs=1e-12), name


def test_the_best_rank_is_perfect_and_equal_scores_are_chance():
  zeros = np.zeros(4, int)
  assert set(metrics.ranking(zeros, zeros).values()) == {1.0}
  found = metrics.ranking(zeros, np.full(4, 100))
  assert found['hr10'] == pytest.approx(10 / 101)
  assert found['hr1'] == pytest.approx(1 / 101)


def test_ndcg_is_that_of_scikit_learn():
  from sklearn.metrics import ndcg_score

  rng = np.random.default_rng(0)
  scores = rng.normal(size=(30, 40))
  relevant = np.eye(40)[rng.integers(0, 40, 30)]
  of_target = (scores * relevant).sum(1)[:, None]
  found = metrics.ranking((scores > of_target).sum(1), np.zeros(30, int))
  assert found['ndcg10'] == pytest.approx(ndcg_score(relevant, scores, k=10))


def test_no_example_has_no_metric():
  assert metrics.ranking(np.zeros(0, int), np.zeros(0, int)) == {}


def test_coverage_and_the_order_of_metrics():
  outputs = {f'{prefix}{name}': np.array([0, 3]) for name in ('above', 'equal')
             for prefix in ('', 'sampled_', 'popularity_', 'popularity_sampled_')}
  outputs |= {'recommended': np.array([[0, 1], [1, -1]]), 'items': np.array([8, 8])}
  found = metrics.recommendation(outputs)
  assert found['coverage'] == 2 / 8
  assert [*found][:2] == ['hr10', 'ndcg10']
  assert len(found) == 4 * 6 + 1
