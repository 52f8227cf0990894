"""Images of any size through a convolutional network, in tiles."""

from collections.abc import Callable

import numpy as np


def in_tiles(enlarge: Callable[[np.ndarray, np.ndarray], np.ndarray],
             image: np.ndarray, *, scale: int, radius: int, tile: int) -> np.ndarray:
  """Enlarges an image tile by tile, with the result of enlarging it as a whole.

  Each tile is computed with the pixels around it that it depends on, so that there are
  no seams. All are of one size, for which the network is compiled once.

  Args:
    enlarge: (a part `[side, side, ...]`, which of its pixels are inside the image, bool
      `[side, side]`) -> the part enlarged, `[side * scale, side * scale]`. Pixels that
      are not inside are zeros.
    image: `[height, width, ...]`.
    scale: how many times it is enlarged.
    radius: pixels around a pixel that its enlargement depends on.
    tile: side of a tile, in pixels of the image.

  Returns:
    float32 `[height * scale, width * scale]`.
  """
  height, width = image.shape[:2]
  margin = [(radius, radius + -length % tile) for length in (height, width)]
  padded = np.pad(image, [*margin, *[(0, 0)] * (image.ndim - 2)])
  inside = np.pad(np.ones((height, width), bool), margin)
  result = np.zeros((len(padded) * scale, padded.shape[1] * scale), np.float32)
  first, last = radius * scale, (radius + tile) * scale
  for top in range(0, height, tile):
    for left in range(0, width, tile):
      window = (slice(top, top + tile + 2 * radius),
                slice(left, left + tile + 2 * radius))
      part = np.asarray(enlarge(padded[window], inside[window]))
      result[top * scale : (top + tile) * scale, left * scale : (left + tile) * scale
             ] = part[first:last, first:last]
  return result[: height * scale, : width * scale]
