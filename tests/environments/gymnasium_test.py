"""Tests of bigmodels.environments.gymnasium against Gymnasium itself."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.environments import Atari, Gymnasium, begin
from tests.environments import libraries

libraries.require('gymnasium')
import gymnasium  # noqa: E402


def _begun(world, count):
  return jax.jit(lambda keys: begin(world, keys))(
    jax.random.split(jax.random.PRNGKey(0), count))


def _as_gymnasiums(world, theirs, steps):
  """Compares ours step for step with theirs; how many ended."""
  slots = _begun(world, len(theirs))
  past, ended = slots.state, 0
  for i, each in enumerate(theirs):
    first, _ = each.reset(seed=int(past.seed[i]))
    np.testing.assert_array_equal(slots.observation[i], first)
  step = jax.jit(jax.vmap(world.step, (None, 0, 0)))
  chance, going = np.random.default_rng(0), set(range(len(theirs)))
  for _ in range(steps):
    actions = chance.integers(len(world.actions), size=len(theirs))
    past, *ours = step(None, past, jnp.asarray(actions, jnp.int32))
    for i in sorted(going):
      wanted = theirs[i].step(actions[i])[:4]
      for mine, one in zip(ours, wanted, strict=True):
        np.testing.assert_array_equal(mine[i], one)
      if wanted[2] or wanted[3]:
        going.remove(i)
        ended += 1
  return ended


def test_cartpole_is_gymnasiums():
  theirs = [gymnasium.make('CartPole-v1') for _ in range(3)]
  assert _as_gymnasiums(Gymnasium('CartPole-v1').open(), theirs, 60) >= 1


def test_its_own_limit_truncates_and_does_not_terminate():
  theirs = [gymnasium.make('CartPole-v1', max_episode_steps=4)]
  world = Gymnasium('CartPole-v1', limit=4).open()
  assert world.limit == 4 and Gymnasium('CartPole-v1').open().limit == 500
  assert _as_gymnasiums(world, theirs, 5) == 1
  past, step = _begun(world, 1).state, jax.vmap(world.step, (None, 0, 0))
  for i in range(4):
    past, _, _, terminated, truncated = step(None, past, jnp.array([i % 2]))
  assert truncated.tolist() == [True] and terminated.tolist() == [False]


def _driven(game='Pong'):
  """A game as the wrappers of Gymnasium give it, in colour inside, frames first."""
  played = gymnasium.make(f'ALE/{game}-v5', frameskip=1, repeat_action_probability=0.0)
  return gymnasium.wrappers.FrameStackObservation(
    gymnasium.wrappers.AtariPreprocessing(played, noop_max=30, frame_skip=4), 4,
    padding_type='zero')


class _FramesLast(gymnasium.ObservationWrapper):
  def observation(self, observation):
    return np.stack(list(observation), -1)


def test_pong_is_as_the_wrappers_of_gymnasium_make_it():
  libraries.require('ale_py', 'cv2')
  world = Atari('Pong').open()
  assert world.observation == jax.ShapeDtypeStruct((84, 84, 4), jnp.uint8)
  assert world.actions == ('NOOP', 'FIRE', 'RIGHT', 'LEFT', 'RIGHTFIRE', 'LEFTFIRE')
  assert world.limit == 27_000 and world.stacked
  _as_gymnasiums(world, [_FramesLast(_driven()), _FramesLast(_driven())], 60)
  slots = _begun(world, 2)
  assert not slots.observation[..., :3].any() and slots.observation[..., 3].any()
  after = jax.vmap(world.step, (None, 0, 0))(None, slots.state, jnp.array([2, 3]))[1]
  np.testing.assert_array_equal(after[..., :3], slots.observation[..., 1:])


def test_environments_that_are_not_there_or_not_acted_in_so():
  for name, message in (
    ('CartPole-v7', "no environment 'CartPole-v7'; did you mean 'CartPole-v"),
    ('Cartpoll-v1', "no environment 'Cartpoll-v1'; did you mean 'CartPole-v1'"),
    ('nowhere.at_all:Mine-v0', "the environment 'nowhere.at_all:Mine-v0' cannot be made"
     ": .*nowhere"),
    ('Pendulum-v1', r'the actions of .* are Box\(.*; the agents here choose one of'),
    ('Blackjack-v1', r'Gymnasium\(\'Blackjack-v1\', limit=1000\)')):
    with pytest.raises(UserError, match=message):
      Gymnasium(name).open()
  with pytest.raises(UserError, match=r"what is observed in 'Blackjack-v1' is not one "
                     r'array: Tuple'):
    Gymnasium('Blackjack-v1', limit=10).open()
  for make in (Gymnasium, Atari):
    with pytest.raises(ValueError, match='limit: wants at least 1, got 0'):
      make('Pong', limit=0)
  libraries.require('ale_py', 'cv2')
  with pytest.raises(UserError, match="no game 'pong' for Atari; did you mean 'Pong'"):
    Atari('pong').open()


def test_what_is_missing_is_named(monkeypatch):
  for module, package in (('gymnasium', 'gymnasium'), ('ale_py', 'ale-py'),
                          ('cv2', 'opencv-python-headless')):
    with monkeypatch.context() as patch:
      patch.setitem(sys.modules, module, None)
      with pytest.raises(UserError, match=f'wants {package}, which is not installed .*'
                         'requirements-agents'):
        Atari('Breakout').open()


def test_what_it_raises_ends_a_run_in_a_line(run_py, tmp_path):
  libraries.require('rlax')
  fork = pathlib.Path(__file__).resolve().parents[1] / 'forks' / 'broken_host.py'
  done = run_py(f'--experiment={fork}', f'--workdir={tmp_path / "run"}')
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith(
    "error: the environment 'Motor-v0': RuntimeError: the motor is hot (broken_host.py")
  assert len(done.stderr.splitlines()) == 1, done.stderr


def test_several_devices_are_refused(monkeypatch):
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  with pytest.raises(UserError, match='for one device; here are 8: hide the others'):
    Gymnasium('Acrobot-v1').open()
