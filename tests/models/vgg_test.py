"""Tests of bigmodels.models.vgg against published counts and Flax's own layers."""

import itertools
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Vgg

IMAGES = np.random.default_rng(0).normal(size=(2, 33, 35, 3)).astype(np.float32)


def shapes(model, *size):
  return jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), jnp.zeros((1, *size)))


def count(model, size):
  params = shapes(model, size, size, 3)['params']
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


def random(model):
  """Parameters and statistics of NumPy's, which need no compilation."""
  rng = np.random.default_rng(0)

  def draw(path, x):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    noise = rng.normal(size=x.shape).astype(np.float32)
    if name in ('scale', 'var'):  # of either sign, as scales may become
      return np.exp(0.3 * noise) * (1 if name == 'var' else np.sign(noise))
    return noise * (2 / math.prod(x.shape[:-1])) ** 0.5 if x.ndim > 1 else 0.3 * noise

  return jax.tree.map_with_path(draw, shapes(model, *IMAGES.shape[1:]))


def apply(model, variables, *, train=False, rngs=None):
  mutable = ['batch_stats'] if train else False
  return jax.jit(lambda v, x: model.apply(
    v, x, train=train, mutable=mutable, rngs=rngs))(variables, IMAGES)


@pytest.mark.parametrize('depth, parameters, with_norm', [  # as torchvision counts them
  (11, 132_863_336, 132_868_840), (13, 133_047_848, 133_053_736),
  (16, 138_357_544, 138_365_992), (19, 143_667_240, 143_678_248)])
def test_parameters(depth, parameters, with_norm):
  assert count(Vgg(1000, depth), 224) == parameters
  assert count(Vgg(1000, depth, batch_norm=True), 224) == with_norm


def test_parameters_with_an_average():
  widths = (3, 64, 64, 128, 128, *(256,) * 3, *(512,) * 6)
  filters = sum(9 * i * o + o for i, o in itertools.pairwise(widths))
  assert count(Vgg(10, 16, hidden=()), 32) == filters + 513 * 10


@pytest.mark.parametrize('hidden', [(7, 6), ()])
@pytest.mark.parametrize('batch_norm', [False, True])
def test_equals_flax(batch_norm, hidden):
  model = Vgg(5, 11, 4, hidden, batch_norm=batch_norm)
  variables = random(model)
  params, statistics = variables['params'], variables.get('batch_stats')

  @jax.jit
  def reference(x):
    for stage, convolutions in enumerate((1, 1, 2, 2, 2), 1):
      for layer in range(1, convolutions + 1):
        name = f'{stage}_{layer}'
        conv = nn.Conv(4 * min(2 ** (stage - 1), 8), (3, 3), padding=1)
        x = conv.apply({'params': params['features'][f'conv{name}']}, x)
        if batch_norm:
          x = nn.BatchNorm(use_running_average=True).apply({
            'params': params['features'][f'norm{name}'],
            'batch_stats': statistics['features'][f'norm{name}']}, x)
        x = nn.relu(x)
      x = nn.max_pool(x, (2, 2), (2, 2))
    x = x.reshape(len(x), -1) if hidden else x.mean((1, 2))
    head = params['head']
    for i in range(len(head)):
      x = x @ head[f'Dense_{i}']['kernel'] + head[f'Dense_{i}']['bias']
      x = nn.relu(x) if i < len(head) - 1 else x
    return x

  expected = reference(IMAGES)
  assert np.std(expected) > 0.1
  np.testing.assert_allclose(
    apply(model, variables), expected, atol=1e-5 * max(1, np.abs(expected).max()))


def test_statistics_and_dropout_act_in_training_only():
  model = Vgg(5, 11, 2, (8,), batch_norm=True)
  variables = random(model)
  plain = apply(model, variables)
  one, same, other = (apply(model, variables, train=True, rngs={
    'dropout': jax.random.key(seed)}) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one[0], same[0])
  assert not np.allclose(one[0], plain) and not np.allclose(one[0], other[0])
  moved = jax.tree.map(lambda before, after: not np.allclose(before, after),
                       variables['batch_stats'], one[1]['batch_stats'])
  assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize('fields, message', [
  ({'depth': 12}, 'depth: must be one of 11, 13, 16, 19; got 12'),
  ({'width': 0}, 'width: must be >= 1, got 0'),
  ({'hidden': (64, 0)}, r'hidden: must be >= 1, got \(64, 0\)'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'epsilon': -1.0}, 'epsilon: must be > 0 and finite, got -1.0')])
def test_wrong_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    Vgg(2, **fields)


@pytest.mark.parametrize('size', [(31, 64, 3), (64, 31, 3), (64, 64)])
def test_images_are_to_be_large_enough_for_the_strides(size):
  with pytest.raises(ValueError, match=r'Vgg needs images .* 32x32 pixels, got .1, '):
    shapes(Vgg(2), *size)
  answer = jax.eval_shape(
    partial(Vgg(2, 11, 1).init_with_output, train=False), jax.random.key(0),
    jnp.zeros((3, 32, 32, 1)))[0]
  assert answer.shape == (3, 2)
