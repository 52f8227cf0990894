"""Plots of generated images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.images import image_grid
from bigmodels.plots.table import Inputs, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure


# Images in a row, rows along the run, and images from noise to an image.
_COLUMNS, _SNAPSHOTS, _STEPS = 10, 8, 10


def generation(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
               classes: Sequence[str] | None, *,
               snapshots: Mapping[int, Mapping[str, np.ndarray]],
               paths: tuple[int, int] = (0, 0), white: int = 255,
               note: str | None = None
               ) -> 'dict[str, Figure]':
  """Draws samples beside real images, samples along the run, and interpolations.

  Args:
    outputs: `generated` and `real`, uint8 `[n, height, width, 1 or 3]`, and `labels`
      `[n]`. With paths also `between`, whose first rows are images on paths between two
      latents, one path after the other.
    inputs: not used.
    classes: names of the classes; None numbers them.
    snapshots: step -> `generated` `[k, height, width, 1 or 3]`, for the same noise.
    paths: number of paths, and number of images on each.
    white: value of white pixels.
    note: a line above the samples.

  Returns:
    Title -> figure; empty unless the images have 1 or 3 channels.
  """
  labels = np.asarray(outputs['labels'])
  if outputs['real'].shape[-1] not in (1, 3):
    return {}
  shown = np.unique(labels)[:10]
  names = style.class_names(classes, int(labels.max()) + 1)
  rows = [np.flatnonzero(labels == label)[:_COLUMNS] for label in shown]
  width = min(map(len, rows))
  result = {}

  def grid(title, images, names, note):
    result[title] = image_grid(images, names, white=white, width=style.HALF, note=note)

  for title, images in (('Samples', outputs['generated']), ('Real', outputs['real'])):
    grid(title, [images[row[:width]] for row in rows],
         [names[label] for label in shown],
         note if title == 'Samples' else 'of the same split')
  if snapshots:
    # More of them early in the run, when images change faster.
    every = sorted(snapshots)
    steps = [every[i] for i in np.unique(np.ceil(
      (len(every) - 1) * np.linspace(0, 1, _SNAPSHOTS) ** 2).astype(int))]
    grid('Along the run', [snapshots[step]['generated'] for step in steps],
         [f'{step:,}' for step in steps], 'of the same noise, at different steps')
  count, points = paths
  if 0 < count * points <= len(labels):
    grid('Between two latents',
         [outputs['between'][i * points : (i + 1) * points] for i in range(count)],
         [''] * count, 'along the great circle, left to right')
  return result


def denoised(images: np.ndarray, white: int) -> 'Figure':
  """Draws the images that a sampler predicts on the way from noise, a row each.

  Args:
    images: uint8 `[steps, n, height, width, 1 or 3]`.
    white: value of white pixels.
  """
  rows = images[spread(len(images), _STEPS)].swapaxes(0, 1)
  return image_grid([*rows], [''] * len(rows), white=white, width=style.HALF,
                    note='what is predicted at the steps of the sampler')
