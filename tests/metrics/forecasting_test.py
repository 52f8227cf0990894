"""Tests of bigmodels.metrics.forecasting against plain loops over NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import metrics

RNG = np.random.default_rng(0)
SHAPE = (6, 4, 3)
FORECASTS, TARGETS = (RNG.normal(2, 3, SHAPE).astype(np.float32) for _ in range(2))
WEIGHTS = (RNG.random(SHAPE) < 0.7).astype(np.float32)
NAIVE = np.abs(RNG.normal(size=(6, 3))).astype(np.float32)
TARGETS[0, 0], FORECASTS[0, 0] = 0, [0, 1, -2]


def counted():
  return [index for index in np.ndindex(SHAPE) if WEIGHTS[index]]


def test_errors_are_means_over_what_counts():
  found = {name: sums.compute() for name, sums in metrics.of_errors(
    FORECASTS, TARGETS, WEIGHTS).items()}
  errors = [float(FORECASTS[i]) - float(TARGETS[i]) for i in counted()]
  squares = sum(e * e for e in errors) / len(errors)
  assert found['mse'] == pytest.approx(squares, rel=1e-5)
  assert found['rmse'] == pytest.approx(squares**0.5, rel=1e-5)
  assert found['mae'] == pytest.approx(sum(map(abs, errors)) / len(errors), rel=1e-5)


def test_smape_is_that_of_m4():
  total = 0.0
  for i in counted():
    y, f = float(TARGETS[i]), float(FORECASTS[i])
    total += 200 * abs(y - f) / (abs(y) + abs(f)) if y or f else 0.0
  assert metrics.smape(FORECASTS, TARGETS, WEIGHTS).compute() == pytest.approx(
    total / len(counted()), rel=1e-5)


def test_mase_leaves_out_what_never_changed():
  naive = NAIVE.copy()
  naive[2, 1] = 0
  values = [abs(float(FORECASTS[i]) - float(TARGETS[i])) / float(naive[i[0], i[2]])
            for i in counted() if naive[i[0], i[2]] > 0]
  found = metrics.mase(FORECASTS, TARGETS, WEIGHTS, naive)
  assert found.count == len(values) < len(counted())
  assert found.compute() == pytest.approx(np.mean(values), rel=1e-5)


def test_coverage_counts_bounds():
  lower, upper = TARGETS - 1, TARGETS + 1
  upper[:3] = TARGETS[:3]
  lower[4] = TARGETS[4] + 0.5
  inside = [i[0] != 4 for i in counted()]
  assert metrics.coverage(lower, upper, TARGETS, WEIGHTS).compute() == pytest.approx(
    np.mean(inside))


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e30])
def test_what_does_not_count_may_be_anything(value):
  spoilt = np.where(WEIGHTS > 0, FORECASTS, np.float32(value))
  for ours, theirs in zip(
    jax.tree.leaves(metrics.of_errors(FORECASTS, TARGETS, WEIGHTS)),
    jax.tree.leaves(jax.jit(metrics.of_errors)(spoilt, TARGETS, WEIGHTS)),
    strict=True):
    assert ours == pytest.approx(float(theirs), rel=1e-6)


def test_sums_of_parts_are_those_of_the_whole():
  whole = metrics.of_errors(FORECASTS, TARGETS, WEIGHTS)
  parts = [metrics.of_errors(*(x[part] for x in (FORECASTS, TARGETS, WEIGHTS)))
           for part in (slice(0, 1), slice(1, 6))]
  added = jax.tree.map(jnp.add, *parts)
  for name, sums in whole.items():
    assert added[name].compute() == pytest.approx(sums.compute(), rel=1e-6)
  nothing = metrics.of_errors(FORECASTS, TARGETS, np.zeros(SHAPE, np.float32))
  assert all(sums.compute() is None for sums in nothing.values())
