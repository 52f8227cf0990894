"""Tests of bigmodels.layers.companding: against G.711's formula."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.companding import from_mu_law, mu_law


@pytest.mark.parametrize('levels', [256, 16])
def test_against_the_formula(levels):
  mu = levels - 1
  samples = np.linspace(-1, 1, 1001)
  expected = [math.floor((math.copysign(
    math.log(1 + mu * abs(x)) / math.log(1 + mu), x) + 1) / 2 * mu + 0.5)
    for x in samples]
  found = np.asarray(mu_law(jnp.asarray(samples, jnp.float32), levels))
  assert np.abs(found - expected).max() <= 1  # rounding at an edge
  assert np.mean(found != expected) < 0.01
  assert found.min() == 0 and found.max() == mu


@pytest.mark.parametrize('levels', [256, 16])
def test_round_trips(levels):
  every = jnp.arange(levels)
  samples = from_mu_law(every, levels)
  np.testing.assert_array_equal(mu_law(samples, levels), every)
  assert samples[0] == -1 and samples[-1] == 1
  # A sample is at most half a level, on the companded scale, from its level.
  given = np.linspace(-1, 1, 4001)
  back = np.asarray(from_mu_law(mu_law(jnp.asarray(given, jnp.float32), levels),
                                levels), np.float64)

  def companded(x):
    return np.sign(x) * np.log1p((levels - 1) * np.abs(x)) / np.log(levels)

  assert np.abs(companded(back) - companded(given)).max() <= 1 / (levels - 1) + 1e-4


def test_silence_and_what_is_too_loud():
  assert mu_law(jnp.zeros(1))[0] == 128
  np.testing.assert_array_equal(mu_law(jnp.array([-3.0, 3.0])), [0, 255])
