"""Environments of Gymnasium (Towers et al., 2024), and its Atari games."""

import dataclasses
import functools
import importlib
from types import ModuleType
from typing import Any

import jax
import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.environments.environment import Environment
from bigmodels.environments.host import host_environment


@dataclasses.dataclass(frozen=True)
class Gymnasium:
  """An environment of Gymnasium, by its name.

  It runs on the host; each call steps all episodes. A resumed run restores an episode
  by repeating its actions; see `environments.host`.

  Attributes:
    name: name such as 'CartPole-v1', or 'package.module:Mine-v0' for a module that
      registers it.
    max_episode_steps: steps after which an episode is truncated; None for the
      environment's own.

  Raises:
    ValueError: if `max_episode_steps` is below 1.
  """

  name: str
  max_episode_steps: int | None = None

  def __post_init__(self):
    _check_steps(self.max_episode_steps)

  def open(self) -> Environment:
    """Makes the environment.

    Raises:
      UserError: if Gymnasium is not installed or does not have it, its episodes have
        no limit, its actions are not discrete, its observation is not one array, or
        there are several devices.
    """
    return _open_gymnasium(self.name, self.max_episode_steps)


@dataclasses.dataclass(frozen=True)
class Atari:
  """A game of the Atari 2600, preprocessed as for deep Q-learning (Mnih et al., 2015).

  An observation is the latest 4 frames, in grey, zeros before the first: uint8 `[84,
  84, 4]`. An action is repeated for 4 frames of the game, and each observed frame is
  the maximum of the last two. An episode starts with 1 to 30 no-ops; actions are not
  sticky. Rewards are those of the game (`learners.dqn` can clip them); the loss of a
  life does not end an episode.

  Attributes:
    game: name such as 'Pong' or 'SpaceInvaders'.
    max_episode_steps: steps after which an episode is truncated; 27,000 are half an
      hour of play.

  Raises:
    ValueError: if `max_episode_steps` is below 1.
  """

  game: str
  max_episode_steps: int = 27_000

  def __post_init__(self):
    _check_steps(self.max_episode_steps)

  def open(self) -> Environment:
    """Makes the environment.

    Raises:
      UserError: if Gymnasium, ale-py or OpenCV is not installed, the game does not
        exist, or there are several devices.
    """
    return _open_atari(self.game, self.max_episode_steps)


def _check_steps(max_episode_steps: int | None) -> None:
  if max_episode_steps is not None and max_episode_steps < 1:
    raise ValueError(f'max_episode_steps: must be >= 1, got {max_episode_steps}')


@functools.lru_cache(maxsize=8)
def _open_gymnasium(name: str, max_episode_steps: int | None) -> Environment:
  gymnasium = _import('gymnasium', name)
  _check_devices(name)
  settings = {}
  if max_episode_steps is not None:
    settings['max_episode_steps'] = max_episode_steps
  # Its checker warns of errors that are refused here, and copies every observation.
  make = functools.partial(
    gymnasium.make, name, disable_env_checker=True, **settings)
  try:
    first = make()
  except gymnasium.error.UnregisteredEnv:
    raise UserError(f'Gymnasium has no environment {name!r}'
                    f'{nearest(name, gymnasium.registry)}') from None
  except (gymnasium.error.Error, ImportError) as error:
    raise UserError(f'the environment {name!r} cannot be made: {error}') from error
  max_episode_steps = max_episode_steps or first.spec.max_episode_steps
  if max_episode_steps is None:
    raise UserError(f'the episodes of {name!r} have no limit; set one, '
                    f'Gymnasium({name!r}, max_episode_steps=1000)')
  actions = first.action_space
  if not isinstance(actions, gymnasium.spaces.Discrete):
    raise UserError(f'the actions of {name!r} must be discrete, got {actions}')
  first.close()
  return host_environment(
    name, make, _observation(gymnasium, name, first.observation_space),
    tuple(str(actions.start + i) for i in range(actions.n)), max_episode_steps,
    first_action=int(actions.start))


@functools.lru_cache(maxsize=8)
def _open_atari(game: str, max_episode_steps: int) -> Environment:
  gymnasium, ale = _import('gymnasium', game), _import('ale_py', game)
  _import('cv2', game)  # Gymnasium resizes frames with it
  _check_devices(game)
  gymnasium.register_envs(ale)
  ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # no banner for each game
  games = [spec.name for spec in gymnasium.registry.values()
           if spec.namespace == 'ALE' and spec.version == 5]
  if game not in games:
    raise UserError(f'Atari has no game {game!r}{nearest(game, games)}')

  def make():
    raw = gymnasium.make(
      f'ALE/{game}-v5', disable_env_checker=True, obs_type='grayscale', frameskip=1,
      repeat_action_probability=0.0, max_num_frames_per_episode=0)
    grey = gymnasium.wrappers.AtariPreprocessing(raw)
    stacked = gymnasium.wrappers.FrameStackObservation(grey, 4, padding_type='zero')
    return gymnasium.wrappers.TransformObservation(
      stacked, lambda frames: np.moveaxis(frames, 0, -1),
      gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8))

  first = make()
  names = tuple(first.unwrapped.get_action_meanings())
  first.close()
  return host_environment(
    game, make, _observation(gymnasium, game, first.observation_space), names,
    max_episode_steps, stacked_frames=True)


def _import(module: str, name: str) -> ModuleType:
  try:
    return importlib.import_module(module)
  except ImportError as error:
    package = {'ale_py': 'ale-py', 'cv2': 'opencv-python-headless'}.get(module, module)
    raise UserError(
      f'the environment {name!r} needs {package}, which is not installed ({error}): '
      'pip install -r requirements-agents.txt') from None


def _check_devices(name: str) -> None:
  # With several CPU devices, all threads wait for each other while one of them waits
  # for the host callback, which needs a thread: a deadlock (jax 0.10).
  if jax.device_count() > 1:
    raise UserError(
      f'the environment {name!r} runs on the host, for one device; there are '
      f'{jax.device_count()}: hide the others (such as CUDA_VISIBLE_DEVICES=0), or '
      'use an environment in JAX, environments.Gymnax')


def _observation(gymnasium: ModuleType, name: str, space: Any) -> jax.ShapeDtypeStruct:
  if not isinstance(space, gymnasium.spaces.Box):
    raise UserError(f'the observation of {name!r} must be one array, got {space}')
  return jax.ShapeDtypeStruct(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
