"""Metrics of rankings: where an item is among candidates."""

from collections.abc import Mapping

import numpy as np

CUTOFFS = (1, 5, 10, 20)


def ranking(above: np.ndarray, equal: np.ndarray) -> dict[str, float]:
  """Computes hit rates, NDCG and MRR of one relevant item for each example.

  Items with the same score as the relevant one are in random order: a metric is its
  expected value over these orders, so that a model of equal scores gets what chance
  gets. With one relevant item the hit rate at k is also the recall at k, and NDCG at k
  is `1 / log2(rank + 1)` for ranks up to k (Järvelin and Kekäläinen, *Cumulated
  gain-based evaluation of IR techniques*, 2002).

  Args:
    above: number of other candidates with a higher score, int `[n]`.
    equal: number of other candidates with the same score, int `[n]`.

  Returns:
    Name -> number: `hr1`, `hr5`, `hr10`, `hr20`, `ndcg10`, `mrr`; empty without
    examples.
  """
  if not len(above):
    return {}
  above, equal = (np.asarray(x, np.int64) for x in (above, equal))
  last = above + equal + 1  # the worst rank
  ranks = np.arange(1, int(last.max()) + 1)

  def expected(gains):
    total = np.append(0.0, np.cumsum(gains))
    return float(np.mean((total[last] - total[above]) / (equal + 1)))

  found = {f'hr{k}': expected(ranks <= k) for k in CUTOFFS}
  return {**found, 'ndcg10': expected(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)),
          'mrr': expected(1 / ranks)}


def recommendation(outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Computes the metrics of rankings by a model and by popularity, and the coverage.

  Args:
    outputs: `above` and `equal` `[n]`, see `ranking`, among all candidates; the same
      with the prefixes `sampled_`, among sampled ones, and `popularity_` and
      `popularity_sampled_`, ranked by popularity; `recommended` int `[n, k]`, the items
      with the highest scores, -1 for none; and `items` `[n]`, the number of all items.

  Returns:
    Name -> number: those of `ranking` with these prefixes; and `coverage`, the fraction
    of all items that are recommended to anybody.
  """
  found: dict[str, float] = {}
  for prefix in ('', 'sampled_', 'popularity_', 'popularity_sampled_'):
    each = ranking(outputs[f'{prefix}above'], outputs[f'{prefix}equal'])
    found |= {f'{prefix}{name}': value for name, value in each.items()}
  shown = np.unique(outputs['recommended'])
  if len(outputs['items']):
    found['coverage'] = float((shown >= 0).sum() / outputs['items'][0])
  first = ('hr10', 'ndcg10', 'sampled_hr10', 'sampled_ndcg10', 'popularity_hr10',
           'popularity_ndcg10', 'popularity_sampled_hr10', 'popularity_sampled_ndcg10')
  return {name: found[name] for name in (*first, *found) if name in found}
