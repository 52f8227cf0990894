"""Tests of bigmodels.models.srgan."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Espcn, SrDiscriminator, SrGan, StyleNet, VggFeatures
from tests.models.super_resolution import random


def shapes(model, size=96):
  return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False),
                        jnp.zeros((1, size, size, 1)))


def test_parameters_are_those_of_the_paper():
  # Filters of 3x3, a bias only of the first; a scale and an offset of each
  # normalization; and, after four halvings of 96 pixels, two dense layers.
  pairs = ((64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512),
           (512, 512))
  filters = 9 * 64 + 64 + sum(9 * a * b + 2 * b for a, b in pairs)
  dense = 6 * 6 * 512 * 1024 + 1024 + 1024 + 1
  params = shapes(SrDiscriminator())['params']
  assert sum(x.size for x in jax.tree.leaves(params)) == filters + dense


@pytest.mark.reference
@pytest.mark.parametrize('train', [False, True])
def test_as_in_pytorch(train):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional
  model, rng = SrDiscriminator(width=2, hidden=5), np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: rng.uniform(0.2, 1, x.shape).astype(np.float32) - 0.5 * (x.ndim > 1),
    shapes(model, 32))
  images = rng.uniform(-1, 1, (3, 32, 32, 1)).astype(np.float32)

  def tensor(collection, layer, name):
    return torch.tensor(np.array(variables[collection][layer][name]))

  x = torch.tensor(images.transpose(0, 3, 1, 2).copy())
  for layer in range(8):
    name = f'conv_{layer}'
    x = functional.conv2d(
      x, tensor('params', name, 'kernel').permute(3, 2, 0, 1),
      None if layer else tensor('params', name, 'bias'), 1 + layer % 2, 1)
    if layer:
      x = functional.batch_norm(
        x, *(tensor('batch_stats', f'{name}_norm', each) for each in ('mean', 'var')),
        *(tensor('params', f'{name}_norm', each) for each in ('scale', 'bias')),
        training=train)
    x = functional.leaky_relu(x, 0.2)
  x = x.permute(0, 2, 3, 1).reshape(3, -1)
  for name in ('hidden', 'logit'):
    x = x @ tensor('params', name, 'kernel') + tensor('params', name, 'bias')
    x = functional.leaky_relu(x, 0.2) if name == 'hidden' else x
  found = jax.jit(lambda x: model.apply(
    variables, x, train=train, mutable=['batch_stats'])[0])(images)
  np.testing.assert_allclose(found, x[:, 0].numpy(), rtol=1e-4, atol=1e-4)


class Sum(nn.Module):
  """A logit that is the sum of an image."""

  @nn.compact
  def __call__(self, images, *, train):
    return self.param('scale', nn.initializers.ones, ()) * images.sum((1, 2, 3))


class Given(nn.Module):
  """Features that are the images."""

  @nn.compact
  def __call__(self, images, *, train):
    self.param('scale', nn.initializers.ones, ())
    return {'images': images}


def test_parts_are_called_with_images_as_they_want_them():
  model = SrGan(Espcn(2, widths=(4,)), Sum(), Given())
  variables = random(model)
  assert set(variables['params']) == {'generator', 'discriminator', 'features'}
  images = np.random.default_rng(0).uniform(size=(2, 4, 6, 1)).astype(np.float32)
  variables['params']['discriminator']['scale'] = np.float32(1)
  found = model.apply(variables, images, method='describe')['images']
  np.testing.assert_array_equal(found, images)
  logits = model.apply(variables, images, train=True, method='discriminate')
  np.testing.assert_allclose(
    logits, (2 * images - 1).sum((1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_it_enlarges_as_its_generator():
  generator = Espcn(2, widths=(4,))
  model = SrGan(generator)
  variables = random(model)
  assert set(variables['params']) == {'generator'}
  assert (model.scale, model.radius) == (generator.scale, generator.radius)
  images, inside = np.ones((1, 5, 4, 1), np.float32), np.ones((1, 5, 4), bool)
  np.testing.assert_allclose(
    model.apply(variables, images, inside, train=False), generator.apply(
      {'params': variables['params']['generator']}, images, inside, train=False))


def test_features_are_those_of_torchvision():
  published = SrGan(Espcn(2), features=VggFeatures(19)).hugging_face()
  assert 'features/conv5_4/kernel' in published.locations


@pytest.mark.parametrize('make, message', [
  (lambda: SrGan(Espcn(2)).hugging_face(), 'must be VggFeatures, got NoneType'),
  (lambda: SrGan(Espcn(2), features=StyleNet()).hugging_face(), 'got StyleNet'),
  (lambda: SrDiscriminator(width=0), 'width: must be >= 1, got 0'),
  (lambda: SrDiscriminator(hidden=0), 'hidden: must be >= 1, got 0')])
def test_bad_fields(make, message):
  with pytest.raises(ValueError, match=message):
    make()
