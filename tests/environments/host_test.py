"""Tests of bigmodels.environments.host on a walk that counts how often it is made."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import of_callback
from bigmodels.environments import reset, rollout, step
from bigmodels.environments.host import host_environment

SHAPE = jax.ShapeDtypeStruct((2,), jnp.float32)


class Walk:
  """One position; action 1 moves it by what the seed draws, 0 ends the episode."""

  counted = collections.Counter()
  rng = None  # of draws that are not a function of the seed

  def __init__(self):
    self.counted['made'] += 1

  def reset(self, *, seed):
    self.counted['reset'] += 1
    self._rng, self._position = np.random.default_rng(seed), np.zeros(2)
    return self._position, {}

  def step(self, action):
    self.counted['step'] += 1
    assert action in (1, 2)  # its first action is number 1
    rng = self._rng if self.rng is None else self.rng
    self._position += rng.normal(size=2)  # in the array that was given away
    if self._position[0] > 1e6:
      raise RuntimeError('the motor is hot')
    return self._position, 1.0, action == 1, False, {}

  def close(self):
    self.counted['closed'] += 1


@pytest.fixture(autouse=True)
def counted():
  Walk.counted.clear()
  return Walk.counted


def _walk(max_episode_steps=50):
  return host_environment(
    'Walk', Walk, SHAPE, ('end', 'on'), max_episode_steps, first_action=1)


def _steps(environment, state, steps, first=0):
  """Steps of three episodes, which restart; the state, and what every step gave."""
  found, jitted = [], jax.jit(step, static_argnums=0)
  for i in range(first, first + steps):
    actions = jax.random.bernoulli(jax.random.PRNGKey(i), 0.8, (3,)).astype(jnp.int32)
    state, transition, _ = jitted(environment, jax.random.PRNGKey(i), state, actions)
    found.append((transition, state))
  return state, jax.tree.map(np.asarray, found)


def _reset(environment):
  return jax.jit(lambda keys: reset(environment, keys))(
    jax.random.split(jax.random.PRNGKey(7), 3))


def _assert_same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_another_process_resumes_with_the_same_bits():
  environment = _walk()
  state, _ = _steps(environment, _reset(environment), 12)
  saved = jax.tree.map(np.asarray, state)
  _, whole = _steps(environment, state, 12, first=12)
  _, cut = _steps(_walk(), saved, 12, first=12)
  _assert_same(whole, cut)


def test_a_state_can_be_stepped_on_from_twice():
  environment = _walk()
  state, _ = _steps(environment, _reset(environment), 5)
  _, once = _steps(environment, state, 5, first=5)
  _, twice = _steps(environment, state, 5, first=5)
  _assert_same(once, twice)


def test_each_episode_is_reset_once_and_no_step_is_repeated(counted):
  environment = _walk()
  _, found = _steps(environment, _reset(environment), 20)
  ended = sum(int(transition.done.sum()) for transition, _ in found)
  assert ended >= 3
  assert counted['made'] == counted['reset'] == 3 + ended
  assert counted['step'] == 3 * 20 and counted['closed'] == ended


def test_an_evaluation_leaves_the_episodes_of_the_training_alone(counted):
  environment = _walk(max_episode_steps=6)
  state, _ = _steps(environment, _reset(environment), 1)
  counted.clear()

  def policy(observations):
    return jnp.ones(len(observations), jnp.int32).at[0].set(0)

  ended, _ = rollout(environment, policy, jax.random.split(jax.random.PRNGKey(1), 100))
  assert ended.episode_length.tolist() == [1] + [6] * 99
  assert counted == {'made': 100, 'reset': 100, 'step': 1 + 6 * 99, 'closed': 100}
  counted.clear()
  _steps(environment, state, 1, first=1)
  assert counted['step'] == 3


def test_the_cache_of_running_episodes_is_bounded(counted):
  environment = _walk()
  start = jax.jit(lambda keys: reset(environment, keys))
  for i in range(5):
    jax.block_until_ready(start(jax.random.split(jax.random.PRNGKey(i), 20)))
  assert counted == {'made': 100, 'reset': 100, 'closed': 100 - 64}


def test_after_the_last_step_it_is_truncated_and_gives_zeros(counted):
  environment = _walk(max_episode_steps=3)
  state, _ = environment.reset(jax.random.PRNGKey(0))
  for i in range(3):
    state, observation, _, terminated, truncated = environment.step(
      None, state, jnp.int32(1))
    assert (bool(terminated), bool(truncated)) == (False, i == 2)
  assert state.done and int(state.length) == 3 and np.any(observation)
  counted.clear()
  state, observation, reward, *_ = environment.step(None, state, jnp.int32(1))
  assert not np.any(observation) and float(reward) == 0 and int(state.length) == 3
  assert not counted


def test_draws_that_are_not_a_function_of_the_seed_are_detected(monkeypatch):
  monkeypatch.setattr(Walk, 'rng', np.random.default_rng(0))
  environment = _walk()
  state, _ = _steps(environment, _reset(environment), 3)
  with pytest.raises(jax.errors.JaxRuntimeError) as error:
    _steps(_walk(), jax.tree.map(np.asarray, state), 1)
  assert str(of_callback(error.value)).startswith(
    "the environment 'Walk' cannot be restored: with seed ")
  assert 'depends on more than its seed and actions' in str(of_callback(error.value))


def test_its_errors_name_it():
  broken = host_environment('Walk', lambda: 1 / 0, SHAPE, ('end', 'on'), 5)
  with pytest.raises(jax.errors.JaxRuntimeError) as error:
    jax.block_until_ready(_reset(broken))
  assert str(of_callback(error.value)).startswith(
    "the environment 'Walk': ZeroDivisionError: division by zero (host_test.py")
  wrong = host_environment(
    'Walk', Walk, jax.ShapeDtypeStruct((3,), jnp.float32), ('on',), 5)
  with pytest.raises(jax.errors.JaxRuntimeError, match=r'the shape \(2,\); the obs'):
    jax.block_until_ready(_reset(wrong))
  assert of_callback(ValueError('UserError: not of a program')) is None
