"""Tests of bigmodels.optim.lookahead against a loop in NumPy and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import optim
from bigmodels.learners import Signal


def gradient(x):
  return np.array([3.0, 0.5]) * x


def test_it_is_the_algorithm_of_its_paper():
  """Zhang et al., algorithm 1, around SGD with momentum in float64."""
  with jax.enable_x64(True):
    optimizer = optim.lookahead(optax.sgd(0.1, momentum=0.9), period=3, rate=0.4)
    params = jnp.array([1.0, -2.0])
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    slow = fast = np.array([1.0, -2.0])
    velocity = np.zeros(2)
    for step in range(1, 11):
      updates, state = update(gradient(params), state, params)
      params = optax.apply_updates(params, updates)
      velocity = 0.9 * velocity + gradient(fast)
      fast = fast - 0.1 * velocity
      if step % 3 == 0:
        slow = fast = slow + 0.4 * (fast - slow)
      np.testing.assert_allclose(params, fast, rtol=1e-13)


def test_its_slow_parameters_are_those_of_optax():
  ours = optim.lookahead(optax.adam(0.1), period=4, rate=0.5)
  theirs = optax.lookahead(optax.adam(0.1), 4, 0.5)
  mine = jnp.array([1.0, -2.0])
  both = optax.LookaheadParams.init_synced(mine)
  state, other = ours.init(mine), theirs.init(both)
  for _ in range(8):
    updates, state = ours.update(gradient(mine), state, mine)
    mine = optax.apply_updates(mine, updates)
    updates, other = theirs.update(gradient(both.fast), other, both)
    both = optax.apply_updates(both, updates)
  np.testing.assert_allclose(mine, both.slow, rtol=1e-6)


def test_parameters_read_after_init_are_the_slow_ones():
  """As of `init_from`: the first step knows them."""
  optimizer = optim.lookahead(optax.sgd(0.5), period=1, rate=0.5)
  state = optimizer.init(jnp.array([100.0]))
  updates, _ = optimizer.update(jnp.array([1.0]), state, jnp.array([2.0]))
  np.testing.assert_allclose(updates, [-0.25])  # half of the step of SGD


def test_it_passes_on_what_a_step_knows():
  optimizer = optim.lookahead(optim.reduce_on_plateau())
  state = optimizer.init(jnp.zeros(2))
  _, after = optimizer.update(jnp.ones(2), state, jnp.zeros(2), value=jnp.float32(1),
                              signal=Signal(jnp.float32(1), jnp.int32(1)))
  assert float(after.optimizer.best) == 1


@pytest.mark.parametrize('given,message', [
  ({'period': 0}, 'period: must be >= 1, got 0'),
  ({'rate': 0.0}, r'rate: must be > 0 and <= 1, got 0\.0'),
  ({'rate': float('nan')}, 'rate: must be > 0')])
def test_what_is_refused(given, message):
  with pytest.raises(ValueError, match=message):
    optim.lookahead(optax.sgd(0.1), **given)
