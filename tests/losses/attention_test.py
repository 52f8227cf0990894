"""Tests of bigmodels.losses.attention: against a plain loop."""

import math

import numpy as np
import pytest

from bigmodels.losses import guided_attention


def test_against_a_loop_and_padding_adds_nothing():
  rng = np.random.default_rng(0)
  steps, characters = [4, 2], [3, 5]
  alignment = np.zeros((2, 6, 7), np.float32)
  expected = []
  for row in range(2):
    total = 0.0
    for t in range(steps[row]):
      alignment[row, t, : characters[row]] = rng.dirichlet(np.ones(characters[row]))
      for n in range(characters[row]):
        distance = t / steps[row] - n / characters[row]
        total += alignment[row, t, n] * (1 - math.exp(-distance**2 / (2 * 0.3**2)))
    expected.append(total)
  found = guided_attention(alignment, np.array(steps), np.array(characters), width=0.3)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_diagonal_costs_nothing():
  diagonal = np.eye(8, dtype=np.float32)[None]
  eight = np.array([8])
  assert guided_attention(diagonal, eight, eight)[0] == pytest.approx(0, abs=1e-6)
  assert guided_attention(diagonal[:, ::-1], eight, eight)[0] > 4
