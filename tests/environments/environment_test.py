"""Tests of bigmodels.environments.environment on a corridor of three rooms."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.environments import advance, begin, film_every, play
from bigmodels.environments.environment import FRAMES
from tests.environments.corridor import ROOMS, Corridor

WORLD = Corridor().open()


def _keys(count):
  return jax.random.split(jax.random.PRNGKey(0), count)


def _played(actions):
  """Transitions `[steps, n]` and sums of actions `[steps, n]`."""
  slots, found = begin(WORLD, _keys(actions.shape[1])), []
  for i, each in enumerate(actions):
    slots, transition, sums = jax.jit(advance, static_argnums=0)(
      WORLD, jax.random.PRNGKey(i), slots, jnp.asarray(each, jnp.int32))
    found.append((transition, sums, slots))
  return found


def test_who_gets_out_terminates_and_who_stays_is_truncated():
  found = _played(np.array([[1, 0]] * 5))
  over = np.array([transition.over for transition, _, _ in found])
  np.testing.assert_array_equal(over[:, 0], [0, 0, 1, 0, 0])
  np.testing.assert_array_equal(over[:, 1], [0, 0, 0, 0, 1])
  assert found[2][0].terminated.tolist() == [True, False]
  assert found[4][0].truncated.tolist() == [False, True]
  # The return of the first is 10 - 2, of the second 5 times -1.
  totals = [(float(s['return'][0]), float(s['return'][1])) for _, s, _ in found]
  assert totals == [(0, 0), (0, 0), (8, 1), (0, 0), (-5, 1)]
  assert float(found[4][1]['length'][0]) == 5


def test_what_follows_is_of_the_same_episode_and_then_another_begins():
  transition, _, slots = _played(np.array([[0]] * 5))[-1]
  np.testing.assert_array_equal(transition.after, [[1, 0, 0]])
  transition, _, slots = _played(np.array([[1], [0], [0], [0], [0]]))[-1]
  np.testing.assert_array_equal(transition.after, [[0, 1, 0]])  # where it was
  np.testing.assert_array_equal(slots.observation, [[1, 0, 0]])  # where it begins
  assert slots.length.tolist() == [0] and slots.rewards.tolist() == [0]


def test_terminated_in_the_last_step_is_not_truncated():
  transition, _, _ = _played(np.array([[0], [0], [1], [1], [1]]))[-1]
  assert transition.terminated.tolist() == [True]
  assert transition.truncated.tolist() == [False]


def test_episodes_are_played_to_their_end():
  def policy(observations):  # the second of two stays where it is
    return jnp.array([1, 0])

  ended, film = jax.jit(lambda keys: play(WORLD, policy, keys))(_keys(2))
  np.testing.assert_array_equal(ended.rewards, [8, -5])
  np.testing.assert_array_equal(ended.length, [3, 5])
  assert film.shape == (2, FRAMES, ROOMS)  # a frame of every step, for so few
  np.testing.assert_array_equal(film[0, :3], np.eye(3))
  np.testing.assert_array_equal(film[1, :5], [[1, 0, 0]] * 5)
  assert not film[0, 3:].any() and not film[1, 5:].any()


def test_of_a_long_episode_every_few_steps_are_kept():
  world = Corridor(limit=2 * FRAMES + 1).open()
  assert film_every(world) == 3

  def policy(observations):
    return jnp.array([0])

  ended, film = jax.jit(lambda keys: play(world, policy, keys))(_keys(1))
  assert ended.length.tolist() == [2 * FRAMES + 1]
  filled = np.asarray(film[0]).any(-1)
  assert filled.sum() == -(-(2 * FRAMES + 1) // 3) and filled[: filled.sum()].all()
