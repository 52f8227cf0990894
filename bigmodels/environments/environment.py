"""An environment as pure functions, and many of its episodes side by side.

The state of an environment is a tree of arrays like any other: it lies in the learner's
state, so that acting, learning and saving are one compiled step and a run that goes on
ends with the same bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

FRAMES = 50  # that are kept of an episode that is played, if it goes on to the limit


class Environment(NamedTuple):
  """What an agent acts in, one episode at a time.

  Attributes:
    observation: shape and dtype of what is observed, a `jax.ShapeDtypeStruct`.
    actions: names of the actions, one of which is taken at a time.
    limit: steps after which an episode is truncated.
    reset: key -> state, observation.
    step: (key, state, action, int32) -> state, observation, reward, float32, and
      whether the episode ended of itself (terminated), or was cut short (truncated),
      bool. Called once more after either, it may give anything.
    stacked: whether the last axis of an observation are frames, the latest last, of
      which a step adds one and drops the first.
  """

  observation: jax.ShapeDtypeStruct
  actions: tuple[str, ...]
  limit: int
  reset: Callable
  step: Callable
  stacked: bool = False


class Slot(NamedTuple):
  """An episode under way; with a first axis, many of them.

  Attributes:
    state: of the environment.
    observation: the latest, which the next action answers.
    rewards: their sum so far, float32.
    length: steps so far, int32.
  """

  state: Any
  observation: jax.Array
  rewards: jax.Array
  length: jax.Array


class Transition(NamedTuple):
  """One step of an episode; with first axes, many.

  Attributes:
    observation: before the action.
    action: int32.
    reward: float32.
    after: the observation that followed, of the same episode also where it was the
      last: a truncated episode would have gone on from there.
    terminated: bool; nothing comes after.
    truncated: bool; something would have come after.
  """

  observation: jax.Array
  action: jax.Array
  reward: jax.Array
  after: jax.Array
  terminated: jax.Array
  truncated: jax.Array

  @property
  def over(self) -> jax.Array:
    return self.terminated | self.truncated


def begin(environment: Environment, keys: jax.Array) -> Slot:
  """An episode for each key `[n, ...]`."""
  state, observation = jax.vmap(environment.reset)(keys)
  return Slot(state, observation, jnp.zeros(len(keys)), jnp.zeros(len(keys), jnp.int32))


def _onward(environment, keys, slots, actions) -> tuple[Slot, Transition]:
  state, after, reward, terminated, truncated = jax.vmap(environment.step)(
    keys, slots.state, actions)
  length = slots.length + 1
  truncated = (truncated | (length >= environment.limit)) & ~terminated
  slots_after = Slot(state, after, slots.rewards + reward, length)
  return slots_after, Transition(
    slots.observation, actions, reward, after, terminated, truncated)


def advance(environment: Environment, key: jax.Array, slots: Slot, actions: jax.Array
            ) -> tuple[Slot, Transition, dict]:
  """Takes a step in every slot; where an episode is over, another begins.

  Args:
    environment: what is acted in.
    key: of this step.
    slots: `[n, ...]`.
    actions: int32 `[n]`.

  Returns:
    slots, transitions `[n, ...]`, and the sums of `return` and `length` over the
    episodes that are over, (total, count).
  """
  ours, next_ones = jax.random.split(key)
  count = len(actions)
  moved, transition = _onward(
    environment, jax.random.split(ours, count), slots, actions)
  over = transition.over

  def begun():
    keys = jax.random.split(next_ones, count)
    # Where none is over, what is begun in vain is one that is begun anyway: an
    # environment on the host does it only once.
    wanted = over.reshape(-1, *[1] * (keys.ndim - 1))
    fresh = begin(environment, jnp.where(wanted, keys, keys[jnp.argmax(over)]))
    return jax.tree.map(lambda new, old: jnp.where(
      over.reshape(-1, *[1] * (new.ndim - 1)), new, old), fresh, moved)

  ended = over.sum().astype(jnp.float32)
  sums = {'return': (jnp.where(over, moved.rewards, 0.0).sum(), ended),
          'length': (jnp.where(over, moved.length, 0).sum().astype(jnp.float32), ended)}
  return jax.lax.cond(over.any(), begun, lambda: moved), transition, sums


def film_every(environment: Environment) -> int:
  """Steps between the observations that `play` keeps."""
  return -(-environment.limit // FRAMES)


def play(environment: Environment, policy: Callable, keys: jax.Array
         ) -> tuple[Slot, jax.Array]:
  """Plays an episode for each key to its end.

  Args:
    environment: what is played.
    policy: observations `[n, ...]` -> actions, int32 `[n]`.
    keys: `[n, ...]`; what happens is a function of these.

  Returns:
    the slots at the end: `rewards` is the return, `length` the number of steps; and
    what was observed every so many steps, `[n, FRAMES, ...]`, zeros after the end. Of
    frames that are stacked, the latest.
  """
  every = film_every(environment)

  def going(carry):
    return ~jnp.all(carry[1])

  def kept(film, slots, over, time):
    seen = slots.observation[..., -1:] if environment.stacked else slots.observation
    seen = jnp.where(over.reshape(-1, *[1] * (seen.ndim - 1)), 0, seen)
    return jax.lax.cond(
      time % every == 0, lambda: film.at[:, time // every].set(seen), lambda: film)

  def step(carry):
    slots, over, keys, film, time = carry
    film = kept(film, slots, over, time)
    keys, now = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    moved, transition = _onward(environment, now, slots, policy(slots.observation))
    moved = jax.tree.map(lambda new, old: jnp.where(
      over.reshape(-1, *[1] * (new.ndim - 1)), old, new), moved, slots)
    return moved, over | transition.over, keys, film, time + 1

  first, later = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  slots = begin(environment, first)
  shape = environment.observation.shape
  if environment.stacked:
    shape = (*shape[:-1], 1)
  film = jnp.zeros((len(keys), FRAMES, *shape), environment.observation.dtype)
  ended = jax.lax.while_loop(
    going, step, (slots, jnp.zeros(len(keys), bool), later, film, jnp.int32(0)))
  return ended[0], ended[3]
