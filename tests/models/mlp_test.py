"""Tests of bigmodels.models.mlp against NumPy and closed forms."""

import itertools
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Linear, Mlp

KEY = jax.random.key(0)
INPUTS = np.random.default_rng(0).normal(size=(8, 3, 2)).astype(np.float32)


def init(model, inputs=INPUTS):
  return jax.jit(partial(model.init, train=False))(KEY, inputs)


def count(variables):
  return sum(math.prod(p.shape) for p in jax.tree.leaves(variables['params']))


def test_linear_is_one_affine_map_of_the_flattened_inputs():
  model = Linear(4)
  variables = init(model)
  layer = variables['params']['Dense_0']
  layer['bias'] = jnp.arange(4.0)
  expected = INPUTS.reshape(8, 6) @ np.asarray(layer['kernel']) + np.arange(4)
  for train in (True, False):
    np.testing.assert_allclose(
      model.apply(variables, INPUTS, train=train), expected, atol=1e-5)
  assert count(variables) == 6 * 4 + 4


@pytest.mark.parametrize('activation, numpy', [
  (nn.relu, lambda x: np.maximum(x, 0)), (nn.tanh, np.tanh)])
def test_mlp_equals_numpy(activation, numpy):
  model = Mlp(2, (5, 7), activation=activation)
  variables = init(model)
  layers = variables['params']
  assert sorted(layers) == ['Dense_0', 'Dense_1', 'Dense_2']
  x = INPUTS.reshape(8, 6)
  for name in ('Dense_0', 'Dense_1', 'Dense_2'):
    layers[name]['bias'] = jnp.linspace(-1, 1, len(layers[name]['bias']))
    x = x @ np.asarray(layers[name]['kernel']) + np.asarray(layers[name]['bias'])
    x = x if name == 'Dense_2' else numpy(x)
  actual = model.apply(variables, INPUTS, train=False)
  np.testing.assert_allclose(actual, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('widths', [(), (5,), (5, 7, 3)])
def test_parameter_count(widths):
  shapes = jax.eval_shape(lambda: init(Mlp(2, widths)))
  sizes = (6, *widths, 2)
  assert count(shapes) == sum(a * b + b for a, b in itertools.pairwise(sizes))
  shapes = jax.eval_shape(lambda: init(Mlp(2, widths, batch_norm=True)))
  plain = sum(a * b + b for a, b in itertools.pairwise(sizes))
  # A scale and a bias each, in place of the layer's own bias.
  assert count(shapes) == plain + (2 - 1) * sum(widths)


def test_dropout_acts_in_training_only_and_keeps_the_mean():
  model = Mlp(1, (4000,), dropout=0.25, activation=lambda x: x)
  variables = init(model)
  layers = variables['params']
  # Every hidden unit is 1, and the answer their mean.
  layers['Dense_0'] = {'kernel': jnp.zeros((6, 4000)), 'bias': jnp.ones(4000)}
  layers['Dense_1'] = {'kernel': jnp.full((4000, 1), 1 / 4000), 'bias': jnp.zeros(1)}

  def answer(train, key=KEY):
    return np.asarray(
      model.apply(variables, INPUTS, train=train, rngs={'dropout': key}))

  np.testing.assert_allclose(answer(False), 1.0, rtol=1e-5)
  kept = answer(True) * 0.75  # the share that was not left out
  assert len(np.unique(kept)) > 1  # each example has its own
  deviation = math.sqrt(0.25 * 0.75 / 4000)
  np.testing.assert_allclose(kept, 0.75, atol=5 * deviation)
  assert np.std(kept) > deviation / 4
  assert not np.array_equal(answer(True), answer(True, jax.random.key(1)))
  np.testing.assert_array_equal(answer(True), answer(True))


def test_batch_norm_updates_its_statistics_in_training_only():
  model = Mlp(2, (5,), batch_norm=True)
  variables = init(model)
  layers = variables['params']
  before = variables['batch_stats']['BatchNorm_0']
  hidden = INPUTS.reshape(8, 6) @ np.asarray(layers['Dense_0']['kernel'])

  def finish(normal):
    out = layers['Dense_1']
    return np.maximum(normal, 0) @ np.asarray(out['kernel']) + np.asarray(out['bias'])

  answer, updated = model.apply(variables, INPUTS, train=True, mutable=['batch_stats'])
  normal = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
  np.testing.assert_allclose(answer, finish(normal), atol=1e-4)
  after = updated['batch_stats']['BatchNorm_0']
  np.testing.assert_allclose(
    after['mean'], 0.99 * before['mean'] + 0.01 * hidden.mean(0), atol=1e-6)
  np.testing.assert_allclose(
    after['var'], 0.99 * before['var'] + 0.01 * hidden.var(0), atol=1e-6)

  answer, updated = model.apply(variables, INPUTS, train=False, mutable=['batch_stats'])
  np.testing.assert_allclose(answer, finish(hidden / np.sqrt(1 + 1e-5)), atol=1e-4)
  for name in ('mean', 'var'):
    np.testing.assert_array_equal(
      updated['batch_stats']['BatchNorm_0'][name], before[name])


@pytest.mark.parametrize('kernel_init, variance', [
  (nn.initializers.he_normal, 2 / 300),
  (nn.initializers.glorot_normal, 2 / (300 + 200)),
  (nn.initializers.glorot_uniform, 2 / (300 + 200)),
  (nn.initializers.lecun_normal, 1 / 300),
  (partial(nn.initializers.normal, 0.01), 1e-4),
  (partial(nn.initializers.variance_scaling, 1.0, 'fan_in', 'normal'), 1 / 300),
])
def test_initialisers_have_their_variance(kernel_init, variance):
  shape = jnp.zeros((1, 300))
  layers = init(Mlp(2, (200,), kernel_init=kernel_init), shape)['params']
  kernel = np.asarray(layers['Dense_0']['kernel'], np.float64)
  n = kernel.size
  assert kernel.mean() == pytest.approx(0, abs=5 * math.sqrt(variance / n))
  # Five deviations of a normal sample's variance; the others' are smaller.
  assert kernel.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))
  for layer in layers.values():
    np.testing.assert_array_equal(layer['bias'], 0)


def test_linear_takes_an_initialiser():
  layers = init(Linear(3, kernel_init=nn.initializers.ones_init))['params']
  np.testing.assert_array_equal(layers['Dense_0']['kernel'], 1)


@pytest.mark.parametrize('dropout', [-0.1, 1.0, 1.5, float('nan')])
def test_bad_dropout_is_refused(dropout):
  with pytest.raises(ValueError, match='dropout: must be >= 0'):
    Mlp(2, dropout=dropout)
