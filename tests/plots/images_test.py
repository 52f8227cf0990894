"""Tests of images as matplotlib draws them."""

import numpy as np
import pytest

from bigmodels.plots import images


@pytest.mark.parametrize('scale, shift', [(1, 0), (1e3, -500), (1e-6, 5), (0, 3)])
def test_float_images_of_any_range_are_scaled_for_the_eye(scale, shift):
  image = np.random.default_rng(0).uniform(size=(9, 7, 1)) * scale + shift
  rgb = images.to_rgb(image)
  assert rgb.shape == (9, 7, 3)
  assert rgb.min() == 0 and rgb.max() == (1 if scale else 0)


def test_large_images_shrink_and_bytes_keep_their_brightness():
  rgb = images.to_rgb(np.full((500, 300, 3), 51, np.uint8))
  assert max(rgb.shape) <= 96
  np.testing.assert_allclose(rgb, 0.2)
