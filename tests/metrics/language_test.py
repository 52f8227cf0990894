"""Tests of metrics.language against the definition."""

import math

import numpy as np
import pytest

from bigmodels import metrics


def test_perplexity_is_of_all_tokens_not_of_texts():
  out = {'nats': np.float32([8, 0, 1]) * np.float32(np.log(2)),
         'tokens': np.float32([1, 0, 2])}
  assert metrics.language(out) == {'perplexity': pytest.approx(8)}  # 9 bits, 3 tokens
  # 2 to the 3 bits that a token takes, e to the nats.
  assert metrics.language({'nats': np.full(4, 2.5), 'tokens': np.full(4, 5)}) == {
    'perplexity': pytest.approx(math.exp(0.5))}


def test_perplexity_of_nothing_and_of_too_much():
  nothing = {'nats': np.zeros(3), 'tokens': np.zeros(3)}
  assert metrics.language(nothing) == {}
  worst = {'nats': np.float32([1e30]), 'tokens': np.float32([1])}
  assert metrics.language(worst) == {'perplexity': math.inf}
  broken = {'nats': np.float32([np.nan, 1]), 'tokens': np.float32([1, 1])}
  assert math.isnan(metrics.language(broken)['perplexity'])


def test_perplexity_adds_up_in_double_precision():
  n = 200_000
  out = {'nats': np.full(n, 0.1, np.float32), 'tokens': np.ones(n, np.float32)}
  expected = math.exp(float(np.float32(0.1)))
  assert metrics.language(out)['perplexity'] == pytest.approx(expected, rel=1e-9)
