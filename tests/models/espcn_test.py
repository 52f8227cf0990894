"""Tests of bigmodels.models.espcn."""

import jax
import numpy as np
import pytest

from bigmodels.models import Espcn
from tests.models import super_resolution
from tests.models.super_resolution import enlarged, random


def test_parameters_are_those_of_the_paper():
  # 5x5x64, 3x3x32 and 3x3x9 filters, and biases.
  assert sum(x.size for x in jax.tree.leaves(random(Espcn(3)))) == (
    25 * 64 + 64 + 9 * 64 * 32 + 32 + 9 * 32 * 9 + 9)


@pytest.mark.reference
@pytest.mark.parametrize('scale', [2, 3])
def test_as_in_pytorch(scale):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  model = Espcn(scale)
  variables = random(model)
  images = np.random.default_rng(0).uniform(size=(2, 10, 12, 1)).astype(np.float32)
  x = torch.tensor(images.transpose(0, 3, 1, 2).copy()) - 0.5
  for layer in range(3):
    params = variables['params'][f'Conv_{layer}']
    kernel = torch.tensor(params['kernel'].transpose(3, 2, 0, 1).copy())
    x = torch.nn.functional.conv2d(x, kernel, torch.tensor(params['bias']),
                                   padding='same')
    x = x if layer == 2 else torch.tanh(x)
  expected = torch.nn.functional.pixel_shuffle(x, scale) + 0.5
  np.testing.assert_allclose(enlarged(model, variables, images),
                             expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)


def test_padding_changes_nothing():
  super_resolution.check_padding_changes_nothing(Espcn(2, widths=(8, 4)))


def test_a_pixel_reads_the_radius():
  assert super_resolution.read_by(Espcn(3, widths=(4, 4)), 1) == (4, 4)
  assert Espcn(3, widths=(4, 4)).radius == 4
  assert super_resolution.read_by(Espcn(2, widths=(4,)), 0) == (3, 3)


@pytest.mark.parametrize('field', [{'scale': 0}, {'scale': 2, 'widths': (4, 0)}])
def test_bad_sizes(field):
  with pytest.raises(ValueError, match='must be >= 1'):
    Espcn(**field)
