"""The points and default boxes of the cells of a map, in pixels of the image."""

from collections.abc import Sequence

import numpy as np


def points(shape: tuple[int, int], stride: int) -> np.ndarray:
  """Returns the centers of the cells of a map, float32 `[height * width, 2]`.

  They are row and column, in pixels of the image, row by row.

  Args:
    shape: height and width of the map.
    stride: height and width of a cell, in pixels.
  """
  grid = np.stack(np.mgrid[: shape[0], : shape[1]], -1).reshape(-1, 2)
  return ((grid + 0.5) * stride).astype(np.float32)


def default_boxes(shape: tuple[int, int], stride: int,
                  sizes: Sequence[tuple[float, float]]) -> np.ndarray:
  """Returns boxes of some sizes around the center of each cell of a map.

  Args:
    shape, stride: see `points`.
    sizes: `k` heights and widths, in pixels.

  Returns:
    float32 `[height * width * k, 4]`, those of a cell one after another.
  """
  places, halves = points(shape, stride)[:, None], np.asarray(sizes, np.float32) / 2
  return np.concatenate([places - halves, places + halves], -1).reshape(-1, 4)
