"""Comparisons of sets of runs: rates of errors, power, and what has no spread."""

import numpy as np
import pytest
from scipy import stats

from bigmodels.metrics.comparison import POWER, difference, power


@pytest.mark.parametrize('paired', [True, False])
def test_rates_of_errors(paired):
  """Of 400 pairs of equal sets 5 % differ; two deviations are found with 8 seeds."""
  values = np.random.default_rng(0).normal(size=(400, 2, 8))
  false = sum(difference(a, b, paired=paired).significant for a, b in values)
  found = sum(difference(a + 2, b, paired=paired).significant for a, b in values)
  assert false <= 0.07 * 400  # of 100, at least 93 are said to be the same
  assert found >= 0.9 * 400
  # The closed form; paired differences have sqrt(2) deviations.
  expected = power(2 / (2 ** 0.5 if paired else 1), 8, paired=paired)
  assert abs(found / 400 - expected) < 3 * (expected * (1 - expected) / 400) ** 0.5


@pytest.mark.parametrize('paired', [True, False])
def test_the_interval_is_of_the_t_test(paired):
  a, b = np.random.default_rng(1).normal(size=(2, 6))
  found = difference(a, b, paired=paired, confidence=0.99)
  d = a - b
  if paired:
    half = stats.t.ppf(0.995, 5) * d.std(ddof=1) / 6 ** 0.5
  else:  # Welch-Satterthwaite
    u, v = a.var(ddof=1) / 6, b.var(ddof=1) / 6
    half = stats.t.ppf(0.995, (u + v) ** 2 / (u ** 2 / 5 + v ** 2 / 5)) * (u + v) ** 0.5
  np.testing.assert_allclose(found.interval, (d.mean() - half, d.mean() + half))
  assert found.mean == pytest.approx(d.mean()) and found.paired == paired


def test_the_seeds_it_would_take():
  """17 pairs for an effect of 0.72, 64 in each group for 0.5 (Cohen's tables)."""
  rng = np.random.default_rng(2)

  def of(effect, deviation=1.0):
    x = rng.normal(size=20)
    return effect * deviation + deviation * (x - x.mean()) / x.std(ddof=1)

  assert difference(of(0.5), of(0.0), paired=False).needed == 64
  needed = difference(of(0.72), np.zeros(20), paired=True).needed
  assert power(0.72, needed, paired=True) >= POWER > power(
    0.72, needed - 1, paired=True)
  assert needed == 18
  assert difference(of(1e-4), np.zeros(20), paired=True).needed is None


def test_what_has_no_spread():
  same = difference([0.9] * 8, [0.9] * 8, paired=True)
  assert not same.significant and same.interval is None and same.needed is None
  # Eight differences of one sign: 2 / 2**8 by the sign test.
  above = difference([0.9] * 8, [0.8] * 8, paired=True)
  assert above.significant and above.interval is None
  assert not difference([0.9] * 5, [0.8] * 5, paired=True).significant  # 2 / 2**5
  assert not difference([0.9] * 8, [0.8] * 8, paired=True, confidence=0.999).significant
  for a, b in (([0.9], [0.8]), ([0.9] * 3, [0.8]), ([0.9] * 3, [0.8] * 3)):
    assert not difference(a, b, paired=False).significant
