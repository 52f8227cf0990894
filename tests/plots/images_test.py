"""Tests of images as matplotlib draws them."""

import numpy as np
import pytest

from bigmodels.plots import images, style
from tests.plots.rendering import render


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


def test_a_long_note_is_not_cut_at_the_edge():
  figure = images.image_grid(
    [np.zeros((9, 8, 8, 1), np.uint8)], ['a class of a name'], white=16,
    width=style.HALF, note='measured by digits_cnn in /a/path' + '/of/many/folders' * 9)
  render({'A grid': figure})
  note = figure.axes[0].get_title(loc='left')
  assert note.startswith('measured by') and '…' in note and note.endswith('/folders')
  assert figure.get_tightbbox().x1 <= style.HALF
