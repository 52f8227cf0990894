"""Tests of bigmodels.models.cnn against Flax's own layers and closed forms."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Cnn

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).normal(size=(4, 9, 8, 3)).astype(np.float32)


def init(model, inputs=IMAGES):
  """Parameters of NumPy's, which need no compilation; statistics as they begin."""
  rng = np.random.default_rng(0)
  variables = shapes(model, *inputs.shape[1:])
  variables['params'] = jax.tree.map(
    lambda p: rng.normal(0, 0.3, p.shape).astype(np.float32), variables['params'])
  for layer in jax.tree.leaves(variables.get('batch_stats', {}),
                               is_leaf=lambda x: 'mean' in x):
    layer['mean'] = np.zeros(layer['mean'].shape, np.float32)
    layer['var'] = np.ones(layer['var'].shape, np.float32)
  return variables


@partial(jax.jit, static_argnames=('model', 'train', 'mutable'))
def apply(model, variables, images=IMAGES, *, train, mutable=False, rngs=None):
  return model.apply(variables, images, train=train, mutable=mutable, rngs=rngs)


def shapes(model, *size):
  return jax.eval_shape(
    lambda x: model.init(KEY, x, train=False), jnp.zeros((1, *size)))


def count(variables):
  return sum(math.prod(p.shape) for p in jax.tree.leaves(variables['params']))


@partial(jax.jit, static_argnames=('widths', 'pools', 'act', 'pool', 'kernel',
                                  'padding', 'pool_first'))
def reference(params, x, *, widths, pools, act, pool=nn.max_pool, kernel=3,
              padding='SAME', pool_first=False):
  """The same network of Flax's layers: activation, then pooling."""
  for i, (width, window) in enumerate(zip(widths, pools, strict=True)):
    conv = nn.Conv(width, (kernel, kernel), padding=padding)
    x = conv.apply({'params': params[f'Conv_{i}']}, x)
    window = (window, window)
    x = act(pool(x, window, window)) if pool_first else pool(act(x), window, window)
  x = x.reshape(len(x), -1)
  head = params['head']
  for i in range(len(head)):
    x = x @ head[f'Dense_{i}']['kernel'] + head[f'Dense_{i}']['bias']
    x = act(x) if i < len(head) - 1 else x
  return x


def test_parameter_count_of_the_cifar_network():
  variables = shapes(Cnn(10, (64, 128), hidden=(1024,)), 32, 32, 3)
  expected = [(3 * 3 * 3 + 1) * 64, (3 * 3 * 64 + 1) * 128,
              (8 * 8 * 128 + 1) * 1024, (1024 + 1) * 10]
  assert sum(expected) == 8_475_530
  assert count(variables) == 8_475_530


def test_parameter_count_with_batch_norm():
  variables = shapes(Cnn(10, (4, 8), hidden=(16,), batch_norm=True), 8, 8, 1)
  convolutions = 9 * 4 + 9 * 4 * 8  # no biases: the normalisation has them
  dense = 2 * 2 * 8 * 16 + (16 + 1) * 10
  assert count(variables) == convolutions + dense + 2 * (4 + 8 + 16)
  statistics = jax.tree.leaves(variables['batch_stats'])
  assert sum(math.prod(s.shape) for s in statistics) == 2 * (4 + 8 + 16)


@pytest.mark.parametrize('keywords, flat', [
  ({}, 2 * 2 * 8),
  ({'pool': 1}, 9 * 8 * 8),
  ({'pool': (3, 1)}, 3 * 2 * 8),
  ({'padding': 'VALID', 'pool': (2, 1)}, 1 * 1 * 8),
  ({'kernel': 5, 'padding': 'VALID', 'pool': 1}, 1 * 1 * 8),
])
def test_shapes(keywords, flat):
  size = (9, 9) if keywords.get('kernel') == 5 else (9, 8)
  model = Cnn(10, (4, 8), hidden=(6,), **keywords)
  variables = shapes(model, *size, 3)
  assert variables['params']['head']['Dense_0']['kernel'].shape == (flat, 6)
  answer = jax.eval_shape(
    lambda v, x: model.apply(v, x, train=False), variables, jnp.zeros((7, *size, 3)))
  assert answer.shape == (7, 10)


@pytest.mark.parametrize('act', [nn.relu, nn.tanh])
def test_rising_activations_after_the_pooling_give_the_same(act):
  model = Cnn(5, (4, 6), pool=(2, 3), hidden=(7,), activation=act)
  variables = init(model)
  expected = reference(
    variables['params'], IMAGES, widths=(4, 6), pools=(2, 3), act=act)
  actual = apply(model, variables, train=False)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_other_activations_come_before_the_pooling():
  model = Cnn(5, (4, 6), hidden=(7,), activation=nn.gelu)
  variables = init(model)
  # Lower, so that windows lie where the activation falls.
  for i in range(2):
    variables['params'][f'Conv_{i}']['bias'] -= 2.0
  keywords = {'widths': (4, 6), 'pools': (2, 2), 'act': nn.gelu}
  actual = apply(model, variables, train=False)
  right = reference(variables['params'], IMAGES, **keywords)
  wrong = reference(variables['params'], IMAGES, pool_first=True, **keywords)
  np.testing.assert_allclose(actual, right, rtol=1e-4, atol=1e-5)
  assert np.abs(actual - wrong).max() > 1e-3


def test_average_pooling_comes_after_the_activation():
  model = Cnn(5, (4, 6), kernel=2, padding='VALID', hidden=(), pooling='average')
  variables = init(model)
  keywords = {'widths': (4, 6), 'pools': (2, 2), 'act': nn.relu, 'pool': nn.avg_pool,
              'kernel': 2, 'padding': 'VALID'}
  actual = apply(model, variables, train=False)
  right = reference(variables['params'], IMAGES, **keywords)
  wrong = reference(variables['params'], IMAGES, pool_first=True, **keywords)
  np.testing.assert_allclose(actual, right, rtol=1e-4, atol=1e-5)
  assert np.abs(actual - wrong).max() > 1e-2


@pytest.mark.parametrize('keywords', [{'dropout': 0.5}, {'conv_dropout': 0.5}])
def test_dropout_acts_in_training_only(keywords):
  plain, model = Cnn(5, (4,), hidden=(7,)), Cnn(5, (4,), hidden=(7,), **keywords)
  variables = init(plain)
  expected = apply(plain, variables, train=False)
  np.testing.assert_array_equal(apply(model, variables, train=False), expected)
  np.testing.assert_array_equal(apply(plain, variables, train=True), expected)
  one, same, other = (
    apply(model, variables, train=True, rngs={'dropout': jax.random.key(seed)})
    for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, same)
  assert not np.allclose(one, expected) and not np.allclose(one, other)


def test_convolution_dropout_leaves_out_its_share():
  model = Cnn(1, (1,), hidden=(), pool=1, conv_dropout=0.2)
  images = np.ones((1, 64, 64, 1), np.float32)
  params = init(model, images)['params']
  params['Conv_0'] = {'kernel': jnp.zeros((3, 3, 1, 1)), 'bias': jnp.ones(1)}
  params['head']['Dense_0'] = {
    'kernel': jnp.full((64**2, 1), 1 / 64**2), 'bias': jnp.zeros(1)}
  answer = apply(model, {'params': params}, images, train=True, rngs={'dropout': KEY})
  kept = 0.8 * float(answer[0, 0])
  assert kept != 0.8
  assert kept == pytest.approx(0.8, abs=5 * math.sqrt(0.2 * 0.8) / 64)


def test_batch_norm_updates_its_statistics_in_training_only():
  model = Cnn(5, (4,), hidden=(), batch_norm=True)
  variables = init(model)
  conv = nn.Conv(4, (3, 3), use_bias=False)
  hidden = np.asarray(conv.apply({'params': variables['params']['Conv_0']}, IMAGES))
  _, trained = apply(model, variables, train=True, mutable=('batch_stats',))
  _, evaluated = apply(model, variables, train=False, mutable=('batch_stats',))
  after = trained['batch_stats']['BatchNorm_0']
  np.testing.assert_allclose(after['mean'], 0.01 * hidden.mean((0, 1, 2)), atol=1e-6)
  np.testing.assert_allclose(
    after['var'], 0.99 + 0.01 * hidden.var((0, 1, 2)), atol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, evaluated['batch_stats'],
               variables['batch_stats'])


def test_initialiser_of_filters_counts_their_area():
  model = Cnn(2, (256,), pool=8, hidden=())
  variables = jax.jit(partial(model.init, train=False))(KEY, IMAGES)
  kernel = np.asarray(variables['params']['Conv_0']['kernel'], np.float64)
  fan_in = 3 * 3 * 3
  assert kernel.var() == pytest.approx(
    2 / fan_in, rel=5 * math.sqrt(2 / kernel.size))  # five deviations


@pytest.mark.parametrize('name', ['dropout', 'conv_dropout'])
@pytest.mark.parametrize('value', [-0.1, 1.0, float('nan')])
def test_bad_dropout_is_refused(name, value):
  with pytest.raises(ValueError, match=f'^{name}: must be >= 0'):
    Cnn(2, **{name: value})


def test_each_convolution_needs_a_window():
  with pytest.raises(ValueError, match=r'pool: must have 2 windows, .* got 3'):
    Cnn(2, (4, 4), pool=(2, 2, 2))


def test_too_small_images_are_refused():
  with pytest.raises(ValueError, match=r'\(7, 6\) are reduced to \(1, 1\)'):
    shapes(Cnn(2, (4, 4, 4)), 7, 6, 1)
  with pytest.raises(ValueError, match='a 4x4 window is larger than 3x3 images'):
    shapes(Cnn(2, (4,), kernel=4, padding='VALID'), 3, 3, 1)


def test_images_much_smaller_than_a_filter_are_refused():
  with pytest.raises(ValueError):
    shapes(Cnn(2, (4,), kernel=5, padding='VALID'), 3, 3, 1)


@pytest.mark.parametrize('size', [(8, 8), (64,), (2, 8, 8, 3)])
def test_other_than_images_are_refused(size):
  with pytest.raises(ValueError, match='needs images'):
    shapes(Cnn(2), *size)
