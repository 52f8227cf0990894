"""Tests of bigmodels.metrics.synthesis: closed forms and plain recursion."""

import functools
import itertools
import math

import numpy as np
import pytest

from bigmodels.metrics import mel_cepstral_distortion
from bigmodels.metrics.synthesis import attention, warped

BINS = 40


def ripple(order, size):
  """A log spectrum `[bins]` that is a cosine."""
  return size * np.cos(np.pi / BINS * order * (np.arange(BINS) + 0.5))


@pytest.mark.parametrize('order', [1, 5, 13])
def test_is_the_difference_of_envelopes_in_decibels(order):
  flat, other = np.zeros((4, BINS)), np.tile(ripple(order, 0.3), (4, 1))
  # The root mean square of 20 log10 of a cosine in natural logarithms.
  expected = 20 / math.log(10) * 0.3 / math.sqrt(2)
  assert mel_cepstral_distortion(other, flat) == pytest.approx(expected)
  assert mel_cepstral_distortion(2 * other, flat, power=2) == pytest.approx(expected)
  assert mel_cepstral_distortion(other + 3.0, flat) == pytest.approx(expected)
  assert mel_cepstral_distortion(other, other) < 1e-6
  assert mel_cepstral_distortion(other, flat, count=order) == pytest.approx(expected)
  if order > 1:  # finer ripples than are compared
    assert mel_cepstral_distortion(other, flat, count=order - 1) < 1e-6


def test_other_durations_are_no_distortion():
  rng = np.random.default_rng(0)
  true = rng.normal(size=(9, BINS))
  slower = np.repeat(true, [1, 3, 1, 2, 1, 1, 4, 1, 1], axis=0)
  assert mel_cepstral_distortion(slower, true) < 1e-6
  assert mel_cepstral_distortion(true[::-1], true) > 1


def test_the_path_has_the_smallest_sum():
  rng = np.random.default_rng(1)
  for shape in ((1, 1), (1, 6), (7, 1), (5, 8), (8, 5)):
    distances = rng.random(shape)

    @functools.cache
    def least(i, j, distances=distances):
      if min(i, j) < 0:
        return math.inf
      if i == j == 0:
        return distances[0, 0]
      return distances[i, j] + min(least(i - 1, j - 1), least(i - 1, j),
                                   least(i, j - 1))

    path = warped(distances)
    assert path[0] == (0, 0) and path[-1] == (shape[0] - 1, shape[1] - 1)
    moves = {(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(path)}
    assert moves <= {(0, 1), (1, 0), (1, 1)}
    assert sum(distances[at] for at in path) == pytest.approx(
      least(shape[0] - 1, shape[1] - 1))


def test_attention_along_the_text_and_elsewhere():
  good = attention(np.repeat(np.eye(5), 4, 0))
  assert good == {'focus': 1, 'diagonal': 1, 'monotonic': 1, 'reached': 1}
  spread = attention(np.full((20, 5), 0.2))
  assert spread['focus'] == pytest.approx(0.2) and spread['reached'] == 0
  assert spread['diagonal'] < 0.5
  stuck = attention(np.eye(5)[np.full(20, 1)])
  assert stuck['reached'] == 0 and stuck['diagonal'] < 0.6
  back = attention(np.eye(5)[[0, 4, 0, 4]])
  assert back['monotonic'] == 0 and back['reached'] == 1


@pytest.mark.parametrize(('made', 'true', 'count', 'message'), [
  (np.zeros((0, BINS)), np.zeros((3, BINS)), 13, 'at least one frame'),
  (np.zeros((3, BINS)), np.zeros((3, BINS)), BINS, 'count: must be 1 to 39, below')])
def test_what_is_refused(made, true, count, message):
  with pytest.raises(ValueError, match=message):
    mel_cepstral_distortion(made, true, count=count)
