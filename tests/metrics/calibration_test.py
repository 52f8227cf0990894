"""Tests of metrics.calibration against SciPy, a closed form, and invariants."""

import numpy as np
import pytest
from scipy import optimize, special

from bigmodels import metrics


def examples(n=400, classes=3, sharpness=3.0, seed=0):
  """Labels drawn from probabilities, and these made too sure."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(n, classes))
  true = special.softmax(logits, -1)
  labels = (true.cumsum(-1) < rng.random((n, 1))).sum(-1).clip(max=classes - 1)
  return labels, special.softmax(sharpness * logits, -1).astype(np.float32)


@pytest.mark.parametrize('classes', [2, 3])
@pytest.mark.parametrize('sharpness', [0.3, 1.0, 3.0])
def test_it_is_the_minimum_that_scipy_finds(classes, sharpness):
  labels, probabilities = examples(classes=classes, sharpness=sharpness)
  found = metrics.temperature(labels, probabilities)

  def loss(log):
    logits = np.log(np.float64(probabilities)) / np.exp(log)
    return -special.log_softmax(logits, -1)[np.arange(len(labels)), labels].mean()

  theirs = optimize.minimize_scalar(loss, bounds=(-4, 4), options={'xatol': 1e-9})
  assert found == pytest.approx(np.exp(theirs.x), rel=1e-4)


def test_weights_are_as_examples_that_occur_more_often():
  labels, probabilities = examples(n=60)
  weights = np.arange(60) % 4
  found = metrics.temperature(labels, probabilities, weights)
  assert found == pytest.approx(metrics.temperature(
    labels.repeat(weights), probabilities.repeat(weights, 0)), rel=1e-5)


def test_probabilities_that_were_made_too_sure_are_made_right_again():
  labels, probabilities = examples(20_000, sharpness=3.0)
  assert metrics.temperature(labels, probabilities) == pytest.approx(3, rel=0.05)


def test_two_classes_of_equal_confidence_become_the_accuracy():
  """All are sure by p, and right in a share a of cases: the temperature makes p a."""
  labels = np.array([0] * 70 + [1] * 30)
  probabilities = np.tile([0.9, 0.1], (100, 1))
  found = metrics.temperature(labels, probabilities)
  np.testing.assert_allclose(
    metrics.at_temperature(probabilities, found), np.tile([0.7, 0.3], (100, 1)),
    rtol=1e-5)


def test_it_keeps_the_order_and_1_changes_nothing():
  labels, probabilities = examples()
  np.testing.assert_allclose(
    metrics.at_temperature(probabilities, 1.0), probabilities, rtol=1e-6)
  found = metrics.at_temperature(
    probabilities, metrics.temperature(labels, probabilities))
  np.testing.assert_array_equal(found.argmax(-1), probabilities.argmax(-1))
  np.testing.assert_allclose(found.sum(-1), 1)


def test_probabilities_that_are_always_right_or_always_wrong_end_at_a_limit():
  for labels, expected in (([0] * 9, 0.01), ([1] * 9, 100)):
    found = metrics.temperature(np.array(labels), np.tile([0.8, 0.2], (9, 1)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_probabilities_of_zero_stay_finite():
  probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
  found = metrics.temperature(np.array([0, 1, 1]), probabilities)
  assert np.isfinite(metrics.at_temperature(probabilities, found)).all()
