"""Plots of generated images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.images import image_grid

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def generation(outputs: Mapping[str, np.ndarray], inputs: style.Inputs | None,
               classes: Sequence[str] | None, *, moments: Sequence[int],
               columns: int, ways: tuple[int, int], white: int = 255,
               note: str | None = None) -> 'dict[str, Figure]':
  """Draws samples beside real images, samples along the run, and interpolations.

  Args:
    outputs: `generated`, `real`, `album` and `between`, uint8 `[n, height, width, 1 or
      3]`, and `labels` `[n]`. `album` holds a row of images for each moment, one after
      the other, and `between` those of each way.
    inputs: not used.
    classes: their names; None numbers them.
    moments: steps at which the rows of the album were made.
    columns: images in a row of the album.
    ways: number of interpolations between two latents, and images on each.
    white: the byte of white.
    note: a line above the samples.

  Returns:
    Title -> figure; empty unless the images have 1 or 3 channels.
  """
  labels = np.asarray(outputs['labels'])
  if outputs['real'].shape[-1] not in (1, 3):
    return {}
  shown = np.unique(labels)[:10]
  names = style.class_names(classes, int(labels.max()) + 1)
  rows = [np.flatnonzero(labels == label)[:columns] for label in shown]
  width = min(map(len, rows))
  result = {}

  def grid(title, images, names, note):
    result[title] = image_grid(images, names, white=white, width=style.HALF, note=note)

  for title, images in (('Samples', outputs['generated']), ('Real', outputs['real'])):
    grid(title, [images[row[:width]] for row in rows],
         [names[label] for label in shown],
         note if title == 'Samples' else 'of the same split')
  made = np.flatnonzero(outputs['album'].reshape(len(labels), -1).any(1))
  count = min(len(made) and made[-1] // columns + 1, len(moments),
              len(labels) // columns)
  if count:
    grid('Along the run',
         [outputs['album'][i * columns : (i + 1) * columns] for i in range(count)],
         [f'{moment:,}' for moment in moments[:count]],
         'the same latents after so many steps')
  paths, points = ways
  if len(labels) >= paths * points:
    grid('Between two latents',
         [outputs['between'][i * points : (i + 1) * points] for i in range(paths)],
         [''] * paths, 'on the great circle from left to right')
  return result
