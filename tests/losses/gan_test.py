"""Tests of GAN losses and gradient penalties against NumPy and lax.conv in float64."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from bigmodels import losses
from bigmodels.layers import convolution
from bigmodels.layers.cpu.convolution import conv_by_lax

RNG = np.random.default_rng(0)
LOGITS = (3 * RNG.normal(size=(12, 4))).astype(np.float32)
EXTREME = 1e30


def sigmoid(logits):
  return 1 / (1 + np.exp(-logits.astype(np.float64)))


LOSSES = {
  'non_saturating_gan': lambda real, made: (
    -np.log(sigmoid(real)) - np.log(1 - sigmoid(made)), -np.log(sigmoid(made))),
  'wasserstein_gan': lambda real, made: (made - real, -made),
  'hinge_gan': lambda real, made: (
    np.maximum(0, 1 - real) + np.maximum(0, 1 + made), -made)}


@pytest.mark.parametrize('name', LOSSES)
def test_losses_are_those_of_the_papers(name):
  real, made = LOGITS[:, 0], LOGITS[:, 1]
  expected = LOSSES[name](real.astype(np.float64), made.astype(np.float64))
  actual = getattr(losses, name)(real, made)
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == (12,)
    np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-7)
  assert min(real.min(), made.min()) < -1 and max(real.max(), made.max()) > 1


@pytest.mark.parametrize('name', LOSSES)
def test_losses_and_their_gradients_are_finite_at_extreme_logits(name):
  real, made = jnp.float32([EXTREME, -EXTREME, 0]), jnp.float32([-EXTREME, EXTREME, 0])
  for i in (0, 1):
    value, gradients = jax.value_and_grad(
      lambda r, m, i=i: getattr(losses, name)(r, m)[i].sum(), (0, 1))(
        real, made)
    assert np.isfinite(value)
    assert all(np.isfinite(s).all() and np.abs(s).max() <= 1 for s in gradients)


def test_a_generator_that_fools_nobody_still_has_a_gradient():
  gradient = jax.grad(lambda x: losses.non_saturating_gan(x, x)[1].sum())
  np.testing.assert_allclose(gradient(jnp.float32([-30.0, 0.0])), [-1, -0.5], rtol=1e-6)


P, Q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.35, 0.2, 0.05])


def _best(name, start):
  """The discriminator's least loss over distributions p and q, and its logits."""
  def loss(logits):  # it is a sum of a function of `real` and one of `generated`
    nothing = jnp.zeros(4)
    gan_loss = getattr(losses, name)
    both = gan_loss(nothing, nothing)[0]
    return (P * (gan_loss(logits, nothing)[0] - both / 2)).sum() + (
      Q * (gan_loss(nothing, logits)[0] - both / 2)).sum()

  gradient = jax.grad(loss)
  logits = jax.jit(lambda x: jax.lax.fori_loop(
    0, 5000, lambda i, x: x - gradient(x) / (1 + 0.01 * i), x))(start)
  return float(loss(logits)), np.asarray(logits)


def test_the_best_discriminator_gives_the_jensen_shannon_divergence():
  mean = (P + Q) / 2
  divergence = ((P * np.log(P / mean)).sum() + (Q * np.log(Q / mean)).sum()) / 2
  value, logits = _best('non_saturating_gan', jnp.zeros(4))
  # Goodfellow et al., 2014: D = p / (p + q), and -C(G) of theorem 1.
  assert value == pytest.approx(2 * np.log(2) - 2 * divergence, rel=1e-5)
  np.testing.assert_allclose(logits, np.log(P / Q), atol=1e-3)


def test_the_best_discriminator_of_the_hinge_gives_the_total_variation():
  value, logits = _best('hinge_gan', jnp.float32([0.3, -0.2, 0.1, -0.4]))
  # Lim and Ye, 2017: a sign on either side of p = q, and 2 min(p, q) at each point.
  assert value == pytest.approx(2 * np.minimum(P, Q).sum(), rel=0.01)
  np.testing.assert_allclose(logits, np.sign(P - Q), atol=0.05)


def test_wasserstein_on_a_line_is_how_far_points_are_moved():
  real = jnp.float32([0.0, 1.0, 5.0])
  # With the critic -x, of gradient 1, all points moved by 2 are 2 away.
  critic, _ = losses.wasserstein_gan(-real, -(real + 2))
  assert -float(critic.mean()) == pytest.approx(2)


def test_losses_at_one_half():
  nothing = jnp.zeros(3)
  discriminator, generator = losses.non_saturating_gan(nothing, nothing)
  np.testing.assert_allclose(discriminator, np.full(3, 2 * np.log(2)), rtol=1e-6)
  np.testing.assert_allclose(generator, np.full(3, np.log(2)), rtol=1e-6)


REAL, MADE = (RNG.normal(size=(5, 4, 3, 2)).astype(np.float32) for _ in range(2))


@pytest.mark.parametrize('weight', [10.0, 0.5])
def test_the_penalty_of_a_linear_critic_is_that_of_the_norm_of_its_weights(weight):
  w = RNG.normal(size=REAL.shape[1:]).astype(np.float32)
  found = losses.gradient_penalty(
    lambda x: (x * w).sum((1, 2, 3)) - 3, REAL, MADE, jax.random.key(0), weight=weight)
  expected = weight * (np.linalg.norm(w.astype(np.float64).ravel()) - 1) ** 2
  np.testing.assert_allclose(found, np.full(5, expected), rtol=1e-5)


def test_the_penalty_is_taken_at_random_points_between_real_and_generated():
  curves = RNG.uniform(0.2, 2, REAL.shape[1:]).astype(np.float32)

  def penalty(key):
    return losses.gradient_penalty(  # the gradient is curves * x
      lambda x: (curves * x**2).sum((1, 2, 3)) / 2, REAL, MADE, key)

  key = jax.random.key(3)
  fraction = np.float64(jax.random.uniform(key, (5, 1, 1, 1)))
  assert len(np.unique(fraction)) == 5
  between = fraction * REAL + (1 - fraction) * MADE
  lengths = np.linalg.norm((curves * between).reshape(5, -1), axis=1)
  np.testing.assert_allclose(penalty(key), 10 * (lengths - 1) ** 2, rtol=1e-4)
  assert not np.allclose(penalty(key), penalty(jax.random.key(4)), rtol=1e-2)


def test_the_penalty_of_a_constant_critic_has_a_gradient():
  def penalty(w):
    return losses.gradient_penalty(lambda x: (w * x).sum((1, 2, 3)), REAL, MADE,
                                   jax.random.key(0)).sum()

  value, gradient = jax.value_and_grad(penalty)(jnp.zeros(REAL.shape[1:]))
  assert value == pytest.approx(50, rel=1e-4) and np.isfinite(gradient).all()


@pytest.mark.parametrize('gamma', [10.0, 0.1])
def test_r1_is_half_the_squared_gradient_norm_at_real_examples(gamma):
  curves = RNG.normal(size=REAL.shape[1:]).astype(np.float32)
  found = losses.r1(lambda x: (curves * x**2).sum((1, 2, 3)) / 2, REAL, MADE * np.nan,
                    jax.random.key(0), weight=gamma)
  gradients = (curves.astype(np.float64) * REAL).reshape(5, -1)
  np.testing.assert_allclose(found, gamma / 2 * (gradients**2).sum(1), rtol=1e-5)


def _critic(conv, up):
  def critic(params, x):
    x = jnp.tanh(conv(x, params['down']))
    return (jnp.tanh(up(x, params['up'])) * params['last']).sum((1, 2, 3))

  return critic


def _by_lax(x, kernel):
  return conv_by_lax(x, kernel, (2, 2), ((1, 1), (1, 1)))


def _up_by_lax(x, kernel):
  return lax.conv_transpose(x, kernel, (2, 2), ((2, 2), (2, 2)), transpose_kernel=True,
                            dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


OURS = _critic(functools.partial(convolution.conv, strides=(2, 2), padding=1),
               functools.partial(convolution.conv_transpose, strides=(2, 2), padding=1))
LAXS = _critic(_by_lax, _up_by_lax)
CHANNELS = {3: (3, 5), 8: (6, 6)}  # of the images; patches, and convolutions in order


@pytest.mark.parametrize('channels', CHANNELS)
@pytest.mark.parametrize('penalty', [losses.gradient_penalty, losses.r1])
def test_penalties_are_differentiated_through_convolutions(penalty, channels):
  rng = np.random.default_rng(channels)
  middle, out = CHANNELS[channels]
  real, made = (rng.normal(size=(3, 8, 8, channels)).astype(np.float32)
                for _ in range(2))
  params = {name: 0.3 * rng.normal(size=size) for name, size in {
    'down': (4, 4, channels, middle), 'up': (4, 4, out, middle),
    'last': (8, 8, out)}.items()}
  params = jax.tree.map(jnp.float32, params)

  def loss(critic, params):
    return penalty(functools.partial(critic, params), real, made, jax.random.key(0)
                   ).mean()

  (value, gradients), (known, expected) = (
    jax.jit(jax.value_and_grad(functools.partial(loss, critic)))(params)
    for critic in (OURS, LAXS))
  assert value == pytest.approx(float(known), rel=1e-4)
  for name in params:
    scale = np.abs(expected[name]).max()
    assert scale > 1e-3
    np.testing.assert_allclose(gradients[name], expected[name], atol=1e-4 * scale)
  # And the derivative along a direction, by differences.
  way = jax.tree.map(
    lambda x: jnp.float32(rng.normal(size=x.shape)) / np.sqrt(x.size), params)
  along = jax.jit(lambda t: loss(OURS, jax.tree.map(lambda p, w: p + t * w, params,
                                                      way)))
  gradient = sum(float((gradients[name] * way[name]).sum()) for name in params)
  found = (float(along(1e-2)) - float(along(-1e-2))) / 2e-2
  assert found == pytest.approx(gradient, rel=2e-2)


def test_penalties_are_differentiated_through_the_layers_of_a_model():
  images = jnp.asarray(RNG.normal(size=(2, 8, 8, 2)), jnp.float32)
  small = jnp.zeros((2, 4, 4, 3))
  ours = convolution.Conv(3, (4, 4), (2, 2), 1), convolution.ConvTranspose(2)
  flaxs = nn.Conv(3, (4, 4), (2, 2), 1), nn.ConvTranspose(
    2, (4, 4), (2, 2), ((2, 2), (2, 2)), transpose_kernel=True)
  params = tuple(jax.jit(layer.init)(jax.random.key(0), x)
                 for layer, x in zip(ours, (images, small), strict=True))

  def loss(layers, params):
    def critic(images):
      x = jnp.tanh(layers[0].apply(params[0], images))
      return (layers[1].apply(params[1], x) ** 2).sum((1, 2, 3))

    return losses.r1(critic, images, images, jax.random.key(0)).mean()

  actual, expected = (jax.jit(jax.grad(functools.partial(loss, layers)))(params)
                      for layers in (ours, flaxs))
  chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-4)
  assert all(np.abs(x).max() > 0.01 for x in jax.tree.leaves(actual))
