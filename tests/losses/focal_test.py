"""The focal loss against torchvision's formula and closed forms."""

import jax
import numpy as np
import optax
import pytest

from bigmodels import losses

RNG = np.random.default_rng(0)
LOGITS = (4 * RNG.normal(size=(20, 3))).astype(np.float32)
LABELS = RNG.integers(3, size=20)


def torchvision(inputs, targets, alpha, gamma):
  """`sigmoid_focal_loss` of torchvision.ops, in NumPy."""
  p = 1 / (1 + np.exp(-inputs))
  ce = np.where(targets == 1, -np.log(p), -np.log(1 - p))
  p_t = p * targets + (1 - p) * (1 - targets)
  loss = ce * (1 - p_t) ** gamma
  if alpha is not None:
    loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
  return loss


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize('alpha', [None, 0.25])
def test_two_classes_equal_torchvision(gamma, alpha):
  labels = LABELS % 2
  found = losses.focal(LOGITS[:, :1], labels, gamma=gamma, alpha=alpha)
  expected = torchvision(LOGITS[:, 0].astype(np.float64), labels, alpha, gamma)
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
  two = np.concatenate([np.zeros_like(LOGITS[:, :1]), LOGITS[:, :1]], 1)
  np.testing.assert_allclose(losses.focal(two, labels, gamma=gamma, alpha=alpha), found,
                             rtol=1e-6)


def test_gamma_0_is_the_cross_entropy_of_optax():
  np.testing.assert_allclose(
    losses.focal(LOGITS, LABELS, gamma=0.0),
    optax.softmax_cross_entropy_with_integer_labels(LOGITS, LABELS), rtol=1e-5,
    atol=1e-6)


def test_a_weight_for_each_class_and_fractions_of_classes():
  whole = losses.focal(LOGITS, LABELS, alpha=(1.0, 2.0, 0.5))
  plain = losses.focal(LOGITS, LABELS)
  np.testing.assert_allclose(whole, plain * np.array([1, 2, 0.5])[LABELS], rtol=1e-6)
  rows = np.eye(3, dtype=np.float32)
  mixed = 0.75 * rows[LABELS] + 0.25 * rows[(LABELS + 1) % 3]
  np.testing.assert_allclose(
    losses.focal(LOGITS, mixed),
    0.75 * plain + 0.25 * losses.focal(LOGITS, (LABELS + 1) % 3), rtol=1e-5)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_gradients_are_finite_where_the_label_is_certain(gamma):
  logits = np.array([[200.0, -200.0], [-200.0, 200.0]], np.float32)
  gradient = jax.grad(
    lambda x: losses.focal(x, np.array([0, 0]), gamma=gamma).sum())(logits)
  assert np.isfinite(gradient).all() and np.abs(gradient[1]).sum() > 0.5


@pytest.mark.parametrize('given, message', [
  ({'gamma': -1.0}, 'focal: gamma must be >= 0, got -1.0'),
  ({'alpha': 0.25}, 'focal: alpha must be a weight >= 0 for each of the 3 classes'),
  ({'alpha': (1.0, -1.0, 1.0)}, 'focal: alpha must be a weight >= 0'),
  ({'alpha': (1.0, 1.0)}, 'focal: alpha must be a weight >= 0 for each of the 3'),
])
def test_wrong_settings_are_refused(given, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    losses.focal(LOGITS, LABELS, **given)


def test_fractions_of_other_classes_are_refused():
  with pytest.raises(ValueError, match=r'\(20, 3\), got labels \(20, 2\)'):
    losses.focal(LOGITS, np.ones((20, 2), np.float32))


def test_the_loss_of_a_heatmap_without_gaussians_is_torchvisions():
  targets = (LABELS % 2).astype(np.float32)
  found = losses.heatmap_focal(LOGITS[:, 0], targets)
  np.testing.assert_allclose(found, torchvision(
    LOGITS[:, 0].astype(np.float64), targets, None, 2), rtol=2e-5, atol=1e-6)


def test_the_loss_of_a_heatmap_is_that_of_the_paper():
  """Equation 1 of CornerNet, with alpha 2 and beta 4."""
  targets = RNG.choice([0.0, 0.3, 0.9, 1.0], 20)
  p = 1 / (1 + np.exp(-LOGITS[:, 1].astype(np.float64)))
  expected = np.where(targets == 1, -(1 - p) ** 2 * np.log(p),
                      -((1 - targets) ** 4) * p**2 * np.log(1 - p))
  np.testing.assert_allclose(
    losses.heatmap_focal(LOGITS[:, 1], targets.astype(np.float32)), expected,
    rtol=1e-4, atol=1e-6)
