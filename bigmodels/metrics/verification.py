"""Metrics of embeddings: are two examples of one identity, and which is the nearest?"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bigmodels.metrics.classification import ranking

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001)
_ROWS = 1024  # that are compared with all others at a time


class Pairs(NamedTuple):
  """Pairs of examples of a split.

  Attributes:
    first, second: the examples, indices int `[pairs]`.
    same: whether both are of one identity, bool `[pairs]`.
    similarities: cosines of the embeddings, float64 `[pairs]`.
  """

  first: np.ndarray
  second: np.ndarray
  same: np.ndarray
  similarities: np.ndarray


def pairs(outputs: Mapping[str, np.ndarray]) -> Pairs | None:
  """Returns the pairs of a split; those of an example that is masked are left out.

  Args:
    outputs: `embeddings` of length 1, `[n, width]`; `labels`, int `[n]`; `row`, int
      `[n]`, the number of each example; and `partners`, int `[n, most]`, the numbers of
      the examples that it is compared with, -1 for none. See `data.Pairs`.

  Returns:
    The pairs; None if there are none.
  """
  if 'partners' not in outputs or not len(outputs['row']):
    return None
  rows, partners = outputs['row'], outputs['partners']
  index = np.full(max(rows.max(), partners.max(initial=0)) + 1, -1)
  index[rows] = np.arange(len(rows))
  first, place = np.nonzero(partners >= 0)
  second = index[partners[first, place]]
  first, second = first[second >= 0], second[second >= 0]
  if not len(first):
    return None
  embeddings = outputs['embeddings'].astype(np.float64)
  return Pairs(first, second, outputs['labels'][first] == outputs['labels'][second],
               np.einsum('nd,nd->n', embeddings[first], embeddings[second]))


def verification(outputs: Mapping[str, np.ndarray],
                 rates: tuple[float, ...] = FALSE_ACCEPT_RATES) -> dict[str, float]:
  """Computes how well similarities tell whether two examples are of one identity.

  - `roc_auc`: the probability that a pair of one identity is more similar than a pair
    of two.
  - `tar@R`: the true accept rate at a false accept rate of at most R, the fraction of
    the pairs of one identity that are accepted by the lowest threshold at which at most
    R of the other pairs are.
  - `rank_1`: the fraction of the examples whose most similar other example is of their
    identity, among those that have another example of it.

  Args:
    outputs: `embeddings` `[n, width]` and others, see `pairs`.
    rates: values of R; those below one of the pairs of two identities are left out.

  Returns:
    Name -> number; without those that have no value, as without pairs of both kinds, or
    where an embedding is not finite.
  """
  if not np.isfinite(outputs['embeddings']).all():
    return {}
  found, result = pairs(outputs), {}
  if found is not None and len({*found.same.tolist()}) == 2:
    result['roc_auc'] = float(ranking(found.similarities, found.same, None)[0])
    false, true = _rates(found)[1:]
    for rate in rates:
      if rate * np.count_nonzero(~found.same) >= 1:
        result[f'tar@{rate:g}'] = float(true[false <= rate].max())
  nearest = rank_1(outputs['embeddings'], outputs['labels'])
  return result if nearest is None else {**result, 'rank_1': nearest}


def rank_1(embeddings: np.ndarray, labels: np.ndarray) -> float | None:
  """Computes `rank_1` of `verification`.

  Args:
    embeddings: of length 1, `[n, width]`.
    labels: int `[n]`.

  Returns:
    The fraction; None if no identity has two examples.
  """
  _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
  rows = np.flatnonzero(counts[inverse] > 1)
  right = 0
  for start in range(0, len(rows), _ROWS):
    part = rows[start : start + _ROWS]
    similarities = embeddings[part] @ embeddings.T
    similarities[np.arange(len(part)), part] = -np.inf
    right += np.count_nonzero(labels[similarities.argmax(1)] == labels[part])
  return right / len(rows) if len(rows) else None


def best_similarity(outputs: Mapping[str, np.ndarray]) -> tuple[float, float] | None:
  """Returns the threshold of similarities at which most pairs are decided rightly.

  Args:
    outputs: `embeddings` `[n, width]` and others, see `pairs`.

  Returns:
    The threshold, halfway between two similarities; and the accuracy there. Both kinds
    of pairs have the same weight, whatever their numbers. None without pairs of both
    kinds, or if an embedding is not finite.
  """
  found = pairs(outputs)
  if found is None or len({*found.same.tolist()}) < 2 or not np.isfinite(
    found.similarities).all():
    return None
  levels, false, true = _rates(found)
  between = np.append(levels[:-1] + levels[1:], 2 * levels[-1]) / 2
  between[0] = np.nextafter(levels[1], np.inf)  # none is accepted
  accuracy = (true + 1 - false) / 2
  best = int(np.argmax(accuracy))
  return float(between[best]), float(accuracy[best])


def verified(outputs: Mapping[str, np.ndarray], threshold: float) -> dict[str, float]:
  """Computes how pairs are decided by a threshold: accepted if they reach it.

  Args:
    outputs: `embeddings` `[n, width]` and others, see `pairs`.
    threshold: the smallest similarity that is accepted.

  Returns:
    `accuracy`, the fraction of pairs that are decided rightly; `true_accept_rate` and
    `false_accept_rate`; empty without pairs of both kinds.
  """
  found = pairs(outputs)
  if found is None or len({*found.same.tolist()}) < 2:
    return {}
  accepted = found.similarities >= threshold
  return {'accuracy': float(np.mean(accepted == found.same)),
          'true_accept_rate': float(np.mean(accepted[found.same])),
          'false_accept_rate': float(np.mean(accepted[~found.same]))}


def _rates(found: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Distinct similarities from infinity down; false and true accept rates from there.
  """
  order = np.argsort(-found.similarities, kind='stable')
  levels, same = found.similarities[order], found.same[order]
  last = np.append(levels[1:] < levels[:-1], True)
  false, true = (np.append(0, np.cumsum(kind)[last]) / np.count_nonzero(kind)
                 for kind in (~same, same))
  return np.append(np.inf, levels[last]), false, true
