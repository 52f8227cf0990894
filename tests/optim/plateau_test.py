"""Tests of optim.reduce_on_plateau against a simulation in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import optim
from bigmodels.learners import Signal


def simulate(values, factor, patience, tolerance, smallest):
  """The scale after each evaluation."""
  scale, best, waited, scales = 1.0, float('inf'), 0, []
  for value in values:
    if best == float('inf') or value < best - tolerance * abs(best):
      best, waited = value, 0
    else:
      waited += 1
      if waited == patience:
        scale, waited = max(scale * factor, smallest), 0
    scales.append(scale)
  return scales


@pytest.mark.parametrize('factor, patience, tolerance, smallest, offset', [
  (0.5, 1, 0.0, 1e-3, 0.0),
  (0.1, 3, 0.05, 1e-9, 3.0),
  (0.5, 2, 0.2, 0.3, -3.0),
])
def test_reduce_on_plateau_follows_a_simulation(
  factor, patience, tolerance, smallest, offset):
  rng = np.random.default_rng(patience)
  values = (offset + np.linspace(1, 0, 40) + rng.normal(size=40) / 4).astype(np.float32)
  expected = simulate(values.tolist(), factor, patience, tolerance, smallest)
  assert len(set(expected)) > 2  # it is reduced more than once
  optimizer = optim.reduce_on_plateau(
    factor=factor, patience=patience, tolerance=tolerance, smallest=smallest)
  step = jax.jit(
    lambda state, signal: optimizer.update(jnp.float32(8.0), state, signal=signal))
  state = optimizer.init(None)
  signal = Signal(jnp.float32(jnp.nan), jnp.int32(0))
  for evaluation in range(41):
    scale = 1.0 if evaluation == 0 else expected[evaluation - 1]
    for _ in range(rng.integers(1, 5)):  # updates between two evaluations
      scaled, state = step(state, signal)
      np.testing.assert_allclose(scaled, 8 * scale, rtol=1e-5)
    if evaluation < 40:
      signal = Signal(jnp.float32(values[evaluation]), jnp.int32(evaluation + 1))


def test_an_evaluation_that_is_not_a_number_is_no_improvement():
  optimizer = optim.reduce_on_plateau(factor=0.5, patience=2)
  state, scales = optimizer.init(None), []
  for count, value in enumerate([1.0, np.nan, np.nan, 0.5, 0.6]):
    signal = Signal(jnp.float32(value), jnp.int32(count + 1))
    scaled, state = optimizer.update(jnp.float32(1.0), state, signal=signal)
    scales.append(float(scaled))
  assert scales == [1, 1, 0.5, 0.5, 0.5]
  assert float(state.best) == 0.5


def test_reduce_on_plateau_keeps_the_type_of_updates():
  optimizer = optim.reduce_on_plateau()
  updates, _ = optimizer.update(
    jnp.ones(2, jnp.bfloat16), optimizer.init(None),
    signal=Signal(jnp.float32(1), jnp.int32(1)))
  assert updates.dtype == jnp.bfloat16


@pytest.mark.parametrize('bad', [
  {'factor': 0.0}, {'factor': 1.0}, {'factor': float('nan')}, {'patience': 0},
  {'tolerance': -0.1}, {'tolerance': float('nan')}, {'smallest': -0.1},
  {'smallest': 2.0}])
def test_reduce_on_plateau_refuses(bad):
  with pytest.raises(ValueError, match=next(iter(bad))):
    optim.reduce_on_plateau(**bad)


def test_needs_monitor_finds_a_nested_plateau():
  chain = optax.chain(optax.adam(0.1), optax.chain(optim.reduce_on_plateau()))
  assert optim.needs_monitor(chain.init(jnp.ones(2)))
  assert not optim.needs_monitor(optax.adam(0.1).init(jnp.ones(2)))
