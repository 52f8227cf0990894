"""Tests of metrics.selection: against a loop."""

import numpy as np
import pytest

from bigmodels import metrics


def test_hits_and_mrr_are_those_of_a_loop():
  rng = np.random.default_rng(0)
  scores = rng.integers(0, 6, (200, 10)).astype(np.float32)  # with ties
  ranks = []
  for row in scores:
    ordered = sorted(range(10), key=lambda i: (-row[i], i == 0))  # the right one last
    ranks.append(ordered.index(0) + 1)
  assert metrics.ranks(scores).tolist() == ranks
  found = metrics.selection({'scores': scores})
  for k in (1, 2, 5):
    assert found[f'hits@{k}'] == pytest.approx(sum(r <= k for r in ranks) / 200)
  assert found['mrr'] == pytest.approx(sum(1 / r for r in ranks) / 200)


def test_equal_scores_and_nan_are_no_hits():
  scores = np.array([[1, 1, 1], [np.nan, 0, 0], [1, np.nan, 0], [3, 2, 1]])
  assert metrics.ranks(scores).tolist() == [3, 3, 2, 1]
  assert metrics.ranks(scores[3:], np.array([2])).tolist() == [3]
  assert set(metrics.selection({'scores': scores})) == {'hits@1', 'hits@2', 'mrr'}
  assert metrics.selection({'scores': scores[:0]}) == {}
