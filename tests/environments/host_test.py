"""Tests of bigmodels.environments.hosted on a walk that counts how often it is made."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import of_callback
from bigmodels.environments import advance, begin, play
from bigmodels.environments.hosted import hosted

SHAPE = jax.ShapeDtypeStruct((2,), jnp.float32)


class Walk:
  """One place; action 1 goes on by what the seed draws, 0 ends it."""

  counted = collections.Counter()
  chance = None  # of what the seed does not tell

  def __init__(self):
    self.counted['made'] += 1

  def reset(self, *, seed):
    self.counted['reset'] += 1
    self._drawn, self._place = np.random.default_rng(seed), np.zeros(2)
    return self._place, {}

  def step(self, action):
    self.counted['step'] += 1
    assert action in (1, 2)  # its first action is number 1
    drawn = self._drawn if self.chance is None else self.chance
    self._place += drawn.normal(size=2)  # in the array that was given away
    if self._place[0] > 1e6:
      raise RuntimeError('the motor is hot')
    return self._place, 1.0, action == 1, False, {}

  def close(self):
    self.counted['closed'] += 1


@pytest.fixture(autouse=True)
def counted():
  Walk.counted.clear()
  return Walk.counted


def _world(limit=50):
  return hosted('Walk', Walk, SHAPE, ('end', 'on'), limit, start=1)


def _walked(world, past, steps, first=0):
  """Goes on where any may end; observations, and where they were reset."""
  slots, seen = past, []
  step = jax.jit(advance, static_argnums=0)
  for i in range(first, first + steps):
    actions = jax.random.bernoulli(jax.random.PRNGKey(i), 0.8, (3,)).astype(jnp.int32)
    slots, transition, _ = step(world, jax.random.PRNGKey(i), slots, actions)
    seen.append((transition, slots))
  return slots, jax.tree.map(np.asarray, seen)


def _begun(world):
  return jax.jit(lambda keys: begin(world, keys))(
    jax.random.split(jax.random.PRNGKey(7), 3))


def _same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_another_process_goes_on_with_the_same_bits():
  world = _world()
  slots, _ = _walked(world, _begun(world), 12)
  saved = jax.tree.map(np.asarray, slots)
  _, whole = _walked(world, slots, 12, first=12)
  _, cut = _walked(_world(), saved, 12, first=12)
  _same(whole, cut)


def test_a_state_can_be_stepped_on_from_twice():
  world = _world()
  slots, _ = _walked(world, _begun(world), 5)
  _, once = _walked(world, slots, 5, first=5)
  _, twice = _walked(world, slots, 5, first=5)
  _same(once, twice)


def test_each_episode_is_begun_once_and_nothing_is_stepped_in_vain(counted):
  world = _world()
  _, seen = _walked(world, _begun(world), 20)
  ended = sum(int(transition.over.sum()) for transition, _ in seen)
  assert ended >= 3
  assert counted['made'] == counted['reset'] == 3 + ended
  assert counted['step'] == 3 * 20 and counted['closed'] == ended


def test_an_evaluation_leaves_the_episodes_of_the_training_alone(counted):
  world = _world(limit=6)
  slots, _ = _walked(world, _begun(world), 1)
  counted.clear()

  def policy(observations):
    return jnp.ones(len(observations), jnp.int32).at[0].set(0)

  ended, _ = play(world, policy, jax.random.split(jax.random.PRNGKey(1), 100))
  assert ended.length.tolist() == [1] + [6] * 99
  assert counted == {'made': 100, 'reset': 100, 'step': 1 + 6 * 99, 'closed': 100}
  counted.clear()
  _walked(world, slots, 1, first=1)
  assert counted['step'] == 3


def test_of_episodes_that_nobody_goes_on_with_only_so_many_are_kept(counted):
  world = _world()
  start = jax.jit(lambda keys: begin(world, keys))
  for i in range(5):
    jax.block_until_ready(start(jax.random.split(jax.random.PRNGKey(i), 20)))
  assert counted == {'made': 100, 'reset': 100, 'closed': 100 - 64}


def test_after_the_limit_it_is_truncated_and_gives_zeros(counted):
  world = _world(limit=3)
  past, _ = world.reset(jax.random.PRNGKey(0))
  for i in range(3):
    past, seen, _, terminated, truncated = world.step(None, past, jnp.int32(1))
    assert (bool(terminated), bool(truncated)) == (False, i == 2)
  assert past.over and int(past.count) == 3 and np.any(seen)
  counted.clear()
  past, seen, reward, *_ = world.step(None, past, jnp.int32(1))
  assert not np.any(seen) and float(reward) == 0 and int(past.count) == 3
  assert not counted


def test_what_its_seed_and_actions_do_not_tell_is_found_out(monkeypatch):
  monkeypatch.setattr(Walk, 'chance', np.random.default_rng(0))
  world = _world()
  slots, _ = _walked(world, _begun(world), 3)
  with pytest.raises(jax.errors.JaxRuntimeError) as error:
    _walked(_world(), jax.tree.map(np.asarray, slots), 1)
  assert str(of_callback(error.value)).startswith("the environment 'Walk', with seed ")
  assert 'is no function of these alone' in str(of_callback(error.value))


def test_what_it_raises_is_told_with_its_name():
  broken = hosted('Walk', lambda: 1 / 0, SHAPE, ('end', 'on'), 5)
  with pytest.raises(jax.errors.JaxRuntimeError) as error:
    jax.block_until_ready(_begun(broken))
  assert str(of_callback(error.value)).startswith(
    "the environment 'Walk': ZeroDivisionError: division by zero (hosted_test.py")
  wrong = hosted('Walk', Walk, jax.ShapeDtypeStruct((3,), jnp.float32), ('on',), 5)
  with pytest.raises(jax.errors.JaxRuntimeError, match=r'of shape \(2,\), its space'):
    jax.block_until_ready(_begun(wrong))
  assert of_callback(ValueError('UserError: not of a program')) is None
