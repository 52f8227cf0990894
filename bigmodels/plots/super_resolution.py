"""Plots of enlarged images beside bicubic enlargement and the truth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Inputs, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHOWN = 5  # images
_DETAIL = 64  # pixels of a side of what is shown of an image
_LISTED = 40  # images whose names are drawn


def super_resolution(outputs: Mapping[str, np.ndarray], inputs: Inputs,
                     classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Draws details of images in three versions, and the PSNR of every image.

  Args:
    outputs: `predictions`, `bicubic` and `targets`, uint8 `[n, height, width]`, with
      the `sizes` of the images, int `[n, 2]`; `psnr`, `ssim`, `psnr_bicubic` and
      `ssim_bicubic`, `[n]`.
    inputs: rows -> the images before they were enlarged, with their names.
    classes: not used.

  Returns:
    Title -> figure.
  """
  count = len(outputs['psnr'])
  words = inputs.words(np.arange(count)) if inputs.words else [{}] * count
  names = [each.get('image', str(row)) for row, each in enumerate(words)]
  return {'Enlarged images': _details(outputs, names),
          'PSNR of each image': _scores(outputs, names)}


def _details(outputs: Mapping[str, np.ndarray], names: Sequence[str]) -> 'Figure':
  """Images, and the detail of each in which the network differs from bicubic most."""
  rows = spread(len(names), _SHOWN)
  figure = style.figure(style.FULL, 2.75 * len(rows))
  panels = figure.subplots(len(rows), 4, squeeze=False)
  for row, axes in zip(rows, panels, strict=True):
    height, width = outputs['sizes'][row]
    truth, ours, smooth = (outputs[name][row][:height, :width]
                           for name in ('targets', 'predictions', 'bicubic'))
    top, left = _most_changed(ours, smooth)
    window = slice(top, top + _DETAIL), slice(left, left + _DETAIL)
    axes[0].imshow(truth, cmap='gray', vmin=0, vmax=255)
    axes[0].add_patch(_frame(left, top, truth[window].shape))
    style.subtitle(axes[0], style.shorten(names[row], 30), f'{width} x {height} pixels')
    for panel, image, title, suffix in (
      (axes[1], smooth, 'bicubic', '_bicubic'), (axes[2], ours, 'enlarged', ''),
      (axes[3], truth, 'truth', None)):
      panel.imshow(image[window], cmap='gray', vmin=0, vmax=255,
                   interpolation='nearest')
      style.subtitle(panel, title, ' ' if suffix is None else (
        f'{outputs["psnr" + suffix][row]:.2f} dB, SSIM '
        f'{outputs["ssim" + suffix][row]:.4f}'))
    for panel in axes:
      panel.set(xticks=[], yticks=[])
      panel.spines[:].set_linewidth(0.6)
  return figure


def _most_changed(ours: np.ndarray, smooth: np.ndarray) -> tuple[int, int]:
  """The top and left of the detail with the largest squared difference."""
  squares = (ours.astype(np.float64) - smooth) ** 2
  sums = np.pad(squares.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
  high, wide = (min(_DETAIL, length) for length in ours.shape)
  totals = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + (
    sums[:-high, :-wide])
  top, left = np.unravel_index(totals.argmax(), totals.shape)
  return int(top), int(left)


def _frame(left: int, top: int, shape: tuple[int, int]):
  from matplotlib.patches import Rectangle

  return Rectangle((left, top), shape[1] - 1, shape[0] - 1, fill=False,
                   edgecolor=style.ORANGE, linewidth=1.2)


def _scores(outputs: Mapping[str, np.ndarray], names: Sequence[str]) -> 'Figure':
  """The PSNR of each image, sorted by that of bicubic enlargement."""
  order = np.argsort(outputs['psnr_bicubic'])
  figure, axes = style.panel(style.WIDE, 1.1 + 0.2 * min(len(order), _LISTED))
  ours, smooth = outputs['psnr'][order], outputs['psnr_bicubic'][order]
  positions = np.arange(len(order))
  axes.hlines(positions, smooth, ours, color=style.GREY, linewidth=0.8)
  axes.plot(smooth, positions, 'o', color=style.GREY, markersize=4,
            label=f'bicubic, {smooth.mean():.2f} dB')
  axes.plot(ours, positions, 'o', color=style.BLUE, markersize=4,
            label=f'enlarged, {ours.mean():.2f} dB')
  axes.set(xlabel='PSNR in dB')
  if len(order) <= _LISTED:
    axes.set_yticks(positions, [style.shorten(names[i], 30) for i in order],
                    parse_math=False)
  else:
    axes.set(ylabel='image')
  axes.legend(fontsize=8, frameon=False, loc='lower right')
  return figure
