"""Plots of scores that should be high for anomalies."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style, two_classes
from bigmodels.plots.table import Inputs, Table

if TYPE_CHECKING:
  from matplotlib.figure import Figure

HIGHEST = 20  # rows that are shown
_LONGEST = 60  # characters of a cell


def anomaly(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
            classes: Sequence[str] | None, *, threshold: float | None = None
            ) -> 'dict[str, Figure | Table]':
  """Draws the scores, two curves, and a table of the highest scores.

  The curves are ROC and precision-recall, where labels of both kinds are known.

  Args:
    outputs: `scores` `[n]`; `row` `[n]`, the number of each example; `labels` `[n]`, 1
      for anomalies, if known; `weights` `[n]`, if examples are weighted; and `which`
      and `shares` `[n, k]`, the values of an input that contribute most to its score,
      and their shares of all contributions.
    inputs: names and words of the rows.
    classes: not used.
    threshold: the smallest score that is flagged, or None.

  Returns:
    Title -> figure or table; empty if no score is finite.
  """
  del classes
  every = np.asarray(outputs['scores'], np.float64)
  rows = np.flatnonzero(np.isfinite(every))
  if not len(rows):
    return {}
  found = {name: np.asarray(values)[rows] for name, values in outputs.items()}
  scores = every[rows]
  labels = found.get('labels')
  weights = np.asarray(found.get('weights', np.ones(len(rows))), np.float64)
  result: dict = {'Scores': _histogram(
    scores, labels, threshold, style.finite_note(len(rows), len(every)))}
  if labels is not None and len(np.unique(labels[weights > 0])) == 2:
    given = two_classes.Scored(labels, scores, weights, 'anomaly', threshold)
    result['ROC curve'] = two_classes.roc(given)
    result['Precision and recall'] = two_classes.precision_recall(given)
  result['Highest scores'] = _highest(found, scores, rows, inputs)
  return result


def _histogram(scores, labels, threshold, note):
  figure, axes = style.panel(style.HALF, 3.2)
  # Scores have a long tail, and zeros where an input is reconstructed exactly.
  least = scores[scores > 0].min() if (scores > 0).any() else 1.0
  low, high = np.log10(max(least, scores.max() * 1e-9)), np.log10(
    max(scores.max(), least))
  high = max(high, low + 1e-6)
  bins = np.logspace(low, high, int(np.clip(2 * len(scores) ** (1 / 3), 8, 60)) + 1)
  values = np.clip(scores, bins[0], bins[-1])
  parts = [(np.ones(len(scores), bool), style.BLUE, '')] if labels is None else [
    (labels == 0, style.BLUE, 'others'), (labels == 1, style.ORANGE, 'anomalies')]
  for some, color, name in parts:
    if some.any():  # scaled apart, so that few anomalies are visible
      axes.hist(values[some], bins=bins, weights=np.full(some.sum(), 1 / some.sum()),
                color=color, alpha=0.55, label=f'{name}, {some.sum():,}')
  axes.set(xscale='log', xlabel='score',
           ylabel='fraction' if labels is None else 'fraction of each kind')
  if threshold is not None and threshold > 0:
    axes.axvline(threshold, color='black', linewidth=0.8)
    note = f'{note}\n' * bool(note) + (
      f'threshold {threshold:.4g}: {np.mean(scores >= threshold):.2%} are flagged')
  if labels is not None:
    axes.legend(fontsize=8, frameon=False, loc='upper left')
  style.subtitle(axes, note)
  return figure


def _highest(found, scores, rows, inputs):
  order = np.argsort(-scores, kind='stable')[:HIGHEST]
  words = inputs.words(rows[order]) if getattr(inputs, 'words', None) else (
    [{} for _ in order])
  columns = [*dict.fromkeys(name for each in words for name in each)]
  names = getattr(inputs, 'features', None)
  cells = []
  for index, each in zip(order, words, strict=True):
    parts = [f'{names[which] if names else f"input {which}"} {share:.0%}'
             for which, share in zip(found['which'][index], found['shares'][index],
                                     strict=True) if share > 0]
    kind = [] if 'labels' not in found else [
      'anomaly' if found['labels'][index] else '']
    cells.append((str(found['row'][index]), f'{scores[index]:.4g}', *kind,
                  ', '.join(parts), *(each.get(n, '')[:_LONGEST] for n in columns)))
  label = ['label'] * ('labels' in found)
  return Table(('row', 'score', *label, 'by', *columns), cells)
