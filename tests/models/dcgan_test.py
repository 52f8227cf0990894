"""Tests of bigmodels.models.dcgan: shapes, ranges, and its layers by Flax's own."""

import functools
import math
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Dcgan

KEY = jax.random.PRNGKey(0)
SMALL = {'size': (8, 4, 3), 'classes': 5, 'latent': 6, 'width': 2, 'embedding': 3}
LABELS = jnp.array([0, 4, 2], jnp.int32)
LATENTS = jax.random.normal(KEY, (3, 6))
IMAGES = jax.random.uniform(KEY, (3, 8, 4, 3), minval=-1)


@functools.cache
def started(model, scale=5.0):
  """Variables, larger than they begin so that all of them show."""
  variables = jax.jit(partial(model.init, train=False))(
    KEY, LATENTS, LABELS, IMAGES)
  return {**variables, 'params': jax.tree.map(lambda x: scale * x, variables['params'])}


@partial(jax.jit, static_argnums=0, static_argnames=('method', 'train'))
def apply(model, variables, *arguments, method, train=False):
  return model.apply(variables, *arguments, method=method, train=train,
                     mutable=['batch_stats'])


@pytest.mark.parametrize('classes', [0, 5])
@pytest.mark.parametrize('size, halvings', [((8, 4, 3), 2), ((8, 8, 1), 3)])
def test_images_and_logits(size, halvings, classes):
  model = Dcgan(**{**SMALL, 'size': size, 'halvings': halvings, 'classes': classes})
  (made, logits), variables = jax.eval_shape(
    partial(model.init_with_output, train=False), KEY, LATENTS, LABELS,
    jnp.zeros((3, *size)))
  assert made.shape == (3, *size) and logits.shape == (3,)
  assert set(variables['params']) == {'generator', 'discriminator'}
  sides = [side for side, each in variables['params'].items() if 'classes' in each]
  assert sorted(sides) == (['discriminator', 'generator'] if classes else [])


def test_parameters_are_those_of_the_layers():
  params = jax.eval_shape(partial(Dcgan(
    size=(28, 28, 1), classes=10, latent=100, width=32).init, train=False), KEY,
    jnp.zeros((2, 100)), LABELS[:2], jnp.zeros((2, 28, 28, 1)))['params']
  shapes = jax.tree.map(lambda x: x.shape, params)
  assert shapes['generator'] == {
    'classes': {'embedding': (10, 32)}, 'Dense_0': {'kernel': (132, 7 * 7 * 64)},
    'BatchNorm_0': {'scale': (64,), 'bias': (64,)},
    'ConvTranspose_0': {'kernel': (4, 4, 32, 64)},
    'BatchNorm_1': {'scale': (32,), 'bias': (32,)},
    'ConvTranspose_1': {'kernel': (4, 4, 1, 32), 'bias': (1,)}}
  assert shapes['discriminator'] == {
    'Conv_0': {'kernel': (4, 4, 1, 32), 'bias': (32,)},
    'Conv_1': {'kernel': (4, 4, 32, 64)},
    'BatchNorm_0': {'scale': (64,), 'bias': (64,)},
    'Dense_0': {'kernel': (7 * 7 * 64, 1), 'bias': (1,)},
    'classes': {'embedding': (10, 7 * 7 * 64)}}


def test_filters_begin_as_in_the_paper():
  # Radford et al., section 4: zero-centred normal, deviation 0.02.
  params = jax.jit(partial(Dcgan(size=(8, 8, 1), classes=10, width=32).init,
                             train=False))(
    KEY, jnp.zeros((1, 100)), LABELS[:1], jnp.zeros((1, 8, 8, 1)))['params']
  for path, kernel in jax.tree.leaves_with_path(params):
    if 'kernel' in str(path[-1]) and kernel.size > 400:
      assert np.std(kernel) == pytest.approx(0.02, rel=0.1), path


def test_images_are_between_minus_1_and_1_and_reach_both():
  model = Dcgan(**SMALL)
  made, _ = apply(model, started(model, 200.0), LATENTS, LABELS, method='generate')
  assert made.min() == pytest.approx(-1, abs=1e-3)
  assert made.max() == pytest.approx(1, abs=1e-3)
  assert np.abs(made).max() <= 1


def reference(model, params, stats, images, labels, norm):
  """The discriminator out of Flax's layers."""
  x = images
  for i in range(model.halvings):
    layer = params[f'Conv_{i}']
    x = nn.Conv(model.width * 2**i, (4, 4), (2, 2), 1, use_bias='bias' in layer).apply(
      {'params': layer}, x)
    if norm and i:
      x = nn.BatchNorm(use_running_average=True).apply(
        {'params': params[f'BatchNorm_{i - 1}'],
         'batch_stats': stats[f'BatchNorm_{i - 1}']}, x)
    x = jnp.where(x > 0, x, 0.2 * x)
  x = np.asarray(x.reshape(len(x), -1), np.float64)
  own = x @ np.float64(params['Dense_0']['kernel'])[:, 0] + params['Dense_0']['bias']
  # Miyato and Koyama, 2018, equation 5: v_y . phi(x) + psi(phi(x)).
  return own + (np.asarray(params['classes']['embedding'])[labels] * x).sum(1)


@pytest.mark.parametrize('norm', [True, False])
def test_the_discriminator_is_a_projection_on_the_class(norm):
  model = Dcgan(**SMALL, discriminator_norm=norm)
  variables = started(model)
  stats = variables['batch_stats'].get('discriminator')
  assert (stats is not None) == norm
  actual, _ = apply(model, variables, IMAGES, LABELS, method='discriminate')
  expected = reference(
    model, variables['params']['discriminator'], stats, IMAGES, LABELS, norm)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
  assert np.std(expected) > 1e-3


def test_without_batch_normalisation_no_image_depends_on_another():
  one, two = Dcgan(**SMALL, discriminator_norm=False), Dcgan(**SMALL)
  for model, alone in ((one, True), (two, False)):
    variables = started(model)
    all_, _ = apply(model, variables, IMAGES, LABELS, method='discriminate', train=True)
    others = IMAGES.at[1:].multiply(-1)
    again, _ = apply(model, variables, others, LABELS, method='discriminate',
                     train=True)
    assert (abs(all_[0] - again[0]) < 1e-5) == alone


def test_labels_and_latents_matter_to_both():
  model = Dcgan(**SMALL)
  variables = started(model)
  made, other, same = (
    apply(model, variables, latents, labels, method='generate')[0]
    for latents, labels in ((LATENTS, LABELS), (LATENTS, LABELS[::-1]),
                            (LATENTS[::-1], LABELS)))
  assert np.abs(made - other)[0].max() > 0.01 and np.abs(made - same)[0].max() > 0.01
  assert np.abs(made - other)[1].max() < 1e-6  # of the same latents and label
  one, two = (apply(model, variables, IMAGES, labels, method='discriminate')[0]
              for labels in (LABELS, LABELS[::-1]))
  assert abs(one - two)[0] > 1e-3 and one[1] == pytest.approx(two[1])


def test_labels_mean_nothing_without_classes():
  model = Dcgan(**{**SMALL, 'classes': 0})
  variables = started(model)
  for method, inputs in (('generate', LATENTS), ('discriminate', IMAGES)):
    one, two = (apply(model, variables, inputs, labels, method=method)[0]
                for labels in (LABELS, LABELS + 90))
    np.testing.assert_array_equal(one, two)


def test_statistics_are_of_the_side_that_is_called():
  model = Dcgan(**SMALL)
  variables = started(model)
  for method, inputs, side in (('generate', LATENTS, 'generator'),
                               ('discriminate', IMAGES, 'discriminator')):
    _, after = apply(model, variables, inputs, LABELS, method=method, train=True)
    moved = {name: any(jax.tree.leaves(jax.tree.map(
      lambda a, b: bool((a != b).any()), each, variables['batch_stats'][name])))
      for name, each in after['batch_stats'].items()}
    assert moved == {'generator': side == 'generator',
                     'discriminator': side == 'discriminator'}


@pytest.mark.parametrize('fields, message', [
  ({'size': (28, 30, 1)}, 'size: 2 halvings need (height, width, channels) with sides '
   'divisible by 4, got (28, 30, 1)'),
  ({'size': (28, 28)}, 'divisible by 4, got (28, 28)'),
  ({'size': (28, 28, 0)}, 'divisible by 4, got (28, 28, 0)'),
  ({'size': (28, 28, 1), 'halvings': 3}, 'size: 3 halvings need (height, width, '
   'channels) with sides divisible by 8, got (28, 28, 1)'),
  ({'halvings': 0}, 'halvings: must be >= 1, got 0'),
  ({'latent': 0}, 'latent: must be >= 1, got 0'),
  ({'width': -2}, 'width: must be >= 1, got -2'),
  ({'embedding': 0}, 'embedding: must be >= 1, got 0')])
def test_wrong_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    Dcgan(**{**SMALL, **fields})


def test_no_number_of_classes_is_refused():
  with pytest.raises(ValueError, match=r'classes: .* got -1'):
    Dcgan(**{**SMALL, 'classes': -1})


@pytest.mark.parametrize('images, message', [
  (jnp.zeros((3, 8, 8, 3)), 'Dcgan makes images of (8, 4, 3), the data has (8, 8, 3); '
   'set --config.model.size to that'),
  (jnp.zeros((3, 8, 4, 1)), 'the data has (8, 4, 1)'),
  (jnp.zeros((3, 32)), 'Dcgan needs images [batch, height, width, channels], got '
   '(3, 32)'),
  (jnp.zeros((3, 8, 4, 3), jnp.uint8), 'Dcgan needs images of floats, got uint8')])
def test_images_of_another_shape_are_refused(images, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    jax.eval_shape(partial(Dcgan(**SMALL).init, train=False), KEY, LATENTS, LABELS,
                   images)


def test_parameters_of_mnist():
  model = Dcgan(size=(28, 28, 1), classes=10, width=32)
  params = jax.eval_shape(partial(model.init, train=False), KEY, jnp.zeros((1, 100)),
                          LABELS[:1], jnp.zeros((1, 28, 28, 1)))['params']
  counts = {side: sum(math.prod(x.shape) for x in jax.tree.leaves(each))
            for side, each in params.items()}
  assert counts == {
    'generator': 320 + 132 * 3136 + 128 + 16 * 64 * 32 + 64 + 16 * 32 + 1,
    'discriminator': 16 * 32 + 32 + 16 * 32 * 64 + 128 + 3137 + 31360}
