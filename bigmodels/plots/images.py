"""Images for matplotlib: a single image, or a grid."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def to_rgb(image: np.ndarray, white: float = 255, largest: int = 96) -> np.ndarray:
  """Converts an image into RGB from 0 to 1, small enough to embed.

  Args:
    image: `[height, width, 1 or 3]`; floats of any range are scaled.
    white: the byte that becomes 1.
    largest: maximum number of pixels per side; larger images are subsampled.

  Returns:
    float64 `[height, width, 3]`, with at most `largest` rows and columns.
  """
  step = -(-max(image.shape[:2]) // largest)
  image = image[::step, ::step]
  if image.dtype == np.uint8:
    image = image / white
  else:
    image = image.astype(np.float64)
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
    image = np.nan_to_num((image - low) / ((high - low) or 1), posinf=1, neginf=0)
  return np.broadcast_to(image, (*image.shape[:2], 3))


def image_grid(rows: Sequence[np.ndarray], names: Sequence[str], *, white: int,
               width: float, note: str | None) -> 'Figure':
  """Draws a grid of images as one image.

  Args:
    rows: rows with the same number of images, uint8 `[n, height, width, 1 or 3]`.
    names: names of the rows.
    white: value of white pixels.
    width: width of the figure in inches.
    note: a line above it.
  """
  # Pixels between two images, and pixels per pixel of an image.
  gap, scale = 2, max(1, 40 // rows[0].shape[1])
  rows = [row.repeat(scale, 1).repeat(scale, 2) for row in rows]
  cells = [np.pad(row, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=white)
           for row in rows]
  page = np.concatenate([np.concatenate(list(row), 1) for row in cells])[:-gap, :-gap]
  pitch = rows[0].shape[1] + gap
  names = [style.shorten(name, 16) for name in names]
  longest = max(map(len, names))
  figure = style.figure(width, width * page.shape[0] / page.shape[1] * (
    1 - 0.012 * longest) + 0.3 * bool(note))
  axes = figure.subplots()
  axes.imshow(to_rgb(page, white, largest=1200), interpolation='none')
  axes.spines[:].set_visible(False)
  axes.set_xticks([])
  axes.set_yticks(np.arange(len(rows)) * pitch + (pitch - gap) / 2, names, fontsize=8,
                  parse_math=False)
  axes.tick_params(length=0)
  if note:
    # What is beside the names; a letter is 0.07 inches wide.
    style.subtitle(axes, style.shorten(note, int((width - 0.07 * longest) / 0.07) - 2))
  return figure
