"""An environment small enough to know: three rooms in a row, the last one an exit."""

import dataclasses

import jax
import jax.numpy as jnp

from bigmodels.environments import Environment

ROOMS = 3


@dataclasses.dataclass(frozen=True)
class Corridor:
  """Action 1 goes on, 0 stays; a step gives -1, the exit 10 and the end.

  Attributes:
    max_episode_steps: steps after which an episode is truncated.
  """

  max_episode_steps: int = 5

  def open(self) -> Environment:
    def observe(room):
      return jax.nn.one_hot(room, ROOMS)

    def reset(key):
      del key
      return jnp.int32(0), observe(0)

    def step(key, room, action):
      del key
      room = room + action
      out = room >= ROOMS
      return room, observe(room), jnp.where(out, 10.0, -1.0), out, jnp.bool_(False)

    return Environment(jax.ShapeDtypeStruct((ROOMS,), jnp.float32), ('stay', 'go'),
                       self.max_episode_steps, reset, step)
