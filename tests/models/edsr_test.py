"""Tests of bigmodels.models.edsr."""

import jax
import numpy as np
import pytest

from bigmodels.models import Edsr
from tests.models import super_resolution
from tests.models.super_resolution import enlarged, random


def test_parameters_are_those_of_the_published_baseline():
  # 1,369,859 with three channels (the authors' code, scale 2), of which the first and
  # last layer have 2 * 9 * 64 more each, and the last two more biases.
  count = sum(x.size for x in jax.tree.leaves(random(Edsr(2))))
  assert count == 1_369_859 - 2 * (2 * 9 * 64) - 2


@pytest.mark.reference
@pytest.mark.parametrize('scale', [2, 4])
def test_as_in_pytorch(scale):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional
  model = Edsr(scale, depth=2, width=8, residual=0.1)
  variables = random(model)
  images = np.random.default_rng(0).uniform(size=(2, 9, 7, 1)).astype(np.float32)

  def conv(x, name):
    params = variables['params'][name]
    kernel = torch.tensor(params['kernel'].transpose(3, 2, 0, 1).copy())
    return functional.conv2d(x, kernel, torch.tensor(params['bias']), padding=1)

  x = first = conv(torch.tensor(images.transpose(0, 3, 1, 2).copy()) - 0.5, 'first')
  for block in range(2):
    x = x + 0.1 * conv(functional.relu(conv(x, f'block_{block}_in')),
                       f'block_{block}_out')
  x = first + conv(x, 'last')
  for layer in range(scale // 2):
    x = functional.pixel_shuffle(conv(x, f'enlarge_{layer}'), 2)
  expected = conv(x, 'head') + 0.5
  np.testing.assert_allclose(enlarged(model, variables, images),
                             expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)


def test_padding_changes_nothing():
  super_resolution.check_padding_changes_nothing(Edsr(4, depth=1, width=4))


@pytest.mark.parametrize('scale', [2, 4])
def test_a_pixel_reads_no_more_than_the_radius(scale):
  model = Edsr(scale, depth=1, width=4)
  above, _ = super_resolution.read_by(model, 0)
  _, below = super_resolution.read_by(model, scale - 1)
  assert (above, below) == (model.radius, model.radius)


@pytest.mark.parametrize('field, message', [
  ({'scale': 5}, 'scale'), ({'scale': 2, 'depth': 0}, 'depth: must be >= 1'),
  ({'scale': 2, 'residual': 0.0}, 'residual: must be > 0')])
def test_bad_fields(field, message):
  with pytest.raises(ValueError, match=message):
    Edsr(**field)
