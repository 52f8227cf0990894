"""Tests of layers.pixel_shuffle against a loop and PyTorch."""

import numpy as np
import pytest

from bigmodels.layers.pixel_shuffle import pixel_shuffle

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 4, 18)).astype(np.float32)


def test_every_channel_has_its_place():
  found = np.asarray(pixel_shuffle(IMAGES, 3))
  assert found.shape == (2, 9, 12, 2)
  for row, column, channel in np.ndindex(9, 12, 2):
    np.testing.assert_array_equal(
      found[:, row, column, channel],
      IMAGES[:, row // 3, column // 3, channel * 9 + row % 3 * 3 + column % 3])


@pytest.mark.reference
def test_as_pytorch():
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  expected = torch.nn.functional.pixel_shuffle(
    torch.tensor(IMAGES.transpose(0, 3, 1, 2).copy()), 3)
  np.testing.assert_array_equal(
    pixel_shuffle(IMAGES, 3), expected.numpy().transpose(0, 2, 3, 1))


def test_channels_that_make_no_square():
  with pytest.raises(ValueError, match='multiple of 4\\*\\*2, got 18'):
    pixel_shuffle(IMAGES, 4)
