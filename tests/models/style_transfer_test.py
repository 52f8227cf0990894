"""Tests of bigmodels.models.style_transfer: the fast network, and its surroundings."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import models
from bigmodels.models import StyleNet, StyleTransfer, VggFeatures

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(2, 12, 20, 3)).astype(np.float32)
ROWS = np.arange(2)
MODEL = StyleNet(width=4, depth=2)


def shapes(model, size=(12, 20)):
  return jax.eval_shape(
    lambda x, row: model.init(jax.random.key(0), x, row, train=False),
    jnp.zeros((1, *size, 3)), jnp.zeros(1, int))['params']


@pytest.fixture(scope='module')
def params():
  """NumPy's, which need no compilation: none is 0 or 1."""
  return jax.tree.map(lambda x: RNG.normal(
    size=x.shape, scale=(2 / math.prod(x.shape[:-1])) ** 0.5 if x.ndim > 1 else 1
    ).astype(np.float32), shapes(MODEL))


apply = jax.jit(lambda params, x: MODEL.apply({'params': params}, x, ROWS, train=False))


def test_parameters_are_those_of_the_paper():
  """1.67 million, of which the authors' code has transposed convolutions and biases."""
  wide = ((3, 32, 9), (32, 64, 3), (64, 128, 3), *((128, 128, 3),) * 10, (128, 64, 3),
          (64, 32, 3))
  expected = sum(i * o * size**2 + 2 * o for i, o, size in wide) + 32 * 3 * 81 + 3
  assert sum(x.size for x in jax.tree.leaves(shapes(StyleNet()))) == expected


def test_each_image_by_itself(params):
  """Normalization is within an image: whatever is beside it changes nothing."""
  found = apply(params, IMAGES)
  assert found.shape == IMAGES.shape and found.min() > 0 and found.max() < 1
  assert np.std(found[0] - found[1]) > 0.01
  other = apply(params, np.stack([IMAGES[0], np.zeros_like(IMAGES[0])]))
  np.testing.assert_allclose(other[0], found[0], atol=2e-6)


@pytest.mark.reference
def test_as_in_pytorch(params):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional

  def conv(x, name, stride=1):
    kernel = torch.tensor(params[name]['kernel'].transpose(3, 2, 0, 1).copy())
    margin = kernel.shape[-1] // 2
    return functional.conv2d(functional.pad(x, (margin,) * 4, 'reflect'), kernel,
                             stride=stride)

  def block(x, name, stride=1):
    norm = params[f'{name}_norm']
    return functional.instance_norm(
      conv(x, f'{name}_conv', stride), weight=torch.tensor(norm['scale']),
      bias=torch.tensor(norm['bias']))

  x = torch.tensor(IMAGES.transpose(0, 3, 1, 2).copy()) * 2 - 1
  for name, stride in (('first', 1), ('half', 2), ('quarter', 2)):
    x = torch.relu(block(x, name, stride))
  for i in range(2):
    x = x + block(torch.relu(block(x, f'block{i}_in')), f'block{i}_out')
  for name in ('to_half', 'to_full'):
    x = torch.relu(block(functional.interpolate(x, scale_factor=2), name))
  x = conv(x, 'last') + torch.tensor(params['last']['bias'])[:, None, None]
  expected = torch.sigmoid(x).numpy().transpose(0, 2, 3, 1)
  assert expected.std() > 0.05
  np.testing.assert_allclose(apply(params, IMAGES), expected, atol=2e-5)


@pytest.mark.parametrize('size, message', [
  ((12, 18), 'StyleNet: sides must be multiples of 4, got 18 x 12 pixels'),
  ((4, 16), 'StyleNet needs images .* of at least 8x8 pixels')])
def test_sides_that_are_refused(size, message):
  with pytest.raises(ValueError, match=message):
    shapes(MODEL, size)


@pytest.mark.parametrize('make, message', [
  (lambda: StyleNet(width=0), 'width: must be >= 1, got 0'),
  (lambda: models.Pictures(None, 'white'),
   "start: must be one of 'photograph', 'noise'"),
  (lambda: VggFeatures(pool='min'), "pool: must be one of 'max', 'average'; got 'min'"),
  (lambda: VggFeatures(mean=(1.0, 1.0, 1.0)), 'mean, std: must both be None'),
  (lambda: VggFeatures(mean=(1.0,), std=(0.0,)), 'and std > 0; got')])
def test_wrong_fields_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_only_features_of_vgg_are_published():
  with pytest.raises(ValueError, match='features: must be VggFeatures, got StyleNet'):
    StyleTransfer(MODEL, StyleNet()).hugging_face()


def test_average_pooling_is_of_what_is_read_before_it():
  images = RNG.normal(size=(1, 32, 34, 3)).astype(np.float32)
  model = VggFeatures(11, 2, pool='average')
  params = jax.tree.map(
    lambda x: RNG.normal(size=x.shape).astype(np.float32), jax.eval_shape(
      lambda: model.init(jax.random.key(0), images, train=False)))
  found = jax.jit(lambda v, x: model.apply(v, x, train=False))(params, images)
  before = np.asarray(found['relu5_2'])
  np.testing.assert_allclose(
    found['pool5'], before[:, :2, :2].mean((1, 2), keepdims=True), rtol=1e-5)


def test_features_standardize_images_by_what_they_were_trained_on():
  grey = RNG.uniform(size=(1, 32, 32, 1)).astype(np.float32)
  mean, std = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
  model = VggFeatures(11, 2, mean=mean, std=std)
  params = jax.tree.map(
    lambda x: RNG.normal(size=x.shape).astype(np.float32), jax.eval_shape(
      lambda: model.init(jax.random.key(0), grey, train=False)))
  expected = VggFeatures(11, 2).apply(
    params, np.float32((255 * grey - mean) / std), train=False)['relu1_1']
  for images in (grey, grey.repeat(3, -1)):  # grey is each colour
    found = model.apply(params, images, train=False)['relu1_1']
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
