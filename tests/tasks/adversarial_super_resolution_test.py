"""Tests of tasks.adversarial_super_resolution against its parts put together by hand.
"""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models
from bigmodels.tasks import adversarial_super_resolution, super_resolution
from tests.models.super_resolution import random

KEY = jax.random.PRNGKey(0)
SIZE = 16  # pixels of a side, before they are enlarged twice
GENERATOR = models.Espcn(2, widths=(2,))


class Sum(nn.Module):
  """A discriminator of one product."""

  @nn.compact
  def __call__(self, images, *, train):
    return nn.Dense(1)(images.reshape(len(images), -1))[:, 0]


class Product(nn.Module):
  """Features of one product."""

  layers = ('product',)

  @nn.compact
  def __call__(self, images, *, train):
    return {'product': nn.Dense(5)(images)}


MODEL = models.SrGan(GENERATOR, Sum(), Product())
SETTINGS = {'pixels': {'adversarial_weight': 0.1},
            'product': {'layer': 'product', 'content_weight': 0.5}}
TASKS = {name: adversarial_super_resolution(MODEL, scale=2, **settings)
         for name, settings in SETTINGS.items()}


def batch(masked=1):
  """Three images, of which the first is smaller; the last may be masked, and bad."""
  rng = np.random.default_rng(0)
  inside = np.ones((3, SIZE, SIZE), bool)
  inside[0, 13:] = inside[0, :, 14:] = False
  inputs, labels = (rng.integers(0, 256, (3, side, side, 1)).astype(np.uint8)
                    for side in (SIZE, 2 * SIZE))
  return {'inputs': inputs, 'inside': inside, 'labels': labels,
          'mask': (np.arange(3) < 3 - masked).astype(np.float32),
          'row': np.arange(3, dtype=np.int32)}


@pytest.fixture(scope='module')
def params():
  """Drawn by NumPy; the discriminator reads the size of images in training."""
  shapes = jax.eval_shape(TASKS['pixels'].task.init, KEY, batch())[0]
  rng = np.random.default_rng(1)
  drawn = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32) / 8, shapes)
  return {**drawn, 'generator': random(GENERATOR)['params']}


def by_hand(params, data, name):
  """Content, and the logits of real and enlarged images, of the unmasked ones."""
  enlarged = np.float64(GENERATOR.apply(
    {'params': params['generator']}, data['inputs'].astype(np.float32) / 255,
    data['inside'], train=False))
  found = []
  for row in np.flatnonzero(data['mask']):
    rows, columns = (2 * data['inside'][row].any(axis).sum() for axis in (1, 0))
    real, made = np.zeros((2, 2 * SIZE, 2 * SIZE, 1))
    real[:rows, :columns] = data['labels'][row, :rows, :columns] / 255
    made[:rows, :columns] = enlarged[row, :rows, :columns]
    if name == 'pixels':
      content = np.mean((2 * (real - made)[:rows, :columns]) ** 2)
    else:
      kernel = np.float64(params['features']['Dense_0']['kernel'])
      content = np.mean(((real - made) @ kernel) ** 2)
    kernel, bias = (np.float64(params['discriminator']['Dense_0'][each])
                    for each in ('kernel', 'bias'))
    found.append((content, *(
      ((2 * x.ravel() - 1) @ kernel + bias)[0] for x in (real, made))))
  return np.array(found).T


@pytest.mark.parametrize('name', SETTINGS)
def test_losses_equal_numpy(name, params):
  data = batch()
  content, real, made = by_hand(params, data, name)
  adversarial = np.log1p(np.exp(-made))
  settings = {'content_weight': 1.0, 'adversarial_weight': 1e-3, **SETTINGS[name]}
  expected = {'content': content, 'adversarial': adversarial, 'loss': (
    settings['content_weight'] * content
    + settings['adversarial_weight'] * adversarial)}
  value, (_, sums, _) = jax.jit(TASKS[name].generator)(params, {}, data, KEY)
  assert value == pytest.approx(expected['loss'].mean(), rel=1e-4)
  assert {name: tuple(x) for name, x in sums.items()} == {
    name: (pytest.approx(x.sum(), rel=1e-4), 2) for name, x in expected.items()}
  value, (_, sums, _) = jax.jit(TASKS[name].discriminator)(params, {}, data, KEY)
  expected = {'loss': np.log1p(np.exp(-real)) + np.log1p(np.exp(made)),
              'real_accuracy': real > 0, 'enlarged_accuracy': made < 0}
  assert value == pytest.approx(expected['loss'].mean(), rel=1e-4)
  assert {name: tuple(x) for name, x in sums.items()} == {
    name: (pytest.approx(x.sum(), rel=1e-4), 2) for name, x in expected.items()}


def test_an_evaluation_is_that_of_super_resolution(params):
  """Of the generator alone, on images of other sizes than those of training."""
  data = jax.tree.map(lambda x: x[:2], batch(0))
  _, (_, found, outputs) = jax.jit(partial(TASKS['product'].task.loss, train=False))(
    params, {}, data, KEY)
  plain = super_resolution(GENERATOR, jnp.square, scale=2)
  _, (_, expected, others) = jax.jit(partial(plain.loss, train=False))(
    params['generator'], {}, data, KEY)
  assert {'psnr', 'ssim', 'psnr_bicubic', 'ssim_bicubic', 'loss'} == set(found)
  chex.assert_trees_all_close((found, outputs), (expected, others), rtol=1e-5)
  image = data['inputs'][1, :9, :12]
  np.testing.assert_array_equal(
    TASKS['pixels'].task.image_to_image(params, {}, image),
    plain.image_to_image(params['generator'], {}, image))


def test_a_step_moves_both_sides_and_no_features(params):
  learner = learners.adversarial(
    TASKS['product'], optax.sgd(0.1), discriminator_optimizer=optax.sgd(0.2))
  data = batch()
  state = jax.jit(learner.init)(KEY, data)._replace(params=params)
  after, sums = jax.jit(learner.step)(state, data)
  assert set(sums) == {
    'loss', 'content', 'adversarial', 'discriminator_loss',
    'discriminator_real_accuracy', 'discriminator_enlarged_accuracy'}
  chex.assert_trees_all_equal(after.params['features'], params['features'])
  slope = jax.jit(jax.grad(lambda p: TASKS['product'].discriminator(
    p, {}, data, KEY)[0]))(params)
  updated = jax.tree.map(lambda p, g: p - 0.2 * g, params, slope)
  chex.assert_trees_all_equal(  # the gradient is zero for the others
    {**updated, 'discriminator': 0}, {**params, 'discriminator': 0})
  chex.assert_trees_all_close(
    after.params['discriminator'], updated['discriminator'], rtol=1e-5, atol=1e-6)
  slope = jax.jit(jax.grad(lambda p: TASKS['product'].generator(
    p, {}, data, KEY)[0]))(updated)
  again = jax.tree.map(lambda p, g: p - 0.1 * g, updated, slope)
  chex.assert_trees_all_equal({**again, 'generator': 0}, {**updated, 'generator': 0})
  chex.assert_trees_all_close(
    after.params['generator'], again['generator'], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('model, settings, message', [
  (GENERATOR, {}, 'needs a model with a discriminator, such as models.SrGan, got '
   'Espcn without one'),
  (models.SrGan(GENERATOR), {}, 'got SrGan without one'),
  (MODEL, {'layer': 'produce'}, "SrGan have no 'produce'; did you mean 'product'"),
  (models.SrGan(GENERATOR, Sum()), {'layer': 'relu5_4'}, 'there are none'),
  (MODEL, {'content_weight': -1.0}, 'content_weight: must be finite and >= 0, got -1'),
  (MODEL, {'adversarial_weight': np.inf}, 'adversarial_weight: must be finite'),
  (MODEL, {'scale': 3}, 'SrGan enlarges 2 times, the data is 3 times smaller')])
def test_bad_settings(model, settings, message):
  with pytest.raises(ValueError, match=message):
    adversarial_super_resolution(model, **{'scale': 2, **settings})


def test_labels_of_another_scale(params):
  given = batch() | {'labels': np.zeros((3, SIZE, SIZE, 1), np.uint8)}
  with pytest.raises(ValueError, match=r'the model gives .* must be'):
    jax.eval_shape(TASKS['pixels'].generator, params, {}, given, KEY)
