"""Tests of bigmodels.layers.patches, against plain loops."""

import numpy as np

from bigmodels.layers.patches import images_of, patches

IMAGES = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3).astype(np.float32)


def test_patches_are_those_of_a_loop_row_by_row():
  found = np.asarray(patches(IMAGES, 2))
  expected = [[image[top : top + 2, left : left + 2].ravel()
               for top in (0, 2) for left in (0, 2, 4)] for image in IMAGES]
  np.testing.assert_array_equal(found, expected)


def test_images_are_put_together_again():
  np.testing.assert_array_equal(images_of(patches(IMAGES, 2), 2, (4, 6, 3)), IMAGES)
