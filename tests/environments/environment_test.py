"""Tests of bigmodels.environments.environment on a corridor of three rooms."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.environments import frame_interval, reset, rollout, step
from bigmodels.environments.environment import MAX_FRAMES
from tests.environments.corridor import ROOMS, Corridor

CORRIDOR = Corridor().open()


def _keys(count):
  return jax.random.split(jax.random.PRNGKey(0), count)


def _steps(actions):
  """What `step` gives for actions `[steps, n]`, step by step."""
  state, found = reset(CORRIDOR, _keys(actions.shape[1])), []
  for i, each in enumerate(actions):
    state, transition, stepped = jax.jit(step, static_argnums=0)(
      CORRIDOR, jax.random.PRNGKey(i), state, jnp.asarray(each, jnp.int32))
    found.append((state, transition, stepped))
  return found


def test_who_gets_out_terminates_and_who_stays_is_truncated():
  found = _steps(np.array([[1, 0]] * 5))
  done = np.array([transition.done for _, transition, _ in found])
  np.testing.assert_array_equal(done[:, 0], [0, 0, 1, 0, 0])
  np.testing.assert_array_equal(done[:, 1], [0, 0, 0, 0, 1])
  assert found[2][1].terminated.tolist() == [True, False]
  assert found[4][1].truncated.tolist() == [False, True]
  # The return of the first is 10 - 2, of the second 5 times -1.
  assert float(found[2][2].episode_return[0]) == 8
  assert float(found[4][2].episode_return[1]) == -5
  assert int(found[2][2].episode_length[0]) == 3
  assert int(found[4][2].episode_length[1]) == 5


def test_the_next_observation_is_of_the_same_episode_and_then_another_starts():
  state, transition, _ = _steps(np.array([[0]] * 5))[-1]
  np.testing.assert_array_equal(transition.next_observation, [[1, 0, 0]])
  state, transition, _ = _steps(np.array([[1], [0], [0], [0], [0]]))[-1]
  np.testing.assert_array_equal(transition.next_observation, [[0, 1, 0]])  # the last
  np.testing.assert_array_equal(state.observation, [[1, 0, 0]])  # the first
  assert state.episode_length.tolist() == [0] and state.episode_return.tolist() == [0]


def test_terminated_in_the_last_step_is_not_truncated():
  _, transition, _ = _steps(np.array([[0], [0], [1], [1], [1]]))[-1]
  assert transition.terminated.tolist() == [True]
  assert transition.truncated.tolist() == [False]


def test_a_rollout_runs_episodes_to_their_end():
  def policy(observations):  # the second of two stays where it is
    return jnp.array([1, 0])

  ended, frames = jax.jit(lambda keys: rollout(CORRIDOR, policy, keys))(_keys(2))
  np.testing.assert_array_equal(ended.episode_return, [8, -5])
  np.testing.assert_array_equal(ended.episode_length, [3, 5])
  assert frames.shape == (2, MAX_FRAMES, ROOMS)  # one of every step, for so few
  np.testing.assert_array_equal(frames[0, :3], np.eye(3))
  np.testing.assert_array_equal(frames[1, :5], [[1, 0, 0]] * 5)
  assert not frames[0, 3:].any() and not frames[1, 5:].any()


def test_of_a_long_episode_one_frame_in_several_is_kept():
  corridor = Corridor(max_episode_steps=2 * MAX_FRAMES + 1).open()
  assert frame_interval(corridor) == 3

  def policy(observations):
    return jnp.array([0])

  ended, frames = jax.jit(lambda keys: rollout(corridor, policy, keys))(_keys(1))
  assert ended.episode_length.tolist() == [2 * MAX_FRAMES + 1]
  filled = np.asarray(frames[0]).any(-1)
  assert filled.sum() == -(-(2 * MAX_FRAMES + 1) // 3)
  assert filled[: filled.sum()].all()
