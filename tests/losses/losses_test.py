"""Tests of bigmodels.losses against scikit-learn and NumPy in float64."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import lax
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error

from bigmodels import losses
from bigmodels.layers import convolution

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
def test_smoothing_spreads_a_share_over_all_classes(smoothing):
  logs = np.log(softmax(LOGITS))
  expected = [-(1 - smoothing) * logs[i, y] - smoothing * logs[i].mean()
              for i, y in enumerate(LABELS)]
  actual = losses.cross_entropy(LOGITS, LABELS, smoothing=smoothing)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_is_that_of_labels_as_rows_of_numbers(smoothing):
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
def test_cross_entropy_of_shares_is_that_of_numpy(smoothing):
  shares = RNG.dirichlet(np.ones(4), 12).astype(np.float32)
  smooth = (1 - smoothing) * shares + smoothing / 4
  actual = losses.cross_entropy(LOGITS, jnp.asarray(shares), smoothing=smoothing)
  np.testing.assert_allclose(
    actual, -(smooth * np.log(softmax(LOGITS))).sum(-1), rtol=2e-5)
  hard = losses.cross_entropy(LOGITS, jax.nn.one_hot(LABELS, 4), smoothing=smoothing)
  np.testing.assert_allclose(
    hard, losses.cross_entropy(LOGITS, LABELS, smoothing=smoothing), rtol=2e-5)


def test_shares_of_one_logit_are_of_two_classes():
  shares = np.stack([1 - 0.3 * BITS, 0.3 * BITS], -1).astype(np.float32)
  p = sigmoid(ONE[:, 0])
  expected = -shares[:, 0] * np.log(1 - p) - shares[:, 1] * np.log(p)
  np.testing.assert_allclose(
    losses.cross_entropy(ONE, jnp.asarray(shares)), expected, rtol=1e-5)
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


@pytest.mark.parametrize('loss, expected', [
  (losses.squared_error, mean_squared_error),
  (losses.absolute_error, mean_absolute_error),
])
def test_errors_are_means_over_the_targets(loss, expected):
  a, b = LOGITS, LOGITS[::-1]
  np.testing.assert_allclose(
    loss(a, b), [expected(x, y) for x, y in zip(a, b, strict=True)], rtol=1e-6)


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


# --- two adversaries ------------------------------------------------------------

GAMES = {
  'non_saturating_gan': lambda real, made: (
    -np.log(sigmoid(real)) - np.log(1 - sigmoid(made)), -np.log(sigmoid(made))),
  'wasserstein_gan': lambda real, made: (made - real, -made),
  'hinge_gan': lambda real, made: (
    np.maximum(0, 1 - real) + np.maximum(0, 1 + made), -made)}


@pytest.mark.parametrize('name', GAMES)
def test_games_are_those_of_the_papers(name):
  real, made = LOGITS[:, 0], LOGITS[:, 1]
  expected = GAMES[name](real.astype(np.float64), made.astype(np.float64))
  actual = getattr(losses, name)(real, made)
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == (12,)
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-7)
  assert min(real.min(), made.min()) < -1 and max(real.max(), made.max()) > 1


@pytest.mark.parametrize('name', GAMES)
def test_games_and_their_gradients_are_finite_at_extreme_logits(name):
  real, made = jnp.float32([EXTREME, -EXTREME, 0]), jnp.float32([-EXTREME, EXTREME, 0])
  for place in (0, 1):
    value, slopes = jax.value_and_grad(
      lambda r, m, place=place: getattr(losses, name)(r, m)[place].sum(), (0, 1))(
        real, made)
    assert np.isfinite(value)
    assert all(np.isfinite(s).all() and np.abs(s).max() <= 1 for s in slopes)


def test_a_generator_that_is_found_out_still_has_a_slope():
  slope = jax.grad(lambda x: losses.non_saturating_gan(x, x)[1].sum())
  np.testing.assert_allclose(slope(jnp.float32([-30.0, 0.0])), [-1, -0.5], rtol=1e-6)


P, Q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.35, 0.2, 0.05])


def _best(name, start):
  """The discriminator's least loss over distributions p and q, and its logits."""
  def loss(logits):  # it is a sum of a function of `real` and one of `generated`
    nothing = jnp.zeros(4)
    game = getattr(losses, name)
    both = game(nothing, nothing)[0]
    return (P * (game(logits, nothing)[0] - both / 2)).sum() + (
      Q * (game(nothing, logits)[0] - both / 2)).sum()

  slope = jax.grad(loss)
  logits = jax.jit(lambda x: jax.lax.fori_loop(
    0, 5000, lambda i, x: x - slope(x) / (1 + 0.01 * i), x))(start)
  return float(loss(logits)), np.asarray(logits)


def test_the_best_discriminator_tells_the_divergence_of_jensen_and_shannon():
  mean = (P + Q) / 2
  divergence = ((P * np.log(P / mean)).sum() + (Q * np.log(Q / mean)).sum()) / 2
  value, logits = _best('non_saturating_gan', jnp.zeros(4))
  # Goodfellow et al., 2014: D = p / (p + q), and -C(G) of theorem 1.
  assert value == pytest.approx(2 * np.log(2) - 2 * divergence, rel=1e-5)
  np.testing.assert_allclose(logits, np.log(P / Q), atol=1e-3)


def test_the_best_discriminator_of_the_hinge_tells_the_total_variation():
  value, logits = _best('hinge_gan', jnp.float32([0.3, -0.2, 0.1, -0.4]))
  # Lim and Ye, 2017: a sign on either side of p = q, and 2 min(p, q) at each point.
  assert value == pytest.approx(2 * np.minimum(P, Q).sum(), rel=0.01)
  np.testing.assert_allclose(logits, np.sign(P - Q), atol=0.05)


def test_wasserstein_on_a_line_is_how_far_points_are_moved():
  real = jnp.float32([0.0, 1.0, 5.0])
  # With the critic -x, of slope 1, all points moved by 2 are 2 away.
  critic, _ = losses.wasserstein_gan(-real, -(real + 2))
  assert -float(critic.mean()) == pytest.approx(2)


def test_nobody_knows_at_one_half():
  nothing = jnp.zeros(3)
  judge, make = losses.non_saturating_gan(nothing, nothing)
  np.testing.assert_allclose(judge, np.full(3, 2 * np.log(2)), rtol=1e-6)
  np.testing.assert_allclose(make, np.full(3, np.log(2)), rtol=1e-6)


REAL, MADE = (RNG.normal(size=(5, 4, 3, 2)).astype(np.float32) for _ in range(2))


@pytest.mark.parametrize('weight', [10.0, 0.5])
def test_the_penalty_of_a_linear_critic_is_of_the_length_of_its_weights(weight):
  w = RNG.normal(size=REAL.shape[1:]).astype(np.float32)
  found = losses.gradient_penalty(
    lambda x: (x * w).sum((1, 2, 3)) - 3, REAL, MADE, jax.random.key(0), weight=weight)
  expected = weight * (np.linalg.norm(w.astype(np.float64).ravel()) - 1) ** 2
  np.testing.assert_allclose(found, np.full(5, expected), rtol=1e-5)


def test_the_penalty_is_taken_between_real_and_generated_at_a_share_each():
  curves = RNG.uniform(0.2, 2, REAL.shape[1:]).astype(np.float32)

  def penalty(key):
    return losses.gradient_penalty(  # the slope is curves * x
      lambda x: (curves * x**2).sum((1, 2, 3)) / 2, REAL, MADE, key)

  key = jax.random.key(3)
  share = np.float64(jax.random.uniform(key, (5, 1, 1, 1)))
  assert len(np.unique(share)) == 5
  between = share * REAL + (1 - share) * MADE
  lengths = np.linalg.norm((curves * between).reshape(5, -1), axis=1)
  np.testing.assert_allclose(penalty(key), 10 * (lengths - 1) ** 2, rtol=1e-4)
  assert not np.allclose(penalty(key), penalty(jax.random.key(4)), rtol=1e-2)


def test_a_critic_without_a_slope_has_a_penalty_with_a_gradient():
  def penalty(w):
    return losses.gradient_penalty(lambda x: (w * x).sum((1, 2, 3)), REAL, MADE,
                                   jax.random.key(0)).sum()

  value, slope = jax.value_and_grad(penalty)(jnp.zeros(REAL.shape[1:]))
  assert value == pytest.approx(50, rel=1e-4) and np.isfinite(slope).all()


@pytest.mark.parametrize('gamma', [10.0, 0.1])
def test_r1_is_half_the_squared_slope_at_real_examples(gamma):
  curves = RNG.normal(size=REAL.shape[1:]).astype(np.float32)
  found = losses.r1(lambda x: (curves * x**2).sum((1, 2, 3)) / 2, REAL, MADE * np.nan,
                    jax.random.key(0), weight=gamma)
  slopes = (curves.astype(np.float64) * REAL).reshape(5, -1)
  np.testing.assert_allclose(found, gamma / 2 * (slopes**2).sum(1), rtol=1e-5)


def _critic(conv, up):
  def judge(params, x):
    x = jnp.tanh(conv(x, params['down']))
    return (jnp.tanh(up(x, params['up'])) * params['last']).sum((1, 2, 3))

  return judge


def _by_lax(x, kernel):
  return convolution.conv_by_lax(x, kernel, (2, 2), ((1, 1), (1, 1)))


def _up_by_lax(x, kernel):
  return lax.conv_transpose(x, kernel, (2, 2), ((2, 2), (2, 2)), transpose_kernel=True,
                            dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


OURS = _critic(functools.partial(convolution.conv, strides=(2, 2), padding=1),
               functools.partial(convolution.conv_transpose, strides=(2, 2), padding=1))
LAXS = _critic(_by_lax, _up_by_lax)
CHANNELS = {3: (3, 5), 8: (6, 6)}  # of the images; patches, and convolutions in order


@pytest.mark.parametrize('channels', CHANNELS)
@pytest.mark.parametrize('penalty', [losses.gradient_penalty, losses.r1])
def test_penalties_are_derived_through_convolutions(penalty, channels):
  chance = np.random.default_rng(channels)
  middle, out = CHANNELS[channels]
  real, made = (chance.normal(size=(3, 8, 8, channels)).astype(np.float32)
                for _ in range(2))
  params = {name: 0.3 * chance.normal(size=size) for name, size in {
    'down': (4, 4, channels, middle), 'up': (4, 4, out, middle),
    'last': (8, 8, out)}.items()}
  params = jax.tree.map(jnp.float32, params)

  def loss(judge, params):
    return penalty(functools.partial(judge, params), real, made, jax.random.key(0)
                   ).mean()

  (value, slopes), (known, wanted) = (
    jax.jit(jax.value_and_grad(functools.partial(loss, judge)))(params)
    for judge in (OURS, LAXS))
  assert value == pytest.approx(float(known), rel=1e-4)
  for name in params:
    scale = np.abs(wanted[name]).max()
    assert scale > 1e-3
    np.testing.assert_allclose(slopes[name], wanted[name], atol=1e-4 * scale)
  # And the derivative along a direction, by differences.
  way = jax.tree.map(
    lambda x: jnp.float32(chance.normal(size=x.shape)) / np.sqrt(x.size), params)
  along = jax.jit(lambda t: loss(OURS, jax.tree.map(lambda p, w: p + t * w, params,
                                                      way)))
  slope = sum(float((slopes[name] * way[name]).sum()) for name in params)
  found = (float(along(1e-2)) - float(along(-1e-2))) / 2e-2
  assert found == pytest.approx(slope, rel=2e-2)


def test_penalties_are_derived_through_the_layers_of_a_model():
  images = jnp.asarray(RNG.normal(size=(2, 8, 8, 2)), jnp.float32)
  small = jnp.zeros((2, 4, 4, 3))
  ours = convolution.Conv(3, (4, 4), (2, 2), 1), convolution.ConvTranspose(2)
  flaxs = nn.Conv(3, (4, 4), (2, 2), 1), nn.ConvTranspose(
    2, (4, 4), (2, 2), ((2, 2), (2, 2)), transpose_kernel=True)
  params = tuple(jax.jit(layer.init)(jax.random.key(0), x)
                 for layer, x in zip(ours, (images, small), strict=True))

  def loss(layers, params):
    def judge(images):
      x = jnp.tanh(layers[0].apply(params[0], images))
      return (layers[1].apply(params[1], x) ** 2).sum((1, 2, 3))

    return losses.r1(judge, images, images, jax.random.key(0)).mean()

  actual, expected = (jax.jit(jax.grad(functools.partial(loss, layers)))(params)
                      for layers in (ours, flaxs))
  chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-4)
  assert all(np.abs(x).max() > 0.01 for x in jax.tree.leaves(actual))
