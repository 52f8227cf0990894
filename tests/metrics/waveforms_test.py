"""Tests of bigmodels.metrics.waveforms: against entropies and Kraft's equality."""

import math

import numpy as np
import pytest

from bigmodels.metrics import linear_prediction_bits, unigram_bits


def autoregressive(samples, seed, *, levels=256, noise=4.0):
  """Levels whose best prediction is linear, with Gaussian errors."""
  rng = np.random.default_rng(seed)
  found, state = np.zeros(samples), np.zeros(2)
  for i in range(samples):
    new = 1.6 * state[0] - 0.8 * state[1] + rng.normal(scale=noise)
    found[i], state = new, np.array([new, state[0]])
  return np.clip(np.round(found + levels // 2), 0, levels - 1).astype(int)


def test_bits_of_frequencies():
  train, test = [np.array([0, 0, 1])], [np.array([0, 1]), np.array([3])]
  # Counts with one added: 3, 2, 1, 1.
  expected = -(math.log2(3 / 7) + math.log2(2 / 7) + math.log2(1 / 7)) / 3
  assert unigram_bits(train, test, 4) == pytest.approx(expected)
  rng = np.random.default_rng(0)
  uniform = [rng.integers(0, 256, 200_000)]
  assert unigram_bits(uniform, uniform, 256) == pytest.approx(8, abs=0.01)


def test_bits_of_a_prediction_are_its_entropy():
  train, test = ([autoregressive(20_000, seed)] for seed in (0, 1))
  entropy = math.log2(4 * math.sqrt(2 * math.pi * math.e))
  found = linear_prediction_bits(train, test, 256, 4)
  # The rounding of the levels adds a little noise to the history.
  assert entropy - 0.02 < found < entropy + 0.1
  assert unigram_bits(train, test, 256) > found + 0.5


def test_probabilities_of_all_levels_add_up_to_one():
  train = [autoregressive(500, 0, levels=16, noise=1.0)]
  history = autoregressive(30, 1, levels=16, noise=1.0)
  before = 30 * linear_prediction_bits(train, [history], 16, 3)
  total = sum(2 ** (before - 31 * linear_prediction_bits(
    train, [np.append(history, level)], 16, 3)) for level in range(16))
  assert total == pytest.approx(1)


def test_several_sounds_and_constant_ones():
  sounds = [autoregressive(400, seed) for seed in range(3)]
  found = linear_prediction_bits(sounds, sounds, 256, 2)
  each = [linear_prediction_bits(sounds, [sound], 256, 2) for sound in sounds]
  assert found == pytest.approx(np.mean(each))
  silence = [np.full(1000, 128)]
  assert linear_prediction_bits(silence, silence, 256, 4) < 0.5
