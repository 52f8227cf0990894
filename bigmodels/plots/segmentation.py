"""Plots of masks, the class of each pixel, beside the truth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.images import to_rgb
from bigmodels.plots.table import Inputs

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHOWN = 6  # images
_NAMED = 21  # classes in a legend
_LARGEST = 240  # pixels of a side; larger images are subsampled
_IGNORED = np.array([224, 224, 192], np.uint8)  # as in VOC


def segmentation(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
                 classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Draws images with their masks, and the intersection over union of each class.

  The images are those from the worst to the best, by the mean IoU of their classes.

  Args:
    outputs: `labels`, `predictions`, uint8 `[n, height, width]`, and `confusion`, int
      `[n, classes, classes]`, rows being labels. Labels from `classes` on are ignored.
    inputs: rows `[k]` -> images `[k, height, width, 1 or 3]`, with their names; or None
      for masks alone.
    classes: names of the classes; None numbers them.

  Returns:
    Title -> figure; none without pixels that count.
  """
  counts = np.asarray(outputs['confusion'], np.int64)
  scored = np.flatnonzero(counts.any((1, 2)))
  if not len(scored):
    return {}
  names = style.class_names(classes, counts.shape[-1])
  each = _mean_iou(counts[scored])
  order = scored[np.argsort(each, kind='stable')]
  rows = order[np.unique(np.linspace(0, len(order) - 1, _SHOWN).round().astype(int))]
  values = dict(zip(scored.tolist(), each.tolist(), strict=True))
  return {'Images and masks': _masks(outputs, inputs, rows, names, values),
          'IoU of each class': _bars(counts.sum(0), names)}


def coloured(mask: np.ndarray, classes: int) -> np.ndarray:
  """Returns a mask in colours, uint8 `[height, width, 3]`.

  Args:
    mask: class indices, `[height, width]`; those from `classes` on are ignored pixels.
    classes: number of classes.
  """
  return np.where((mask < classes)[..., None], style.mask_colours()[mask], _IGNORED)


def _ious(counts: np.ndarray) -> np.ndarray:
  """The IoU of each class, `[..., classes]`; NaN for one that does not occur."""
  right = np.diagonal(counts, axis1=-2, axis2=-1)
  union = counts.sum(-1) + counts.sum(-2) - right
  return np.divide(right, union, out=np.full(right.shape, np.nan), where=union > 0)


def _mean_iou(counts: np.ndarray) -> np.ndarray:
  """The mean over the classes that occur, `[n]`."""
  return np.nanmean(_ious(counts), -1)


def _masks(outputs, inputs, rows, names, values) -> 'Figure':
  from matplotlib.patches import Patch

  images = None if inputs is None else inputs(rows)
  labels, predictions = (outputs[name][rows] for name in ('labels', 'predictions'))
  words = [{}] * len(rows)
  if inputs is not None and inputs.words:
    words = inputs.words(rows)
  side = style.FULL / 4
  high = side * labels.shape[1] / labels.shape[2] + 0.35
  shown = np.unique([labels, predictions])
  shown = shown[shown < len(names)] if len(names) <= _NAMED else []
  labelled = [style.shorten(names[c], 20) for c in shown]
  # A letter is 0.075 inches wide, and a patch with its margins 0.6.
  columns = int(style.FULL / (0.6 + 0.075 * max(map(len, labelled), default=0)))
  columns = min(columns, 6)
  legend = 0.25 * -(-len(shown) // columns)
  figure = style.figure(style.FULL, high * len(rows) + legend)
  panels = figure.subplots(len(rows), 4, squeeze=False)
  for index, axes in enumerate(panels):
    inside = _extent(labels[index], len(names))
    label, prediction = labels[index][inside], predictions[index][inside]
    step = -(-max(label.shape) // _LARGEST)
    wrong = (label != prediction) & (label < len(names))
    if images is not None:
      image = images[index][inside]
      axes[0].imshow(to_rgb(image, max(1, image.max()), largest=_LARGEST))
    row = int(rows[index])
    style.subtitle(axes[0], style.shorten(words[index].get('image', str(row)), 30))
    for panel, shown_mask, title in (
      (axes[1], coloured(label, len(names)), 'true'),
      (axes[2], coloured(prediction, len(names)),
       f'predicted, mean IoU {values[row]:.3f}'),
      (axes[3], np.where(wrong[..., None], np.uint8([217, 98, 43]), np.uint8(235)),
       f'mistakes, {wrong.mean():.1%} of pixels')):
      panel.imshow(shown_mask[::step, ::step], interpolation='nearest')
      style.subtitle(panel, title)
    for panel in axes:
      panel.set(xticks=[], yticks=[])
      panel.spines[:].set_linewidth(0.6)
  if len(shown):
    colours = style.mask_colours()[shown] / 255
    style.legend(figure, [
      Patch(facecolor=colour, edgecolor=style.GREY, linewidth=0.5)
      for colour in colours], labelled, loc='outside lower left', ncols=columns,
      fontsize=8)
  return figure


def _extent(mask: np.ndarray, classes: int) -> tuple[slice, slice]:
  """The smallest window from the top left with all pixels that are not ignored."""
  known = mask < classes
  return tuple(slice(0, int(np.flatnonzero(known.any(axis)).max()) + 1)
               for axis in (1, 0))


def _bars(counts: np.ndarray, names: Sequence[str]) -> 'Figure':
  values = _ious(counts)
  occurs = np.flatnonzero(~np.isnan(values))
  figure, axes = style.panel(style.HALF, 0.9 + 0.19 * len(occurs))
  positions = np.arange(len(occurs))
  axes.barh(positions, values[occurs], color=style.BLUE, height=0.7)
  mean = values[occurs].mean()
  axes.axvline(mean, **style.DASHED)
  axes.set_yticks(positions, [style.shorten(names[c], 24) for c in occurs], fontsize=8,
                  parse_math=False)
  axes.invert_yaxis()
  axes.set(xlim=(0, 1), xlabel='intersection over union')
  left = len(values) - len(occurs)
  style.subtitle(axes, f'dashed: the mean, {mean:.4f}', (
    f'{left} class{"es" * (left > 1)} without pixels left out' if left else ''))
  return figure
