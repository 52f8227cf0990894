"""Environments of Gymnasium (Towers et al., 2024), and the games of Atari in it."""

import dataclasses
import functools
import importlib
from types import ModuleType
from typing import Any

import jax
import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.environments.environment import Environment
from bigmodels.environments.hosted import hosted


@dataclasses.dataclass(frozen=True)
class Gymnasium:
  """An environment of Gymnasium, by its name.

  It runs on the host, one step of all episodes at a time, and is resumed by taking the
  actions since its last reset again: see `environments.hosted`.

  Attributes:
    name: such as 'CartPole-v1', or 'package.module:Mine-v0' of a module that registers
      it.
    limit: steps after which an episode is truncated; None for its own.
  """

  name: str
  limit: int | None = None

  def __post_init__(self):
    _check_limit(self.limit)

  def open(self) -> Environment:
    """Makes it.

    Raises:
      UserError: if Gymnasium is not installed, does not know it, it has no limit, it is
        not acted in by choosing one of several actions, what is observed is not one
        array, or there are several devices.
    """
    return _opened(self.name, self.limit)


@dataclasses.dataclass(frozen=True)
class Atari:
  """A game of the Atari 2600, as it was put before deep Q-learning (Mnih et al., 2015).

  What is observed are the latest 4 frames, grey, 84 x 84, zeros before the first: uint8
  `[84, 84, 4]`. An action is held for 4 frames of the game, and what is seen is the
  maximum of the last two. An episode begins with 1 to 30 frames of doing nothing; no
  action is repeated at random. Rewards are those of the game (`learners.dqn` can clip
  what it learns from); the loss of a life ends nothing.

  Attributes:
    game: such as 'Pong', 'SpaceInvaders'.
    limit: steps after which an episode is truncated; 27,000 are half an hour of play.
  """

  game: str
  limit: int = 27_000

  def __post_init__(self):
    _check_limit(self.limit)

  def open(self) -> Environment:
    """Makes it.

    Raises:
      UserError: if Gymnasium, ale-py or OpenCV is not installed, there is no such game,
        or there are several devices.
    """
    return _opened_atari(self.game, self.limit)


def _check_limit(limit: int | None) -> None:
  if limit is not None and limit < 1:
    raise ValueError(f'limit: wants at least 1, got {limit}')


@functools.lru_cache(maxsize=8)
def _opened(name: str, limit: int | None) -> Environment:
  gymnasium = _library('gymnasium', name)
  _check_devices(name)
  settings = {} if limit is None else {'max_episode_steps': limit}
  # Its checker warns of what is refused here, and copies every observation.
  make = functools.partial(
    gymnasium.make, name, disable_env_checker=True, **settings)
  try:
    first = make()
  except gymnasium.error.UnregisteredEnv:
    raise UserError(f'Gymnasium has no environment {name!r}'
                    f'{nearest(name, gymnasium.registry)}') from None
  except (gymnasium.error.Error, ImportError) as error:
    raise UserError(f'the environment {name!r} cannot be made: {error}') from error
  limit = limit or first.spec.max_episode_steps
  if limit is None:
    raise UserError(f'the episodes of {name!r} have no limit; set one, '
                    f'Gymnasium({name!r}, limit=1000)')
  actions = first.action_space
  if not isinstance(actions, gymnasium.spaces.Discrete):
    raise UserError(f'the actions of {name!r} are {actions}; the agents here choose '
                    'one of several')
  first.close()
  return hosted(name, make, _array(gymnasium, name, first.observation_space),
                tuple(str(actions.start + i) for i in range(actions.n)), limit,
                start=int(actions.start))


@functools.lru_cache(maxsize=8)
def _opened_atari(game: str, limit: int) -> Environment:
  gymnasium, ale = _library('gymnasium', game), _library('ale_py', game)
  _library('cv2', game)  # which Gymnasium makes pictures smaller with
  _check_devices(game)
  gymnasium.register_envs(ale)
  ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # else each game greets
  games = [spec.name for spec in gymnasium.registry.values()
           if spec.namespace == 'ALE' and spec.version == 5]
  if game not in games:
    raise UserError(f'there is no game {game!r} for Atari{nearest(game, games)}')

  def make():
    played = gymnasium.make(
      f'ALE/{game}-v5', disable_env_checker=True, obs_type='grayscale', frameskip=1,
      repeat_action_probability=0.0, max_num_frames_per_episode=0)
    seen = gymnasium.wrappers.AtariPreprocessing(played)
    stacked = gymnasium.wrappers.FrameStackObservation(seen, 4, padding_type='zero')
    return gymnasium.wrappers.TransformObservation(
      stacked, lambda frames: np.moveaxis(frames, 0, -1),
      gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8))

  first = make()
  names = tuple(first.unwrapped.get_action_meanings())
  first.close()
  return hosted(game, make, _array(gymnasium, game, first.observation_space), names,
                limit, stacked=True)


def _library(module: str, name: str) -> ModuleType:
  try:
    return importlib.import_module(module)
  except ImportError as error:
    package = {'ale_py': 'ale-py', 'cv2': 'opencv-python-headless'}.get(module, module)
    raise UserError(f'the environment {name!r} wants {package}, which is not installed '
                    f'({error}): pip install -r requirements-agents.txt') from None


def _check_devices(name: str) -> None:
  # Of several devices of a CPU the threads wait for each other while one of them waits
  # for the host's answer, which wants a thread: the program never ends (jax 0.10).
  if jax.device_count() > 1:
    raise UserError(
      f'the environment {name!r} runs on the host, for one device; here are '
      f'{jax.device_count()}: hide the others (such as CUDA_VISIBLE_DEVICES=0), or '
      'take an environment in JAX, environments.Gymnax')


def _array(gymnasium: ModuleType, name: str, space: Any) -> jax.ShapeDtypeStruct:
  if not isinstance(space, gymnasium.spaces.Box):
    raise UserError(f'what is observed in {name!r} is not one array: {space}')
  return jax.ShapeDtypeStruct(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
