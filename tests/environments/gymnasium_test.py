"""Tests of bigmodels.environments.gymnasium against Gymnasium itself."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.environments import Atari, Gymnasium, reset
from tests.environments import libraries

libraries.require('gymnasium')
import gymnasium  # noqa: E402


def _reset(environment, count):
  return jax.jit(lambda keys: reset(environment, keys))(
    jax.random.split(jax.random.PRNGKey(0), count))


def _compare(environment, theirs, steps):
  """Compares ours step for step with theirs; how many episodes ended."""
  first = _reset(environment, len(theirs))
  state, ended = first.state, 0
  for i, each in enumerate(theirs):
    observation, _ = each.reset(seed=int(state.seed[i]))
    np.testing.assert_array_equal(first.observation[i], observation)
  step = jax.jit(jax.vmap(environment.step, (None, 0, 0)))
  rng, running = np.random.default_rng(0), set(range(len(theirs)))
  for _ in range(steps):
    actions = rng.integers(len(environment.actions), size=len(theirs))
    state, *ours = step(None, state, jnp.asarray(actions, jnp.int32))
    for i in sorted(running):
      expected = theirs[i].step(actions[i])[:4]
      for mine, one in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(mine[i], one)
      if expected[2] or expected[3]:
        running.remove(i)
        ended += 1
  return ended


def test_cartpole_is_gymnasiums():
  theirs = [gymnasium.make('CartPole-v1') for _ in range(3)]
  assert _compare(Gymnasium('CartPole-v1').open(), theirs, 60) >= 1


def test_its_last_step_truncates_and_does_not_terminate():
  theirs = [gymnasium.make('CartPole-v1', max_episode_steps=4)]
  environment = Gymnasium('CartPole-v1', max_episode_steps=4).open()
  assert environment.max_episode_steps == 4
  assert Gymnasium('CartPole-v1').open().max_episode_steps == 500
  assert _compare(environment, theirs, 5) == 1
  state, step = _reset(environment, 1).state, jax.vmap(environment.step, (None, 0, 0))
  for i in range(4):
    state, _, _, terminated, truncated = step(None, state, jnp.array([i % 2]))
  assert truncated.tolist() == [True] and terminated.tolist() == [False]


def _wrapped(game='Pong'):
  """A game as the wrappers of Gymnasium give it, in colour inside, frames first."""
  raw = gymnasium.make(f'ALE/{game}-v5', frameskip=1, repeat_action_probability=0.0)
  return gymnasium.wrappers.FrameStackObservation(
    gymnasium.wrappers.AtariPreprocessing(raw, noop_max=30, frame_skip=4), 4,
    padding_type='zero')


class _FramesLast(gymnasium.ObservationWrapper):
  def observation(self, observation):
    return np.stack(list(observation), -1)


def test_pong_is_as_the_wrappers_of_gymnasium_make_it():
  libraries.require('ale_py', 'cv2')
  environment = Atari('Pong').open()
  assert environment.observation == jax.ShapeDtypeStruct((84, 84, 4), jnp.uint8)
  assert environment.actions == (
    'NOOP', 'FIRE', 'RIGHT', 'LEFT', 'RIGHTFIRE', 'LEFTFIRE')
  assert environment.max_episode_steps == 27_000 and environment.stacked_frames
  _compare(environment, [_FramesLast(_wrapped()), _FramesLast(_wrapped())], 60)
  first = _reset(environment, 2)
  assert not first.observation[..., :3].any() and first.observation[..., 3].any()
  step = jax.vmap(environment.step, (None, 0, 0))
  after = step(None, first.state, jnp.array([2, 3]))[1]
  np.testing.assert_array_equal(after[..., :3], first.observation[..., 1:])


def test_unknown_and_unsupported_environments():
  for name, message in (
    ('CartPole-v7', "no environment 'CartPole-v7'; did you mean 'CartPole-v"),
    ('Cartpoll-v1', "no environment 'Cartpoll-v1'; did you mean 'CartPole-v1'"),
    ('nowhere.at_all:Mine-v0', "the environment 'nowhere.at_all:Mine-v0' cannot be made"
     ": .*nowhere"),
    ('Pendulum-v1', r'the actions of .* must be discrete, got Box\('),
    ('Blackjack-v1', r'Gymnasium\(\'Blackjack-v1\', max_episode_steps=1000\)')):
    with pytest.raises(UserError, match=message):
      Gymnasium(name).open()
  with pytest.raises(UserError, match=r"the observation of 'Blackjack-v1' must be one "
                     r'array, got Tuple'):
    Gymnasium('Blackjack-v1', max_episode_steps=10).open()
  for make in (Gymnasium, Atari):
    with pytest.raises(ValueError, match='max_episode_steps: must be >= 1, got 0'):
      make('Pong', max_episode_steps=0)
  libraries.require('ale_py', 'cv2')
  with pytest.raises(UserError, match="Atari has no game 'pong'; did you mean 'Pong'"):
    Atari('pong').open()


def test_a_missing_library_is_named(monkeypatch):
  for module, package in (('gymnasium', 'gymnasium'), ('ale_py', 'ale-py'),
                          ('cv2', 'opencv-python-headless')):
    with monkeypatch.context() as patch:
      patch.setitem(sys.modules, module, None)
      with pytest.raises(UserError, match=f'needs {package}, which is not installed .*'
                         'requirements-agents'):
        Atari('Breakout').open()


def test_an_error_of_the_environment_ends_a_run_in_a_line(run_py, tmp_path):
  libraries.require('rlax')
  fork = pathlib.Path(__file__).resolve().parents[1] / 'forks' / 'broken_host.py'
  done = run_py(f'--experiment={fork}', f'--workdir={tmp_path / "run"}')
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith(
    "error: the environment 'Motor-v0': RuntimeError: the motor is hot (broken_host.py")
  assert len(done.stderr.splitlines()) == 1, done.stderr


def test_several_devices_are_refused(monkeypatch):
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  with pytest.raises(UserError, match='for one device; there are 8: hide the others'):
    Gymnasium('Acrobot-v1').open()
