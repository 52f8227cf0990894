"""Tests of plots.two_classes: the net benefit against definitions and closed forms."""

import numpy as np
import pytest

from bigmodels import plots
from bigmodels.plots import two_classes
from tests.plots.rendering import render


def examples(n=300, seed=0):
  rng = np.random.default_rng(seed)
  probabilities = rng.random(n)
  return (rng.random(n) < probabilities).astype(int), probabilities


@pytest.mark.parametrize('weighted', [False, True])
def test_the_net_benefit_by_counting(weighted):
  labels, probabilities = examples()
  weights = np.random.default_rng(1).integers(0, 3, 300) if weighted else np.ones(300)
  cuts = np.array([0.0, 0.1, probabilities[5], 0.5, 0.9, 0.999])
  found = plots.net_benefit(labels, probabilities, cuts, weights if weighted else None)
  for cut, value in zip(cuts, found, strict=True):
    true = false = total = 0.0
    for label, p, weight in zip(labels, probabilities, weights, strict=True):
      total += weight
      true += weight * (p >= cut and label == 1)
      false += weight * (p >= cut and label == 0)
    assert value == pytest.approx(true / total - false / total * cut / (1 - cut))


def test_the_net_benefit_of_calibrated_uniform_probabilities():
  """It is the integral of p - (1 - p) t / (1 - t) over p from t to 1: (1 - t) / 2."""
  grid = (np.arange(100_000) + 0.5) / 100_000
  # Each probability p as an anomaly of weight p and another of weight 1 - p.
  labels, both = np.repeat([1, 0], len(grid)), np.concatenate([grid, grid])
  weights = np.concatenate([grid, 1 - grid])
  cuts = np.linspace(0, 0.95, 20)
  found = plots.net_benefit(labels, both, cuts, weights)
  np.testing.assert_allclose(found, (1 - cuts) / 2, atol=1e-4)


def test_acting_on_all_is_a_closed_form():
  labels, _ = examples()
  cuts, rate = np.linspace(0, 0.9, 10), labels.mean()
  found = plots.net_benefit(labels, np.ones(300), cuts)
  np.testing.assert_allclose(found, rate - (1 - rate) * cuts / (1 - cuts))


def test_the_decision_curve_has_three_strategies_and_the_threshold():
  labels, probabilities = examples()
  figure = two_classes.decision_curve(two_classes.Scored(
    labels, probabilities, np.ones(300), 'disease', 0.2))
  axes, = figure.axes
  lines = {line.get_label(): line for line in axes.lines}
  assert [*lines] == ['act on all', 'act on none', 'act by the model',
                      'threshold 0.200']
  cuts, ours = lines['act by the model'].get_data()
  np.testing.assert_allclose(ours, plots.net_benefit(labels, probabilities, cuts))
  assert ours[0] == pytest.approx(labels.mean())
  render({'': figure})


def test_every_classifier_of_two_classes_has_one():
  labels, probabilities = examples()
  outputs = {'labels': labels, 'predictions': (probabilities > 0.5).astype(int),
             'probabilities': np.stack([1 - probabilities, probabilities], 1)}
  assert 'Decision curve' in plots.classification(outputs, None, None)
  three = {**outputs, 'probabilities': np.stack([1 - probabilities, probabilities,
                                                 0 * probabilities], 1)}
  assert 'Decision curve' not in plots.classification(three, None, None)
  assert 'Decision curve' not in plots.classification(
    {**outputs, 'labels': np.zeros(300, int)}, None, None)
