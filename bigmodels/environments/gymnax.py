"""Environments of gymnax, which are written in JAX (Lange, 2022)."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from bigmodels.core.deferred_imports import deferred
from bigmodels.core.errors import UserError, nearest
from bigmodels.environments.environment import Environment

# What gymnax imports to draw, which is slow to import.
_DRAWING = ('matplotlib', 'matplotlib.animation', 'matplotlib.colors',
            'matplotlib.pyplot', 'seaborn')


@dataclasses.dataclass(frozen=True)
class Gymnax:
  """An environment of gymnax, by its name.

  Attributes:
    name: name such as 'CartPole-v1'.
    max_episode_steps: steps after which an episode is truncated; None for gymnax's
      own.

  Raises:
    ValueError: if `max_episode_steps` is below 1.
  """

  name: str
  max_episode_steps: int | None = None

  def __post_init__(self):
    if self.max_episode_steps is not None and self.max_episode_steps < 1:
      raise ValueError(f'max_episode_steps: must be >= 1, got {self.max_episode_steps}')

  def open(self) -> Environment:
    """Makes the environment.

    Raises:
      UserError: if gymnax is not installed or does not have it, its actions are not
        discrete, or its observation is not one array.
    """
    return _open(self.name, self.max_episode_steps)


@functools.lru_cache(maxsize=8)
def _open(name: str, max_episode_steps: int | None) -> Environment:
  try:
    with deferred(*_DRAWING):
      import gymnax
  except ImportError as error:
    raise UserError(
      f'the environment {name!r} needs gymnax, which is not installed ({error}): '
      'pip install -r requirements-agents.txt') from None
  if name not in gymnax.registered_envs:
    raise UserError(f'gymnax has no environment {name!r}'
                    f'{nearest(name, gymnax.registered_envs)}')
  environment, settings = gymnax.make(name)
  if max_episode_steps:
    settings = settings.replace(max_steps_in_episode=max_episode_steps)
  actions = environment.action_space(settings)
  if not hasattr(actions, 'n'):
    raise UserError(f'the actions of {name!r} must be discrete, got numbers of shape '
                    f'{actions.shape}')
  key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
  observation, _ = jax.eval_shape(environment.reset_env, key, settings)
  if not isinstance(observation, jax.ShapeDtypeStruct):
    raise UserError(f'the observation of {name!r} must be one array, got '
                    f'{jax.tree.structure(observation)}')

  def reset(key):
    observation, state = environment.reset_env(key, settings)
    return _strongly_typed(state), observation

  def step(key, state, action):
    observation, state, reward, terminated, _ = environment.step_env(
      key, state, action, settings)
    truncated = environment.is_truncated(state, settings)
    return (_strongly_typed(state), observation, jnp.asarray(reward, jnp.float32),
            jnp.asarray(terminated, bool), jnp.asarray(truncated, bool))

  return Environment(
    jax.ShapeDtypeStruct(observation.shape, observation.dtype),
    tuple(str(i) for i in range(actions.n)),
    int(max_episode_steps or settings.max_steps_in_episode), reset, step)


def _strongly_typed(state: Any) -> Any:
  """Converts Python scalars to arrays, so that a step preserves types."""
  return jax.tree.map(lambda x: jax.lax.convert_element_type(
    jnp.asarray(x), jnp.asarray(x).dtype), state)
