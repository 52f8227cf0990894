"""Tests of tasks.tiles: no seams, for images of any size."""

import numpy as np
import pytest

from bigmodels.tasks.tiles import in_tiles


def means(image, inside):
  """Means of 5 x 5 pixels, over those inside, in squares of 2 x 2 pixels."""
  assert image.shape == inside.shape and image.shape[0] == image.shape[1] == 4 + 4
  assert not image[~inside].any()
  both = np.pad(np.stack([image * inside, inside]), ((0, 0), (2, 2), (2, 2)))
  windows = np.lib.stride_tricks.sliding_window_view(both, (5, 5), (1, 2))
  total, count = windows.sum((-1, -2))
  found = np.where(inside, total / np.maximum(count, 1), -99)
  return found.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize('shape', [(1, 1), (3, 4), (4, 4), (5, 13), (16, 7)])
def test_as_the_whole_image(shape):
  image = np.random.default_rng(0).uniform(size=shape)
  found = in_tiles(means, image, scale=2, radius=2, tile=4)
  assert found.shape == (2 * shape[0], 2 * shape[1])
  for row, column in np.ndindex(*shape):
    part = image[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
    np.testing.assert_allclose(
      found[2 * row : 2 * row + 2, 2 * column : 2 * column + 2], part.mean(), rtol=1e-5)
