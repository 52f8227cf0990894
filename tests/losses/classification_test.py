"""Tests of losses of logits against scikit-learn and NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import log_loss

from bigmodels import losses

RNG = np.random.default_rng(0)
LOGITS = (3 * RNG.normal(size=(12, 4))).astype(np.float32)
LABELS = np.arange(12) % 4
ONE = LOGITS[:, :1]
BITS = RNG.permutation(np.arange(12) % 2)
EXTREME = 1e30


def softmax(logits):
  shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
  return shifted / shifted.sum(-1, keepdims=True)


def sigmoid(logits):
  return 1 / (1 + np.exp(-logits.astype(np.float64)))


def test_cross_entropy_is_the_log_loss_of_scikit_learn():
  for row in range(12):
    expected = log_loss(LABELS[row : row + 1], softmax(LOGITS[row : row + 1]),
                        labels=range(4))
    actual = losses.cross_entropy(LOGITS[row : row + 1], LABELS[row : row + 1])
    np.testing.assert_allclose(actual, [expected], rtol=2e-5)


def test_cross_entropy_of_one_logit_is_the_log_loss_of_its_sigmoid():
  actual = losses.cross_entropy(ONE, BITS)
  p = sigmoid(ONE[:, 0])
  np.testing.assert_allclose(
    actual, -np.log(np.where(BITS == 1, p, 1 - p)), rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(np.mean(actual), log_loss(BITS, p), rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0.1, 0.5, 1.0])
def test_smoothing_spreads_a_fraction_over_all_classes(smoothing):
  logs = np.log(softmax(LOGITS))
  expected = [-(1 - smoothing) * logs[i, y] - smoothing * logs[i].mean()
              for i, y in enumerate(LABELS)]
  actual = losses.cross_entropy(LOGITS, LABELS, smoothing=smoothing)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_equals_that_of_one_hot_labels(smoothing):
  logits = (3 * RNG.normal(size=(2, 3, 7))).astype(np.float32)
  labels = RNG.integers(0, 7, (2, 3))
  rows = optax.smooth_labels(jax.nn.one_hot(labels, 7), smoothing)

  def loss(logits):
    return losses.cross_entropy(logits, labels, smoothing=smoothing).sum()

  actual = losses.cross_entropy(logits, labels, smoothing=smoothing)
  assert actual.shape == (2, 3)
  np.testing.assert_allclose(
    actual, optax.softmax_cross_entropy(logits, rows), rtol=1e-5)
  np.testing.assert_allclose(jax.grad(loss)(logits), softmax(logits) - rows, atol=1e-6)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_of_probabilities_equals_numpy(smoothing):
  targets = RNG.dirichlet(np.ones(4), 12).astype(np.float32)
  smooth = (1 - smoothing) * targets + smoothing / 4
  actual = losses.cross_entropy(LOGITS, jnp.asarray(targets), smoothing=smoothing)
  np.testing.assert_allclose(
    actual, -(smooth * np.log(softmax(LOGITS))).sum(-1), rtol=2e-5)
  hard = losses.cross_entropy(LOGITS, jax.nn.one_hot(LABELS, 4), smoothing=smoothing)
  np.testing.assert_allclose(
    hard, losses.cross_entropy(LOGITS, LABELS, smoothing=smoothing), rtol=2e-5)


def test_probabilities_for_one_logit_are_of_two_classes():
  targets = np.stack([1 - 0.3 * BITS, 0.3 * BITS], -1).astype(np.float32)
  p = sigmoid(ONE[:, 0])
  expected = -targets[:, 0] * np.log(1 - p) - targets[:, 1] * np.log(p)
  np.testing.assert_allclose(
    losses.cross_entropy(ONE, jnp.asarray(targets)), expected, rtol=1e-5)
  with pytest.raises(ValueError, match=r'\(12, 2\), got labels \(12, 4\)'):
    losses.cross_entropy(ONE, jnp.ones((12, 4)))


def test_smoothing_of_one_logit_spreads_over_two_classes():
  p = sigmoid(ONE[:, 0])
  truth = np.where(BITS == 1, 0.9, 0.1)
  expected = -truth * np.log(p) - (1 - truth) * np.log(1 - p)
  actual = losses.cross_entropy(ONE, BITS, smoothing=0.2)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_hinge_of_one_logit():
  expected = [max(0.0, 1 - (1 if y else -1) * float(x))
              for x, y in zip(ONE[:, 0], BITS, strict=True)]
  assert 0 in expected and max(expected) > 1
  np.testing.assert_allclose(losses.hinge(ONE, BITS), expected, rtol=1e-6)


def test_hinge_of_many_is_the_margin_over_the_best_wrong_class():
  expected = [
    max(0.0, 1 + max(float(s) for j, s in enumerate(row) if j != y) - float(row[y]))
    for row, y in zip(LOGITS, LABELS, strict=True)]
  assert 0 in expected and max(expected) > 1
  np.testing.assert_allclose(losses.hinge(LOGITS, LABELS), expected, rtol=1e-5)


@pytest.mark.parametrize('logits', [
  [[EXTREME, -EXTREME, 0.0]], [[0.0, 0.0, EXTREME]], [[-EXTREME] * 3],
  [[EXTREME]], [[-EXTREME]],
])
@pytest.mark.parametrize('label', [0, 1])
def test_gradient_of_cross_entropy_is_finite_at_extreme_logits(logits, label):
  logits = np.float32(logits)
  value, gradient = jax.value_and_grad(
    lambda x: losses.cross_entropy(x, jnp.array([label])).sum())(logits)
  assert np.isfinite(value)
  if len(logits[0]) == 1:
    expected = [[(1.0 if logits[0, 0] > 0 else 0.0) - label]]
  else:
    expected = softmax(logits) - np.eye(3)[[label]]
  np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize('classes', [1, 3])
def test_gradient_of_hinge_is_finite_at_extreme_logits(classes):
  logits = np.full((2, classes), EXTREME, np.float32) * [[1], [-1]]
  gradient = jax.grad(lambda x: losses.hinge(x, jnp.array([0, 1])).sum())(
    logits.astype(np.float32))
  assert np.all(np.isfinite(gradient))
  if classes == 1:  # both on the wrong side: slope against the label
    np.testing.assert_array_equal(gradient, [[1.0], [-1.0]])


def test_probabilities_are_softmax_and_sigmoid():
  np.testing.assert_allclose(losses.probabilities(LOGITS), softmax(LOGITS), rtol=1e-5)
  p = sigmoid(ONE[:, 0])
  np.testing.assert_allclose(
    losses.probabilities(ONE), np.stack([1 - p, p], -1), rtol=2e-5, atol=1e-7)


def test_class_indices_on_devices_that_gather_slowly(monkeypatch):
  logits = (3 * RNG.normal(size=(2, 3, 7))).astype(np.float32)
  labels = np.array([[0, 6, 3], [-1, 7, 2]])  # from the end; out of range

  def loss(logits):
    values = losses.cross_entropy(logits, labels)
    return jnp.sum(jnp.where(labels < 7, jnp.sin(values), 0)), values

  expected = jax.grad(loss, has_aux=True)(logits)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  found = jax.grad(loss, has_aux=True)(logits)
  assert np.isnan(found[1][1, 1]) and np.isfinite(found[1]).sum() == 5
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
               found, expected)
