"""Tests of metrics.anomaly against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as scikit

from bigmodels import metrics


def outputs(n=200, seed=0, ties=False):
  rng = np.random.default_rng(seed)
  labels = (rng.random(n) < 0.1).astype(np.int32)
  scores = rng.gamma(2, size=n) + labels
  return {'scores': (np.round(scores) if ties else scores).astype(np.float32),
          'labels': labels}


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('weighted', [False, True])
def test_they_are_those_of_scikit_learn(ties, weighted):
  given, weights = outputs(ties=ties), None
  if weighted:
    weights = np.random.default_rng(1).integers(0, 4, 200).astype(np.float32)
    given['weights'] = weights
  found = metrics.anomaly(given)
  for name, score in (('roc_auc', scikit.roc_auc_score),
                      ('average_precision', scikit.average_precision_score)):
    assert found[name] == pytest.approx(
      score(given['labels'], given['scores'], sample_weight=weights))
  at = float(np.sort(given['scores'])[-20])
  above = given['scores'] >= at
  found = metrics.flagged(given, at)
  assert found['flagged'] == pytest.approx(np.average(above, weights=weights))
  for name in ('precision', 'recall', 'f1'):
    assert found[f'{name}_at_threshold'] == pytest.approx(getattr(
      scikit, f'{name}_score')(given['labels'], above, sample_weight=weights))


def test_without_labels_only_the_flagged_are_counted():
  scores = np.arange(10, dtype=np.float32)
  assert metrics.anomaly({'scores': scores}) == {}
  assert metrics.flagged({'scores': scores}, 8) == {'flagged': pytest.approx(0.2)}


@pytest.mark.parametrize('label', [0, 1])
def test_labels_of_one_kind_rank_nothing(label):
  given = {'scores': np.arange(4.0), 'labels': np.full(4, label)}
  assert metrics.anomaly(given) == {}
  assert metrics.flagged(given, 2).keys() == {'flagged'}


def test_scores_that_are_not_finite_rank_nothing():
  given = outputs()
  given['scores'][3] = np.nan
  assert metrics.anomaly(given) == {}


def test_a_threshold_above_all_scores_flags_nothing():
  found = metrics.flagged(outputs(), 1e9)
  assert found == dict.fromkeys(
    ('flagged', 'precision_at_threshold', 'recall_at_threshold', 'f1_at_threshold'), 0)
