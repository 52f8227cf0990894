"""Metrics of choosing the right one of several candidates."""

import numpy as np


def ranks(scores: np.ndarray, right: np.ndarray | int = 0) -> np.ndarray:
  """The rank of the right candidate, from 1, int `[n]`.

  A candidate with an equal score, or one that is not a number, ranks before it.

  Args:
    scores: `[n, candidates]`.
    right: which candidate is right, int `[n]`, or the same for all.
  """
  index = np.broadcast_to(np.asarray(right), len(scores))[:, None]
  own = np.take_along_axis(scores, index, 1)
  return scores.shape[1] - (scores < own).sum(1)


def selection(outputs: dict[str, np.ndarray], at: tuple[int, ...] = (1, 2, 5)
              ) -> dict[str, float]:
  """Computes hits@k, the fraction of right candidates among the k best, and the MRR.

  Args:
    outputs: `scores` `[n, candidates]`, the right candidate first.
    at: values of k; those of at least the number of candidates are left out.

  Returns:
    `hits@k`, and `mrr`, the mean of 1 / rank.
  """
  scores = np.asarray(outputs['scores'])
  if not len(scores):
    return {}
  found = ranks(scores)
  return {**{f'hits@{k}': float((found <= k).mean()) for k in at
             if k < scores.shape[1]}, 'mrr': float((1 / found).mean())}
