"""Environments of gymnax, which are JAX already (Lange, 2022)."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from bigmodels.core.errors import UserError, nearest
from bigmodels.environments.environment import Environment


@dataclasses.dataclass(frozen=True)
class Gymnax:
  """An environment of gymnax, by its name.

  Attributes:
    name: such as 'CartPole-v1'.
    limit: steps after which an episode is truncated; None for gymnax's own.
  """

  name: str
  limit: int | None = None

  def __post_init__(self):
    if self.limit is not None and self.limit < 1:
      raise ValueError(f'limit: wants at least 1, got {self.limit}')

  def open(self) -> Environment:
    """Makes it.

    Raises:
      UserError: if gymnax is not installed, does not know it, or it is not acted in by
        choosing one of several actions.
    """
    return _opened(self.name, self.limit)


@functools.lru_cache(maxsize=8)
def _opened(name: str, limit: int | None) -> Environment:
  try:
    import gymnax
  except ImportError as error:
    raise UserError(f'the environment {name!r} is one of gymnax, which is not '
                    f'installed ({error}): '
                    'pip install -r requirements-agents.txt') from None
  if name not in gymnax.registered_envs:
    raise UserError(f'gymnax has no environment {name!r}'
                    f'{nearest(name, gymnax.registered_envs)}')
  world, settings = gymnax.make(name)
  if limit:
    settings = settings.replace(max_steps_in_episode=limit)
  actions = world.action_space(settings)
  if not hasattr(actions, 'n'):
    raise UserError(f'the actions of {name!r} are {actions.shape} numbers; the agents '
                    'here choose one of several')
  key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
  observation, _ = jax.eval_shape(world.reset_env, key, settings)
  if not isinstance(observation, jax.ShapeDtypeStruct):
    raise UserError(f'what is observed in {name!r} is not one array: '
                    f'{jax.tree.structure(observation)}')

  def reset(key):
    observation, state = world.reset_env(key, settings)
    return _typed(state), observation

  def step(key, state, action):
    observation, state, reward, terminated, _ = world.step_env(
      key, state, action, settings)
    return (_typed(state), observation, jnp.asarray(reward, jnp.float32),
            jnp.asarray(terminated, bool),
            jnp.asarray(world.is_truncated(state, settings), bool))

  return Environment(
    jax.ShapeDtypeStruct(observation.shape, observation.dtype),
    tuple(str(i) for i in range(actions.n)),
    int(limit or settings.max_steps_in_episode), reset, step)


def _typed(state: Any) -> Any:
  """Python's numbers as arrays whose type does not bend to what they meet."""
  return jax.tree.map(lambda x: jax.lax.convert_element_type(
    jnp.asarray(x), jnp.asarray(x).dtype), state)
