"""Plots of embeddings, and of pairs that are of one identity or of two."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodels.plots import style, two_classes
from bigmodels.plots.images import image_grid
from bigmodels.plots.table import Inputs

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_PAIRS = 10  # of each kind that are shown
_IDENTITIES = 10  # that are drawn in colour
_OTHERS = 2000  # examples that are drawn in grey


def verification(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
                 found: Any, *, threshold: float | None = None
                 ) -> 'dict[str, Figure]':
  """Draws the ROC curve, the similarities, the embeddings, and the hardest pairs.

  Args:
    outputs: `embeddings` `[n, width]` and `labels`, int `[n]`.
    inputs: the raw inputs and words of the rows; pairs are shown if these are images.
    found: pairs of rows, `first`, `second`, `same` and `similarities`, each `[pairs]`;
      or None. See `metrics.pairs`.
    threshold: the smallest similarity that is accepted, or None.

  Returns:
    Title -> figure; without those of pairs if there are none of both kinds, and empty
    if an embedding is not finite.
  """
  if not len(outputs['embeddings']) or not np.isfinite(outputs['embeddings']).all():
    return {}
  result = {}
  if found is not None and len({*found.same.tolist()}) == 2:
    result['ROC curve'] = two_classes.roc(two_classes.Scored(
      found.same.astype(int), found.similarities, np.ones(len(found.same)),
      'one identity', threshold))
    result['Similarities'] = _histogram(found, threshold)
    result |= _hardest(found, inputs)
  result['Embeddings'] = _map(outputs, inputs)
  return result


def _histogram(found, threshold):
  figure, axes = style.panel(style.HALF, 3.2)
  low, high = found.similarities.min(), found.similarities.max()
  bins = np.linspace(low, max(high, low + 1e-6), int(np.clip(
    2 * len(found.same) ** (1 / 3), 8, 60)) + 1)
  for kind, color, name in ((found.same, style.BLUE, 'one identity'),
                            (~found.same, style.ORANGE, 'two identities')):
    count = np.count_nonzero(kind)
    axes.hist(found.similarities[kind], bins=bins, color=color, alpha=0.55,
              weights=np.full(count, 1 / count), label=f'{name}, {count:,}')
  axes.set(xlabel='cosine of the embeddings', ylabel='fraction of each kind')
  if threshold is not None:
    axes.axvline(threshold, color='black', linewidth=0.8)
    style.subtitle(axes, f'threshold {threshold:.3f}')
  axes.legend(fontsize=8, frameon=False, loc='upper left')
  return figure


def _hardest(found, inputs):
  """Title -> pairs of images that are most unlike their kind."""
  if inputs is None:
    return {}
  result = {}
  for title, kind, sign in (('Most similar of two identities', ~found.same, -1),
                            ('Least similar of one identity', found.same, 1)):
    rows = np.flatnonzero(kind)
    rows = rows[np.argsort(sign * found.similarities[rows], kind='stable')][:_PAIRS]
    images = [np.asarray(inputs(side[rows])) for side in (found.first, found.second)]
    if images[0].ndim != 4 or images[0].shape[-1] not in (1, 3) or (
      images[0].dtype != np.uint8):
      return {}
    low, high = np.sort(found.similarities[rows])[[0, -1]]
    result[title] = image_grid(images, ['', ''], white=255, width=style.HALF,
                               note=f'similarities from {low:.2f} to {high:.2f}')
  return result


def _map(outputs, inputs):
  """The two directions in which the embeddings of the largest identities vary most."""
  labels, vectors = outputs['labels'], outputs['embeddings'].astype(np.float64)
  numbers, firsts, counts = np.unique(labels, return_index=True, return_counts=True)
  order = np.argsort(-counts, kind='stable')
  shown = [index for index in order[:_IDENTITIES] if counts[index] > 1]
  chosen = np.isin(labels, numbers[shown])
  center = vectors[chosen if shown else slice(None)]
  mean = center.mean(0)
  axis = np.linalg.svd(center - mean, full_matrices=False)[2][:2]
  points = (vectors - mean) @ axis.T
  if points.shape[1] < 2:  # one example, or embeddings of one number
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
  figure, axes = style.panel(style.HALF, style.HALF * 0.8)
  others = np.flatnonzero(~chosen)[:_OTHERS]
  axes.plot(*points[others].T, '.', color=style.GREY, markersize=2, alpha=0.3)
  named, lines, words = getattr(inputs, 'words', None), [], []
  for index in shown:
    rows = np.flatnonzero(labels == numbers[index])
    name = named(firsts[index : index + 1])[0].get('identity', '') if named else ''
    lines += axes.plot(*points[rows].T, 'o', markersize=4)
    words.append(style.shorten(name or str(numbers[index]), 20))
  axes.set(xlabel='first principal component', ylabel='second')
  axes.set_xticks([])
  axes.set_yticks([])
  if shown:
    style.legend(axes, lines, words, fontsize=6.5, loc='best')
  style.subtitle(axes, f'in colour: the {len(shown)} identities with the most examples'
                 if shown else '')
  return figure
