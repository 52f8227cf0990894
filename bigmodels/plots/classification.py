"""Plots of a classifier.

They replace the displays of scikit-learn, which colour a confusion matrix by the
printed numbers (counts or fractions), let many class names overlap, and have no
histogram of the confidence.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style, two_classes
from bigmodels.plots.images import to_rgb
from bigmodels.plots.table import Inputs, Table

if TYPE_CHECKING:
  from matplotlib.figure import Figure

MISTAKES = 24  # maximum number shown
_LONGEST = 500  # characters of a text that are shown


def classification(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
                   classes: Sequence[str] | None, *, threshold: float | None = None
                   ) -> 'dict[str, Figure]':
  """Draws the confusion matrix, three curves, reliability, and worst mistakes.

  The curves are for two classes: ROC, precision-recall, and the decision curve.

  Args:
    outputs: `labels` `[n]`, `predictions` `[n]`, `probabilities` `[n, classes]`; and
      `weights` `[n]` if examples are weighted, in the curves and the reliability.
    inputs: rows `[k]` -> raw inputs `[k, ...]` of the split. Mistakes are shown if
      these are images `[k, height, width, 1 or 3]`, or have words.
    classes: names of the classes; None numbers them.
    threshold: the probability of class 1 that is marked on the curves, or None.

  Returns:
    Title -> figure. Rows that are not finite are skipped. There are no figures without
    finite rows, and no figure of mistakes without mistakes.
  """
  labels = np.asarray(outputs['labels']).astype(int)
  predictions = np.asarray(outputs['predictions'], np.float64)
  scores = np.asarray(outputs['probabilities'], np.float64)
  rows = np.flatnonzero(np.isfinite(predictions) & np.isfinite(scores).all(-1))
  if not len(rows):
    return {}
  note = style.finite_note(len(rows), len(labels))
  weights = np.asarray(outputs.get('weights', np.ones(len(labels))), np.float64)[rows]
  predictions = predictions[rows].astype(int)
  labels, scores = labels[rows], scores[rows]
  names = style.class_names(classes, scores.shape[-1])
  confidence = scores[np.arange(len(rows)), predictions]
  result = {'Confusion matrix': _confusion(labels, predictions, names, note)}
  if threshold is not None:
    result['Confusion matrix at the threshold'] = _confusion(
      labels, (scores[:, 1] >= threshold).astype(int), names, note)
  if len(names) == 2 and len(np.unique(labels[weights > 0])) == 2:
    given = two_classes.Scored(labels, scores[:, 1], weights, names[1], threshold)
    result['ROC curve'] = two_classes.roc(given)
    result['Precision and recall'] = two_classes.precision_recall(given)
    result['Decision curve'] = two_classes.decision_curve(given)
  result['Reliability'] = _reliability(confidence, labels == predictions, weights)
  wrong = np.flatnonzero(labels != predictions)
  wrong = wrong[np.argsort(-confidence[wrong], kind='stable')][:MISTAKES]
  if len(wrong) and getattr(inputs, 'words', None):
    result['Most confident mistakes'] = _mistaken_words(
      inputs.words(rows[wrong]), labels[wrong], predictions[wrong], confidence[wrong],
      names)
  elif len(wrong) and inputs is not None:
    images = np.asarray(inputs(rows[wrong]))
    if images.ndim == 4 and images.shape[-1] in (1, 3):
      result['Most confident mistakes'] = _mistakes(
        images, labels[wrong], predictions[wrong], confidence[wrong], names)
  return result


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = 15, *,
                weights: np.ndarray | None = None
                ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
  """Compares confidence with accuracy.

  Guo et al., *On Calibration of Modern Neural Networks*, 2017.

  Args:
    confidence: probability of the predicted class, `[n]`.
    right: whether the prediction is right, bool `[n]`.
    bins: number of bins of equal width from 0 to 1; a bin includes its upper edge.
    weights: weights of the examples, `[n]`; None for 1.

  Returns:
    Expected calibration error; mean confidence, accuracy and count (total weight) of
    each bin, `[bins]`, with 0 for an empty bin.
  """
  edge = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  weights = np.ones(len(edge)) if weights is None else weights
  counts = np.bincount(edge, weights=weights, minlength=bins)
  some = np.where(counts > 0, counts, 1.0)
  means = np.bincount(edge, weights=weights * confidence, minlength=bins) / some
  accuracy = np.bincount(edge, weights=weights * right, minlength=bins) / some
  error = float(np.sum(counts * np.abs(means - accuracy)) / (counts.sum() or 1.0))
  return error, means, accuracy, counts


def _confusion(labels, predictions, names, note):
  from matplotlib.colors import LinearSegmentedColormap, to_rgb

  size = len(names)
  counts = np.bincount(labels * size + predictions, minlength=size * size)
  counts = counts.reshape(size, size)
  fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  # From clear to opaque rather than from white, which would glare on a dark page.
  clear = LinearSegmentedColormap.from_list(
    'clear', [(*to_rgb(style.BLUE), 0), (*to_rgb(style.BLUE), 1)])
  width = style.NARROW if size <= 4 else style.WIDE
  figure, axes = style.panel(width, width if size <= 4 else 0.9 * width)
  axes.set(xlabel='predicted', ylabel='true')
  axes.tick_params(length=0)
  image = axes.imshow(fractions, cmap=clear, vmin=0, vmax=1, interpolation='none')
  if size <= 40:
    short = [style.shorten(name, 18) for name in names]
    look = {'fontsize': 8 if size <= 20 else 5.5, 'parse_math': False}
    turned = max(map(len, short)) * size * look['fontsize'] * 0.7 > 60 * width
    axes.set_xticks(range(size), short, rotation=90 if turned else 0, **look)
    axes.set_yticks(range(size), short, **look)
  if size <= 20:
    digits = len(str(counts.max()))
    fontsize = min(10, 42 * width / size / (0.62 * max(digits, 2)))
    for row, column in np.ndindex(size, size):
      axes.text(column, row, str(counts[row, column]), ha='center', va='center',
                fontsize=fontsize, alpha=1 if counts[row, column] else 0.35,
                color='#fefefe' if fractions[row, column] > 0.55 else 'black')
  if size > 4:
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=28)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7)
    bar.set_label('fraction of the true class', fontsize=8)
  style.subtitle(axes, note)
  return figure


def _reliability(confidence, right, weights, bins=15):
  error, means, accuracy, counts = calibration(confidence, right, bins, weights=weights)
  some = counts > 0
  centers, wide = (np.arange(bins) + 0.5) / bins, 0.9 / bins
  figure = style.figure(style.NARROW, style.NARROW)
  upper, lower = map(
    style.styled, figure.subplots(2, sharex=True, height_ratios=(3, 1)))
  upper.bar(centers[some], accuracy[some], width=wide, color=style.BLUE, alpha=0.45)
  upper.plot(means[some], accuracy[some], 'o', color=style.BLUE, markersize=3)
  upper.plot([0, 1], [0, 1], **style.DASHED)
  upper.set(xlim=(0, 1), ylim=(0, 1.03), ylabel='accuracy')
  lower.bar(centers, counts / (counts.sum() or 1.0), width=wide, color=style.GREY,
            alpha=0.7)
  lower.set(xlabel='confidence', ylabel='fraction')
  style.subtitle(upper, f'expected calibration error {error:.4f}')
  return figure


def _mistaken_words(words, labels, predictions, confidence, names):
  columns = [*dict.fromkeys(name for each in words for name in each)]
  rows = [(names[label], names[prediction], f'{value:.3f}',
           *(each.get(name, '')[:_LONGEST] for name in columns))
          for each, label, prediction, value in zip(
            words, labels, predictions, confidence, strict=True)]
  return Table(('true', 'predicted', 'confidence', *columns), rows)


def _mistakes(images, labels, predictions, confidence, names):
  columns, side = min(8, len(images)), style.FULL / 8.5
  rows = -(-len(images) // columns)
  short = [style.shorten(name, 16) for name in names]
  pairs = [(short[a], short[b]) for a, b in zip(labels, predictions, strict=True)]
  between = ' → ' if max(len(a + b) for a, b in pairs) <= 14 else '\n→ '
  caption = 0.36 if between == ' → ' else 0.5
  height = rows * (side + caption)
  # Placed manually: the layout engine takes seconds for this many panels.
  figure = style.figure(style.FULL * columns / 8, height, layout=None)
  grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={
    'left': 0.005, 'right': 0.995, 'bottom': 0, 'top': 1 - caption / height,
    'hspace': caption / side, 'wspace': 0.06})
  for axes in grid.flat:
    axes.set_axis_off()
  # The brightest byte need not be 255: in scikit-learn's digits it is 16.
  white = max(1, images.max()) if images.dtype == np.uint8 else 255
  for axes, image, pair, value in zip(  # the last row may not be full
      grid.flat, images, pairs, confidence, strict=False):
    axes.imshow(to_rgb(image, white), interpolation='none')
    axes.set_title(f'{between.join(pair)}\n{value:.3f}', fontsize=8, pad=3,
                   parse_math=False)
  return figure
