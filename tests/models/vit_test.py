"""Tests of bigmodels.models.vit: published counts, patches, positions, what it sees."""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Vit, VitB, VitL, VitS, VitTi
from bigmodels.parallel.precision import in_precision

SMALL = Vit(5, size=12, patch=4, depth=2, width=24, heads=4)
PLAIN = SMALL.clone(pooling='mean', positions='sincos')
IMAGES = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32)


def shapes_of(model):
  images = jax.ShapeDtypeStruct((1, model.size, model.size, model.channels), float)
  return jax.eval_shape(partial(model.init, train=False), jax.random.key(0),
                        images)['params']


def count(model):
  return sum(math.prod(p.shape) for p in jax.tree.leaves(shapes_of(model)))


def variables_of(model):
  """Larger than the initial values, at which every answer is 0."""
  rng = np.random.default_rng(1)
  return {'params': jax.tree.map_with_path(
    lambda path, p: np.float32((path[-1].key == 'scale') + rng.normal(
      0, 0.2, p.shape)), shapes_of(model))}


@partial(jax.jit, static_argnums=0)
def answer(model, variables, images):
  return model.apply(variables, images, train=False)


def close(actual, expected, tolerance=2e-5):
  np.testing.assert_allclose(actual, expected, tolerance, tolerance)


# --- counts and first values ----------------------------------------------------


@pytest.mark.parametrize('size, parameters', [
  # timm's and torchvision's, at 224 pixels, patches of 16 and 1000 classes.
  (VitTi, 5_717_416), (VitS, 22_050_664), (VitB, 86_567_656), (VitL, 304_326_632)])
def test_counts_of_the_published_sizes(size, parameters):
  assert count(size(num_outputs=1000)) == parameters


def test_other_patches_and_pooling_change_the_counts_as_they_should():
  whole = count(VitB(num_outputs=1000))
  # torchvision's ViT-B/32: wider patches, fewer positions.
  assert count(VitB(num_outputs=1000, patch=32)) == 88_224_232
  no_token = VitB(num_outputs=1000, pooling='mean')
  assert count(no_token) == whole - 2 * 768  # the token, and its position
  assert count(no_token.clone(positions='sincos')) == whole - 768 - 197 * 768


def test_the_size_named_b_is_the_default():
  assert VitB(num_outputs=3) == Vit(3)


@pytest.mark.parametrize('model', [SMALL, PLAIN], ids=['first', 'mean'])
def test_it_begins_by_knowing_nothing_and_can_learn(model):
  variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), IMAGES)
  np.testing.assert_array_equal(answer(model, variables, IMAGES), 0)
  gradient = jax.jit(jax.grad(lambda v: model.apply(
    v, IMAGES, train=False)[:, 0].sum()))(variables)['params']
  assert np.abs(gradient['head']['kernel']).max() > 0.1


# --- patches and positions ------------------------------------------------------


def test_patches_are_a_convolution_whose_strides_are_its_window():
  model = PLAIN.clone(depth=1)
  params = variables_of(model)['params']

  def embedded(images):
    _, found = model.apply({'params': params}, images, train=False,
                           capture_intermediates=lambda m, _: m.name == 'patches')
    return found['intermediates']['patches']['__call__'][0]

  kernel = params['patches']['kernel'].reshape(4, 4, 3, 24)
  expected = jax.lax.conv_general_dilated(
    IMAGES, kernel, (4, 4), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  expected = expected.reshape(3, 9, 24) + params['patches']['bias']
  close(jax.jit(embedded)(IMAGES), expected, 1e-5)


@pytest.mark.parametrize('model', [SMALL, PLAIN], ids=['learned', 'sincos'])
def test_patches_in_another_order_are_another_image(model):
  variables = variables_of(model)
  before = answer(model, variables, IMAGES)
  turned = answer(model, variables, np.roll(IMAGES, 4, axis=2))
  assert np.abs(before - turned).max() > 1e-2


def test_without_positions_a_mean_has_no_order():
  model = SMALL.clone(pooling='mean')
  variables = variables_of(model)
  variables['params']['positions']['embedding'] *= 0
  close(answer(model, variables, np.roll(IMAGES, 4, axis=2)),
        answer(model, variables, IMAGES))


@pytest.mark.parametrize('model', [SMALL, PLAIN], ids=['first', 'mean'])
def test_every_patch_of_its_own_image_is_seen_and_no_other(model):
  variables = variables_of(model)

  def logit(images):
    return model.apply(variables, images, train=False)[1].sum()

  gradient = np.abs(jax.jit(jax.grad(logit))(IMAGES))
  assert gradient[[0, 2]].max() == 0
  assert gradient[1].reshape(3, 4, 3, 4, 3).max((1, 3, 4)).min() > 1e-4


@pytest.mark.parametrize('fields', [{'unroll': True}, {'remat': 'full'}])
def test_how_the_blocks_are_laid_out_changes_nothing(fields):
  variables = variables_of(SMALL)
  close(answer(SMALL.clone(**fields), variables, IMAGES),
        answer(SMALL, variables, IMAGES))


def test_dropout_follows_the_key_in_training_only():
  model = SMALL.clone(dropout=0.2, attention_dropout=0.1)
  variables = variables_of(model)

  @jax.jit
  def trained(key):
    return model.apply(variables, IMAGES, train=True, rngs={'dropout': key})

  first, again, other = (trained(jax.random.key(seed)) for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > 1e-2
  close(answer(model, variables, IMAGES), answer(SMALL, variables, IMAGES), 0)


def test_bfloat16_stays_near_float32():
  variables = variables_of(SMALL)
  expected = answer(SMALL, variables, IMAGES)
  found = answer(in_precision(SMALL, 'bfloat16'), variables, IMAGES)
  assert found.dtype == jnp.float32
  assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


# --- what it refuses ------------------------------------------------------------


@pytest.mark.parametrize('fields, message', [
  ({'patch': 5}, 'patch: must divide the size, 224, got 5'),
  ({'heads': 5}, 'heads: must divide the width, 768, got 5'),
  ({'depth': 0}, 'depth: must be >= 1, got 0'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'pooling': 'max'}, "pooling: must be one of 'first', 'mean'; got 'max'"),
  ({'positions': 'rotary'},
   "positions: must be one of 'learned', 'sincos'; got 'rotary'"),
  ({'positions': 'sincos', 'width': 6, 'heads': 1}, 'width: must be a multiple of 4'),
])
def test_wrong_fields_are_refused(fields, message):
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    Vit(10, **fields)


@pytest.mark.parametrize('shape', [(16, 12, 3), (8, 8, 3), (12, 12, 1), (12, 12)])
def test_images_of_another_shape_are_refused_with_both(shape):
  images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  with pytest.raises(ValueError, match=re.escape(
      f'images of (12, 12, 3) (size, size, channels), got {shape}')):
    jax.eval_shape(partial(SMALL.init, train=False), jax.random.key(0), images)
