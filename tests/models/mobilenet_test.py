"""Tests of bigmodels.models.mobilenet against the papers and Flax's own layers.

What the models answer is compared with another library in hugging_face_images_test.py.
"""

import functools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import MobileNetV1, MobileNetV2

BOTH = (MobileNetV1, MobileNetV2)


@functools.cache
def shapes(model, *size):
  return jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), jnp.zeros((1, *size)))


def count(model, *, norms=True):
  params = shapes(model, 224, 224, 3)['params']
  return sum(math.prod(x.shape) for path, x in jax.tree.leaves_with_path(params)
             if norms or 'norm' not in str(path))


def test_parameters():
  assert count(MobileNetV1(1000)) == 4_231_976
  assert count(MobileNetV2(1000)) == 3_504_872  # as torchvision counts them


@pytest.mark.parametrize('multiplier, millions', [  # Howard et al., table 6
  (1.0, 4.2), (0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_widths_of_version_1(multiplier, millions):
  assert round(count(MobileNetV1(1000, multiplier)) / 1e6, 1) == millions


@pytest.mark.parametrize('multiplier, millions', [
  # As the authors' code tells them; it leaves out the normalisations.
  (1.4, 6.06), (1.0, 3.47), (0.35, 1.66), *(
    pytest.param(*each, marks=pytest.mark.slow('compile deep models'))
    for each in ((1.3, 5.34), (0.75, 2.61), (0.5, 1.95)))])
def test_widths_of_version_2(multiplier, millions):
  found = count(MobileNetV2(1001, multiplier), norms=False)
  assert round(found / 1e6, 2) == millions


@functools.cache
def traced(model, size):
  """The shapes of the variables, and of what each layer answers."""
  _, variables = jax.eval_shape(
    lambda x: model.init_with_output(
      jax.random.key(0), x, train=False, capture_intermediates=True, mutable=True),
    jnp.zeros((1, size, size, 3)))
  return variables, variables.pop('intermediates')


def maps(model, size):
  """Height of what each block answers, the stem first."""
  _, captured = traced(model, size)
  blocks = [f'block{n}' for n in range(1, 18) if f'block{n}' in captured]
  return [captured[name]['__call__'][0].shape[1] for name in ('stem', *blocks)]


def test_maps_are_as_large_as_published():
  assert maps(MobileNetV1(2), 224) == [112, 112, 56, 56, 28, 28, *[14] * 6, 7, 7]
  assert maps(MobileNetV2(2), 224) == [
    112, 112, 56, 56, 28, 28, 28, *[14] * 7, 7, 7, 7, 7]


@pytest.mark.parametrize('model', BOTH)
def test_strides_are_left_out_from_the_first_on(model):
  plain = maps(model(2), 512)  # 256 at the stem, 16 at the end
  for reduction in (1, 8, 16):
    found = maps(model(2, reduction=reduction), 64)
    assert found == [min(64, n * 4 // reduction) for n in plain]
  one, two = (traced(*of)[0] for of in ((model(2, reduction=8), 64), (model(2), 512)))
  shape = partial(jax.tree.map, jnp.shape)
  assert shape(one) == shape(two)


def test_statistics_and_dropout_act_in_training_only():
  model = MobileNetV1(5, 0.1, reduction=8, dropout=0.5)
  images = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)
  variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), images)

  @partial(jax.jit, static_argnames='train')
  def apply(variables, key, *, train):
    return model.apply(variables, images, train=train, mutable=['batch_stats'],
                       rngs={'dropout': key})

  (one, moved), (same, _), (other, _) = (
    apply(variables, jax.random.key(seed), train=True) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, same)
  assert not np.allclose(one, other)
  still, kept = apply(variables, jax.random.key(0), train=False)
  np.testing.assert_array_equal(
    still, apply(variables, jax.random.key(1), train=False)[0])
  before = variables['batch_stats']
  jax.tree.map(np.testing.assert_array_equal, kept['batch_stats'], before)
  name = ('stem', 'norm', 'var')
  assert not np.allclose(moved['batch_stats'][name[0]][name[1]][name[2]], 1)


def test_filters_begin_as_in_the_authors_code():
  model = MobileNetV1(2, 0.5, reduction=1)
  # Only what is looked at is compiled.
  kernel = jax.jit(lambda key: model.init(key, np.zeros((1, 2, 2, 3)), train=False)[
    'params']['block13']['pointwise']['conv']['kernel'])(jax.random.key(0))
  assert kernel.shape == (1, 1, 512, 512)
  # A normal distribution that is cut at two deviations has 0.88 of its own.
  assert np.std(kernel) == pytest.approx(0.09 * 0.8796, rel=0.01)
  assert np.abs(kernel).max() <= 2 * 0.09 + 1e-6


@pytest.mark.parametrize('model', BOTH)
@pytest.mark.parametrize('fields, message', [
  ({'multiplier': 0.0}, 'multiplier: must be > 0 and finite, got 0.0'),
  ({'reduction': 64}, 'reduction: must be one of 1, 2, 4, 8, 16, 32; got 64'),
  ({'padding': 'VALID'}, "padding: must be one of 'SAME', 'symmetric'; got 'VALID'"),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'num_outputs': 0}, 'num_outputs: must be >= 1, got 0'),
  ({'momentum': -0.1}, 'momentum: must be >= 0 and < 1, got -0.1')])
def test_wrong_fields_are_named(model, fields, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    model(**{'num_outputs': 2, **fields})


@pytest.mark.parametrize('model', BOTH)
@pytest.mark.parametrize('reduction, least', [(32, 17), (8, 5), (1, 1)])
def test_images_are_to_be_large_enough_for_the_strides(model, reduction, least):
  model = model(2, 0.1, reduction=reduction)
  assert maps(model, least)[-1] == 1
  for size in ((least - 1, 64, 3), (64, least - 1, 3), (64, 64)):
    with pytest.raises(ValueError, match=f'at least {least}x{least} pixels, got .1, '):
      shapes(model, *size)
