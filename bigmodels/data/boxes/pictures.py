"""Pictures of any size brought to one, and their boxes with them."""

from typing import NamedTuple

import numpy as np

from bigmodels.data import images


class Fitted(NamedTuple):
  """A picture in the size of all others.

  Attributes:
    picture: uint8 `[*size, channels]`.
    scales: pixels of it for each pixel of the original, float32 `[2]`, vertically and
      horizontally.
  """

  picture: np.ndarray
  scales: np.ndarray


def fit(picture: np.ndarray, size: tuple[int, int]) -> Fitted:
  """Returns a picture as large as fits in a size, with zeros below or to the right.

  Its aspect is kept, up to whole pixels.

  Args:
    picture: uint8 `[height, width, channels]`.
    size: height and width of the result.
  """
  shape = np.array(picture.shape[:2])
  new = fitted(shape, size)
  if (new != shape).any():
    picture = images.resized(picture, None, (int(new[0]), int(new[1])))
  margin = ((0, size[0] - new[0]), (0, size[1] - new[1]), (0, 0))
  return Fitted(np.pad(picture, margin), (new / shape).astype(np.float32))


def fitted(shape: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Returns the largest height and width of an aspect in a size, int `[..., 2]`.

  Args:
    shape: heights and widths, `[..., 2]`.
    size: height and width.
  """
  scale = (np.array(size) / np.maximum(shape, 1)).min(-1, keepdims=True)
  return np.clip(np.round(shape * scale).astype(int), 1, size)
