"""Tests of plots.anomaly: what is drawn, and odd splits."""

import numpy as np
import pytest
from sklearn import metrics

from bigmodels import plots
from bigmodels.plots import Inputs
from bigmodels.plots.anomaly import HIGHEST
from tests.plots.rendering import render

NAMES = ('age', 'price', 'ward=a', 'ward=b')


def outputs(n=80, labels=True, seed=0):
  rng = np.random.default_rng(seed)
  found = {'scores': rng.gamma(2, size=n).astype(np.float32), 'row': np.arange(n) + 5,
           'which': rng.permuted(np.tile(np.arange(4), (n, 1)), axis=1)[:, :3],
           'shares': np.tile([0.5, 0.25, 0.0], (n, 1))}
  if labels:
    found['labels'] = (found['scores'] > 3).astype(int)
  return found


def inputs(rows):
  return [{'age': str(row), 'ward': 'b'} for row in rows]


def test_with_labels_there_are_two_curves_and_two_histograms():
  given = outputs()
  given['scores'][3] = 9
  drawn = plots.anomaly(given, Inputs(None, inputs, NAMES), None, threshold=2.0)
  assert [*drawn] == ['Scores', 'ROC curve', 'Precision and recall', 'Highest scores']
  area = metrics.roc_auc_score(given['labels'], given['scores'])
  assert f'AUC {area:.4f}' in drawn['ROC curve'].axes[0].get_title(loc='left')
  precise = metrics.average_precision_score(given['labels'], given['scores'])
  assert f'average precision {precise:.4f}' in (
    drawn['Precision and recall'].axes[0].get_title(loc='left'))
  axes = drawn['Scores'].axes[0]
  count = given['labels'].sum()
  assert [text.get_text() for text in axes.get_legend().texts] == [
    f'others, {80 - count}', f'anomalies, {count}']
  for container in axes.containers:
    assert sum(bar.get_height() for bar in container) == pytest.approx(1)
  flagged = np.mean(given['scores'] >= 2)
  assert f'threshold 2: {flagged:.2%} are flagged' in axes.get_title(loc='left')
  render({name: drawn[name] for name in [*drawn][:3]})


def test_the_highest_scores_come_first_with_what_they_are_due_to():
  given = outputs(labels=False)
  table = plots.anomaly(given, Inputs(None, inputs, NAMES), None)['Highest scores']
  assert table.columns == ('row', 'score', 'by', 'age', 'ward')
  order = np.argsort(-given['scores'])[:HIGHEST]
  assert [row[0] for row in table.rows] == [str(5 + i) for i in order]
  for row, i in zip(table.rows, order, strict=True):
    first, second, _ = given['which'][i]
    assert row[1] == f'{given["scores"][i]:.4g}'
    assert row[2] == f'{NAMES[first]} 50%, {NAMES[second]} 25%'
    assert row[3:] == (str(i), 'b')


def test_without_names_inputs_are_numbered():
  given = outputs(5, labels=False)
  table = plots.anomaly(given, None, None)['Highest scores']
  assert table.columns == ('row', 'score', 'by') and len(table.rows) == 5
  which = given['which'][np.argmax(given['scores'])][0]
  assert table.rows[0][2].startswith(f'input {which} 50%')


@pytest.mark.parametrize('scores', [
  np.zeros(6), np.full(6, 3.0), [0, 0, 0, 1e-30, 1, 1e30], [np.nan, 1, 2, 3, 4, 5],
  [1]])
def test_odd_scores_are_drawn(scores):
  given = outputs(len(scores), labels=False)
  given['scores'] = np.asarray(scores, np.float32)
  drawn = plots.anomaly(given, None, None, threshold=float(np.nanmax(scores)))
  assert [*drawn] == ['Scores', 'Highest scores']
  render({'': drawn['Scores']})


def test_labels_of_one_kind_have_no_curves():
  given = outputs()
  given['labels'][:] = 0
  drawn = plots.anomaly(given, None, None)
  assert [*drawn] == ['Scores', 'Highest scores']
  render({'': drawn['Scores']})


def test_scores_that_are_never_finite_draw_nothing():
  given = outputs(3)
  given['scores'][:] = np.inf
  assert plots.anomaly(given, None, None) == {}
