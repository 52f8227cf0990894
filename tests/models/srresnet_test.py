"""Tests of bigmodels.models.srresnet."""

import jax
import numpy as np
import pytest

from bigmodels.models import SrResNet
from tests.models import super_resolution
from tests.models.super_resolution import random


def test_parameters_are_those_of_the_paper():
  # 9x9 filters at both ends, 16 blocks, two pixel shuffles; a slope for each PReLU, and
  # no biases before normalization.
  block = 2 * (9 * 64 * 64 + 2 * 64) + 1
  count = sum(x.size for x in jax.tree.leaves(random(SrResNet(4))['params']))
  assert count == (81 * 64 + 64 + 1) + 16 * block + (9 * 64 * 64 + 2 * 64) + (
    2 * (9 * 64 * 256 + 256 + 1)) + (81 * 64 + 1)


@pytest.mark.reference
@pytest.mark.parametrize('train', [False, True])
def test_as_in_pytorch(train):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional
  model = SrResNet(4, depth=2, width=8)
  variables = random(model)
  images = np.random.default_rng(0).uniform(size=(2, 9, 7, 1)).astype(np.float32)

  def tensor(collection, layer, name):
    return torch.tensor(np.array(variables[collection][layer][name]))

  def conv(x, name):
    kernel = tensor('params', name, 'kernel').permute(3, 2, 0, 1)
    bias = tensor('params', name, 'bias') if 'bias' in variables['params'][name] else (
      None)
    return functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)

  def normalized(x, name):
    norm = f'{name}_norm'
    return functional.batch_norm(
      conv(x, name), *(tensor('batch_stats', norm, each) for each in ('mean', 'var')),
      *(tensor('params', norm, each) for each in ('scale', 'bias')), training=train)

  def prelu(x, name):
    return functional.prelu(x, tensor('params', f'{name}_prelu', 'negative_slope'
                                      ).reshape(1))

  x = first = prelu(conv(torch.tensor(images.transpose(0, 3, 1, 2).copy()) - 0.5,
                         'first'), 'first')
  for block in range(2):
    y = prelu(normalized(x, f'block_{block}_in'), f'block_{block}')
    x = x + normalized(y, f'block_{block}_out')
  x = first + normalized(x, 'last')
  for layer in range(2):
    x = functional.pixel_shuffle(conv(x, f'enlarge_{layer}'), 2)
    x = prelu(x, f'enlarge_{layer}')
  expected = conv(x, 'head') + 0.5
  found = jax.jit(lambda x: model.apply(
    variables, x, np.ones(images.shape[:3], bool), train=train,
    mutable=['batch_stats'])[0])(images)
  np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=2e-5)


def test_padding_changes_nothing():
  super_resolution.check_padding_changes_nothing(SrResNet(4, depth=1, width=4))


def test_padding_does_not_count_in_statistics():
  model = SrResNet(2, depth=1, width=4)
  variables = random(model)
  use = jax.jit(lambda x, inside: model.apply(
    variables, x, inside, train=True, mutable=['batch_stats']))
  images = np.random.default_rng(0).uniform(size=(2, 6, 5, 1)).astype(np.float32)
  margin = ((0, 1), (0, 2), (3, 0))  # one image is padding only
  padded = np.pad(images, (*margin, (0, 0)), constant_values=0.7)
  whole, expected = use(images, np.ones(images.shape[:3], bool))
  found, statistics = use(padded, np.pad(np.ones(images.shape[:3], bool), margin))
  np.testing.assert_allclose(found[:2, :12, 6:], whole, atol=2e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               statistics, expected)


def test_a_pixel_reads_no_more_than_the_radius():
  model = SrResNet(4, depth=1, width=4)
  above, _ = super_resolution.read_by(model, 0)
  _, below = super_resolution.read_by(model, 3)
  assert (above, below) == (model.radius, model.radius)


@pytest.mark.parametrize('field, message', [
  ({'scale': 8}, 'scale'), ({'scale': 2, 'depth': 0}, 'depth: must be >= 1'),
  ({'scale': 2, 'width': 0}, 'width: must be >= 1')])
def test_bad_fields(field, message):
  with pytest.raises(ValueError, match=message):
    SrResNet(**field)
