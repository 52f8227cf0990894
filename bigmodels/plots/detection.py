"""Plots of boxes: true and found ones, precision and recall, the worst images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.images import to_rgb
from bigmodels.plots.table import Inputs, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHOWN = 6  # images
_SIDE = 320  # pixels of an image, at most
_CURVES = 8  # classes
_COLORS = ('#3b7dd8', '#d9622b', '#2a9d6f', '#8e63ce', '#c2447a', '#b08900')


def detection(outputs: Mapping[str, np.ndarray], inputs: Inputs,
              classes: Sequence[str] | None, *, precision: np.ndarray,
              found: Sequence[np.ndarray], seen: Sequence[np.ndarray],
              draw_threshold: float = 0.3) -> 'dict[str, Figure]':
  """Draws images with their boxes, those with the most errors, and the precision.

  Args:
    outputs: see `metrics.detection.evaluate`, with `scales` `[n, 2]`, pixels of the
      inputs for each of the original images.
    inputs: rows -> images, with their names.
    classes: names of the classes, or None.
    precision: see `metrics.detection.Evaluation`.
    found: for each image the object of each box, see `metrics.detection.matches`.
    seen: for each image whether each object was found.
    draw_threshold: minimum score of a box that is drawn, and counts as wrong.

  Returns:
    Title -> figure.
  """
  names = style.class_names(classes, precision.shape[2])
  wrong = [(each == -1) & (scores >= draw_threshold)
           for each, scores in zip(found, outputs['found_scores'], strict=True)]
  errors = np.array([miss.sum() + (~there).sum()
                     for miss, there in zip(wrong, seen, strict=True)])
  worst = np.argsort(-errors, kind='stable')[:_SHOWN]
  draw = _Drawing(outputs, inputs, names, wrong, seen, draw_threshold)
  figures = {'Precision and recall': _curves(precision, names),
             'True and found boxes': draw.page(spread(len(errors), _SHOWN))}
  worst = worst[errors[worst] > 0]
  if len(worst):
    figures['Worst misses'] = draw.page(worst)
  return figures


def _curves(precision: np.ndarray, names: Sequence[str]) -> 'Figure':
  """Precision at each recall, at an intersection over union of 0.5 and of 0.75."""
  figure = style.figure(style.WIDE, 3.4)
  recall = np.linspace(0, 1, precision.shape[1])
  # The classes with objects; of many, those with the lowest precision.
  means = {index: float(precision[0, :, index, 0].mean())
           for index in range(len(names)) if np.isfinite(precision[0, 0, index, 0])}
  chosen = sorted(means, key=means.get)[:_CURVES]
  for axes, (threshold, title) in zip(
    figure.subplots(1, 2, sharey=True), ((0, 'overlap of 0.5'), (5, 'of 0.75')),
    strict=True):
    style.styled(axes)
    curves = [precision[threshold, :, index, 0] for index in sorted(chosen)]
    lines = [axes.plot(recall, values, linewidth=1.2)[0] for values in curves]
    axes.set(xlabel='recall', xlim=(0, 1), ylim=(0, 1.02))
    style.subtitle(axes, title)
    style.legend(axes, lines, [
      f'{style.shorten(names[index], 20)}, {values.mean():.3f}'
      for index, values in zip(sorted(chosen), curves, strict=True)],
      fontsize=7.5, loc='lower left')
  figure.axes[0].set(ylabel='precision')
  return figure


def draw_boxes(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray,
               texts: Sequence[str]) -> np.ndarray:
  """Draws boxes on an image.

  Args:
    image: uint8 `[height, width, 1 or 3]`.
    boxes: `[n, 4]`, in pixels, see `core.boxes`.
    labels: classes, which have colors, int `[n]`.
    texts: `n` texts, one for each box.

  Returns:
    uint8 `[height, width, 3]`.
  """
  from PIL import Image, ImageDraw, ImageFont

  picture = Image.fromarray(np.ascontiguousarray(np.broadcast_to(
    image, (*image.shape[:2], 3))))
  draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
  width = max(1, round(max(image.shape[:2]) / 300))
  for (top, left, bottom, right), label, text in zip(
    np.round(boxes).astype(int).tolist(), labels.tolist(), texts, strict=True):
    color = _COLORS[label % len(_COLORS)]
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    draw.rectangle((left, top, right, bottom), outline=color, width=width)
    if text:
      corner = left, max(top - 11, 0)
      draw.rectangle(draw.textbbox(corner, text, font=font), fill=color)
      draw.text(corner, text, fill='white', font=font)
  return np.asarray(picture)


class _Drawing:
  """Draws images with true boxes, right ones and wrong ones."""

  def __init__(self, outputs, inputs, names, wrong, seen, draw_threshold):
    self._outputs, self._inputs, self._names = outputs, inputs, names
    self._wrong, self._seen, self._draw_threshold = wrong, seen, draw_threshold

  def page(self, rows: np.ndarray) -> 'Figure':
    """A figure of some images, three in a row."""
    pictures = self._inputs(np.asarray(rows))
    words = self._inputs.words(np.asarray(rows)) if self._inputs.words else (
      [{}] * len(rows))
    height, width = pictures.shape[1:3]
    lines = -(-len(rows) // 3)
    each = style.FULL / 3
    figure = style.figure(style.FULL, lines * (each * height / width + 0.55))
    panels = np.atleast_1d(figure.subplots(lines, 3)).ravel()
    for axes in panels[len(rows):]:
      axes.set_visible(False)
    for axes, row, picture, named in zip(panels, rows, pictures, words, strict=False):
      shown = to_rgb(picture, largest=_SIDE)
      axes.imshow(shown, extent=(0, width, height, 0), interpolation='nearest')
      missed = int((~self._seen[row]).sum())
      wrong = int(self._wrong[row].sum())
      style.subtitle(axes, style.shorten(named.get('picture', str(row)), 40),
                     f'{missed} missed, {wrong} wrong' if missed or wrong else (
                       'all found'))
      self._boxes(axes, int(row))
      axes.set(xticks=[], yticks=[])
      axes.spines[:].set_linewidth(0.6)
    return figure

  def _boxes(self, axes, row: int) -> None:
    found, scale = self._outputs, self._outputs['scales'][row]
    present = np.flatnonzero(found['present'][row])
    for index in present:
      missed = not self._seen[row][index]
      color, width = (style.ORANGE, 1.6) if missed else (style.GREY, 0.8)
      _frame(axes, found['boxes'][row][index], scale, color, (0, (2, 2)), width,
             self._names[found['labels'][row][index]] if missed else '')
    scores = found['found_scores'][row]  # 0 where there are no more boxes
    for index in np.flatnonzero((scores > 0) & (scores >= self._draw_threshold)):
      wrong = self._wrong[row][index]
      _frame(axes, found['found_boxes'][row][index], scale,
             '#c2447a' if wrong else style.BLUE, '-', 1.0,
             f'{self._names[found["found_labels"][row][index]]} '
             f'{scores[index]:.2f}')


def _frame(axes, box, scale, color, line, width, text) -> None:
  from matplotlib.patches import Rectangle

  top, left, bottom, right = np.asarray(box, float) * np.tile(scale, 2)
  axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False,
                           edgecolor=color, linewidth=width, linestyle=line))
  if text:
    axes.text(left, top, style.shorten(text, 16), color=color, fontsize=5,
              va='bottom', parse_math=False, clip_on=True)
