"""Plots of recommendations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import regression, style
from bigmodels.plots.table import Inputs

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_MOST = 50  # ranks that are drawn


def recommendation(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
                   classes: Sequence[str] | None, *, popularity: np.ndarray
                   ) -> 'dict[str, Figure]':
  """Draws hit rates by the length of the list, and how popular its items are.

  Args:
    outputs: see `metrics.recommendation`; and `targets` `[n]`, the items that users
      got.
    inputs: not used.
    classes: not used.
    popularity: interactions of each item in training, `[items]`.

  Returns:
    Title -> figure; empty without examples.
  """
  if not len(outputs['above']):
    return {}
  return {'Hit rate by length of the list': _hits(outputs),
          'Popularity of recommended items': _popularity(outputs, popularity),
          'Hit rate by popularity of the item': _hits_by_popularity(
            outputs, popularity)}


def ratings(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
            classes: Sequence[str] | None, *, popularity: np.ndarray
            ) -> 'dict[str, Figure]':
  """Draws predicted ratings by rating, residuals, and errors by popularity.

  Args:
    outputs: `targets`, `predictions` and `of_biases`, all `[n, 1]`; and `asked` `[n]`,
      the items.
    inputs: not used.
    classes: not used.
    popularity: ratings of each item in training, `[items]`.

  Returns:
    Title -> figure; empty without a finite row.
  """
  found = regression.regression(outputs, None, None)
  if not found:
    return {}
  return {'Predicted rating by rating': _by_rating(outputs),
          'Residuals': found['Residuals'],
          'Error by number of ratings': _errors_by_popularity(outputs, popularity)}


def _hits(outputs):
  figure, axes = style.panel(style.HALF, 3.6)
  ks = np.arange(1, _MOST + 1)
  for prefix, name, colour, line in (
    ('', 'all items', style.BLUE, '-'),
    ('popularity_', 'all items, by popularity', style.ORANGE, '-'),
    ('sampled_', 'sampled candidates', style.BLUE, '--'),
    ('popularity_sampled_', 'sampled, by popularity', style.ORANGE, '--')):
    above, equal = (np.asarray(outputs[f'{prefix}{each}'], np.int64)
                    for each in ('above', 'equal'))
    hits = np.clip(ks[:, None] - above, 0, equal + 1) / (equal + 1)
    axes.plot(ks, hits.mean(1), line, color=colour, label=name, linewidth=1.4)
  axes.set(xlabel='length of the list', ylabel='hit rate', ylim=(0, None),
           xlim=(0, _MOST))
  axes.legend(fontsize=8, frameon=False)
  return figure


def _popularity(outputs, popularity):
  """The share of items by popularity, of the list and of what users got."""
  order = np.argsort(-popularity, kind='stable')
  place = np.empty(len(order), int)
  place[order] = np.arange(len(order))
  shown = outputs['recommended'][outputs['recommended'] >= 0]
  figure, axes = style.panel(style.HALF, 3.6)
  share = np.linspace(0, 1, 201)
  for items, name, colour in ((shown, 'recommended', style.BLUE),
                              (outputs['targets'], 'what users got', style.ORANGE)):
    if len(items):
      places = np.sort((place[items] + 1) / len(order))
      axes.plot(share, np.searchsorted(places, share, 'right') / len(places),
                color=colour, label=name, linewidth=1.4)
  axes.plot([0, 1], [0, 1], **style.DASHED)
  axes.set(xlabel='fraction of the items, most popular first',
           ylabel='fraction of the list', xlim=(0, 1), ylim=(0, 1.02))
  axes.legend(fontsize=8, frameon=False, loc='lower right')
  count = len(np.unique(shown))
  style.subtitle(axes, f'{count:,} of {len(order):,} items are recommended to anybody')
  return figure


def _hits_by_popularity(outputs, popularity):
  above, equal = (np.asarray(outputs[each], np.int64) for each in ('above', 'equal'))
  hits = np.clip(10 - above, 0, equal + 1) / (equal + 1)
  figure, axes = style.panel(style.HALF, 3.6)
  _by_count(axes, popularity[outputs['targets']], {'hit rate at 10': hits})
  axes.set(xlabel='interactions of the item in training',
           ylabel='hit rate at 10, all items', ylim=(0, None))
  return figure


def _errors_by_popularity(outputs, popularity):
  counts = popularity[outputs['asked']]
  targets = outputs['targets'][:, 0].astype(np.float64)
  figure, axes = style.panel(style.HALF, 3.6)
  _by_count(axes, counts, {
    'model': (outputs['predictions'][:, 0] - targets) ** 2,
    'biases alone': (outputs['of_biases'][:, 0] - targets) ** 2}, np.sqrt)
  axes.set(xlabel='ratings of the item in training', ylabel='RMSE', ylim=(0, None))
  axes.legend(fontsize=8, frameon=False)
  return figure


def _by_count(axes, counts, values, of_mean=lambda x: x):
  """Means of values in groups of counts, each four times as wide as the one before."""
  group = np.where(counts > 0, np.floor(np.log2(np.maximum(counts, 1)) / 2) + 1, 0)
  groups = np.unique(group)
  labels = [f'{4**(g - 1):.0f}+' if g else '0' for g in groups]
  for (name, each), colour in zip(values.items(), (style.BLUE, style.ORANGE),
                                  strict=False):
    axes.plot(range(len(groups)), [of_mean(each[group == g].mean()) for g in groups],
              'o-', color=colour, label=name, markersize=4, linewidth=1.2)
  axes.set_xticks(range(len(groups)), [
    f'{label}\n({int((group == g).sum()):,})'
    for label, g in zip(labels, groups, strict=True)], fontsize=7)


def _by_rating(outputs):
  targets = outputs['targets'][:, 0]
  values = np.unique(targets)
  if len(values) > 10:  # a scale of many values, in tenths
    values = np.quantile(targets, np.linspace(0.05, 0.95, 10))
  group = np.abs(targets[:, None] - values).argmin(1)
  there = [index for index in range(len(values)) if (group == index).any()]
  figure, axes = style.panel(style.HALF, 3.6)
  axes.boxplot([outputs['predictions'][group == index, 0] for index in there],
               positions=values[there], widths=0.5 * np.diff(values).min()
               if len(values) > 1 else 0.5, showfliers=False, manage_ticks=False,
               medianprops={'color': style.ORANGE},
               boxprops={'color': style.BLUE}, whiskerprops={'color': style.BLUE},
               capprops={'color': style.BLUE})
  ends = [values.min(), values.max()]
  axes.plot(ends, ends, **style.DASHED)
  axes.set(xlabel='rating', ylabel='predicted')
  style.subtitle(axes, 'boxes: the middle half; whiskers: 1.5 times that at most')
  return figure
