"""Tests of metrics.generation and what it is made of, against the papers' formulas."""

import itertools
import math

import numpy as np
import pytest
from scipy import linalg

from bigmodels import metrics


def features(count, width=6, seed=0):
  """Features whose covariance is not diagonal."""
  rng = np.random.default_rng(seed)
  mixed = rng.normal(size=(count, width)) @ rng.normal(size=(width, width))
  return (mixed + rng.normal(size=width)).astype(np.float32)


@pytest.mark.parametrize('width', [1, 2, 6])
def test_frechet_is_the_formula_by_a_root_of_the_product(width):
  first, second = features(40, width), features(55, width, 1)
  a, b = (np.cov(x.astype(np.float64), rowvar=False).reshape(width, width)
          for x in (first, second))
  apart = (first.mean(0, dtype=np.float64) - second.mean(0, dtype=np.float64)) ** 2
  expected = apart.sum() + np.trace(a + b - 2 * np.real(linalg.sqrtm(a @ b)))
  found = metrics.frechet(first, second)
  assert found == pytest.approx(expected, rel=1e-6) and found > 0.01
  assert metrics.frechet(second, first) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize('count', [4, 40])  # of fewer than the width, no full rank
def test_frechet_of_a_copy_that_is_moved_or_scaled(count):
  first = features(count).astype(np.float64)
  size = np.trace(np.cov(first, rowvar=False))
  assert metrics.frechet(first, first) == pytest.approx(0, abs=1e-6 * size)
  assert metrics.frechet(first, first[::-1] + 0.5) == pytest.approx(
    6 * 0.25, abs=1e-6 * size)
  mean = first.mean(0)
  for scale in (3.0, 0.0):
    moved = mean + scale * (first - mean)
    assert metrics.frechet(first, moved) == pytest.approx(
      size * (1 - scale) ** 2, rel=1e-6)


def test_frechet_of_independent_features_adds_up():
  signs = np.array(list(itertools.product((-1, 1), repeat=3)), np.float64)
  one, two = np.array([1.0, 2, 3]), np.array([4.0, 2, 0])
  centre = np.array([1.0, 0, -2])
  # Signs are uncorrelated, of variance 8 / 7 with the sample's correction.
  expected = (centre**2).sum() + 8 / 7 * ((one - two) ** 2).sum()
  assert metrics.frechet(signs * one, signs * two + centre) == pytest.approx(expected)


def among(points, others, neighbours):
  """Kynkaanniemi et al., 2019, equations 1 and 2, one pair after the other."""
  inside = []
  for other in others:
    within = False
    for i, point in enumerate(points):
      away = sorted(math.dist(point, p) for j, p in enumerate(points) if j != i)
      within |= math.dist(point, other) <= away[neighbours - 1]
    inside.append(within)
  return np.mean(inside)


@pytest.mark.parametrize('width', [1, 3, 20])
@pytest.mark.parametrize('neighbours', [1, 3])
def test_precision_and_recall_equal_two_loops(width, neighbours):
  rng = np.random.default_rng(width)
  real = rng.normal(size=(25, width)).astype(np.float32)
  made = (0.5 + 0.7 * rng.normal(size=(18, width))).astype(np.float32)
  found = metrics.precision_recall(real, made, neighbours)
  expected = among(real, made, neighbours), among(made, real, neighbours)
  assert found == pytest.approx(expected)
  assert expected[0] != expected[1] and 0 < min(expected) < 1


def test_a_point_as_far_away_as_the_neighbour_is_among_them():
  real = np.array([[0.0], [1], [3], [7]])  # whose nearest are 1, 1, 2 and 4 away
  made = np.array([[11.0], [12], [-1], [-2]])
  assert metrics.precision_recall(real, made, 1) == (0.5, 0.25)


def test_equal_sets_score_one_and_distant_sets_score_zero():
  real = features(30)
  assert metrics.precision_recall(real, real.copy()) == (1, 1)
  assert metrics.precision_recall(real, real + 1000) == (0, 0)
  # All in one place that is real: what is made is good, and little of all there is.
  near = real[:1] + 1e-3 * features(10, seed=2)
  precision, recall = metrics.precision_recall(real, near)
  assert precision == 1 and recall == pytest.approx(1 / 30)


@pytest.mark.parametrize('real, made', [(3, 9), (9, 3)])
def test_points_without_so_many_neighbours_are_refused(real, made):
  with pytest.raises(ValueError, match=f'neighbours: must be less than the {real} real '
                     f'and {made} generated points, got 3'):
    metrics.precision_recall(features(real), features(made))


def test_generation_compares_the_sets_that_its_names_say():
  made, real, train = features(30, seed=1), features(20, seed=2), features(25, seed=3)
  found = metrics.generation({'generated': made, 'real': real, 'train': train}, 2)
  precision, recall = metrics.precision_recall(real, made, 2)
  assert found == {
    'frechet': metrics.frechet(made, train),
    'frechet_real': metrics.frechet(real, train),
    'precision': precision, 'recall': recall}
  assert precision != recall
