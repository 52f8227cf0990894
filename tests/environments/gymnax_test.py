"""Tests of bigmodels.environments.gymnax against Gymnasium."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.environments import Gymnax
from tests.environments import libraries

libraries.require('gymnax', 'gymnasium')
import gymnasium  # noqa: E402


@pytest.mark.parametrize('seed', range(3))
def test_cartpole_moves_as_gymnasiums(seed):
  environment = Gymnax('CartPole-v1').open()
  theirs = gymnasium.make('CartPole-v1').unwrapped
  key = jax.random.PRNGKey(seed)
  state, observation = environment.reset(key)
  theirs.reset(seed=0)
  theirs.state = tuple(np.asarray(observation, np.float64))
  step = jax.jit(environment.step)
  rng = np.random.default_rng(seed)
  for _ in range(500):
    action = int(rng.integers(2))
    state, observation, reward, terminated, truncated = step(key, state, action)
    expected, their_reward, their_end, _, _ = theirs.step(action)
    np.testing.assert_allclose(observation, expected, atol=2e-5)
    assert float(reward) == their_reward
    assert bool(terminated) == their_end and not truncated
    if their_end:
      break
  assert their_end


def test_the_length_of_episodes_is_the_environments_or_the_given_one():
  assert Gymnax('CartPole-v1').open().max_episode_steps == 500
  assert Gymnax('CartPole-v1', max_episode_steps=7).open().max_episode_steps == 7
  assert Gymnax('CartPole-v1').open().actions == ('0', '1')


@pytest.mark.parametrize('name', ['CartPole-v1', 'Breakout-MinAtar', 'Catch-bsuite'])
def test_a_state_keeps_its_types(name):
  environment = Gymnax(name).open()
  key = jax.random.PRNGKey(0)
  state, observation = jax.eval_shape(environment.reset, key)
  after, seen, reward, *_ = jax.eval_shape(environment.step, key, state, jnp.int32(0))

  def types(tree):
    return [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)]

  assert types(after) == types(state)
  assert (seen.shape, seen.dtype) == (observation.shape, observation.dtype)
  assert reward.dtype == jnp.float32


@pytest.mark.parametrize('name, message', [
  ('CartPole-v2', "no environment 'CartPole-v2'; did you mean 'CartPole-v1'"),
  ('Pendulum-v1', 'must be discrete, got numbers of shape')])
def test_unknown_and_unsupported_environments(name, message):
  with pytest.raises(UserError, match=message):
    Gymnax(name).open()
  with pytest.raises(ValueError, match='max_episode_steps: must be >= 1, got 0'):
    Gymnax('CartPole-v1', max_episode_steps=0)
