"""Whether the results of one set of runs are higher than those of another."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

POWER = 0.8  # the usual chance to find a difference that is there
_MOST = 100_000  # runs


class Difference(NamedTuple):
  """The difference of the means of two sets of runs.

  Attributes:
    mean: of the first, less that of the second.
    interval: in which it lies, at the confidence that was asked for; None if the values
      do not tell (fewer than two runs, or differences that are all the same).
    significant: whether there is a difference, at that confidence.
    paired: whether each run of one set was compared with one of the other.
    needed: number of runs in each set with which a difference of this size would be
      found with a probability of `POWER`; None if the values do not tell, or for more
      than 100,000.
  """

  mean: float
  interval: tuple[float, float] | None
  significant: bool
  paired: bool
  needed: int | None


def difference(first: Sequence[float], second: Sequence[float], *, paired: bool,
               confidence: float = 0.95) -> Difference:
  """Compares the values of two sets of runs by Student's or Welch's t-test.

  Paired differences that are all the same, as of accuracies on few examples, have no
  deviation: they are significant by the sign test.

  Args:
    first: value of each run.
    second: value of each run; if paired, in the order of the first.
    paired: whether runs belong together, as those of one seed: their differences are
      then tested.
    confidence: of the interval, > 0 and < 1. For one of several comparisons,
      1 - 0.05 / COUNT holds for all of them together (Bonferroni).
  """
  from scipy import stats  # slow to import

  a, b = (np.asarray(values, np.float64) for values in (first, second))
  mean = float(a.mean() - b.mean())
  if paired:
    spread = float((a - b).std(ddof=1)) if len(a) > 1 else 0.0
    if _is_rounding(spread, a, b):
      # Of n differences of one sign, either way.
      chance = 1.0 if _is_rounding(mean, a, b) else 2.0 ** (1 - len(a))
      return Difference(mean, None, chance < 1 - confidence, paired, None)
    found = stats.ttest_rel(a, b)
  else:
    spread = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)) if min(
      len(a), len(b)) > 1 else 0.0
    if _is_rounding(spread, a, b):
      return Difference(mean, None, False, paired, None)
    found = stats.ttest_ind(a, b, equal_var=False)
  low, high = found.confidence_interval(confidence)
  return Difference(mean, (float(low), float(high)), bool(low > 0 or high < 0), paired,
                    _needed(abs(mean) / spread, paired, confidence))


def _is_rounding(value: float, a: np.ndarray, b: np.ndarray) -> bool:
  """Whether a difference is of rounding only."""
  return abs(value) <= 1e-12 * max(np.abs(a).max(), np.abs(b).max())


def power(effect: float, runs: int, *, paired: bool, confidence: float = 0.95) -> float:
  """Returns the probability that the t-test finds a difference.

  Args:
    effect: difference in deviations: paired, of the differences; otherwise of the runs.
    runs: number of runs in each set, >= 2.
    paired: see `difference`.
    confidence: see `difference`.
  """
  from scipy import stats

  freedom = runs - 1 if paired else 2 * runs - 2
  shift = effect * np.sqrt(runs if paired else runs / 2)
  least = stats.t.ppf((1 + confidence) / 2, freedom)
  return float(stats.nct.sf(least, freedom, shift)
               + stats.nct.cdf(-least, freedom, shift))


def _needed(effect: float, paired: bool, confidence: float) -> int | None:
  """The least number of runs with the usual power."""
  def enough(runs):
    return power(effect, runs, paired=paired, confidence=confidence) >= POWER

  if effect == 0:
    return None
  high = 2
  while not enough(high):
    high *= 2
    if high > _MOST:
      return None
  low = high // 2
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if enough(middle) else (middle, high)
  return high
