"""An environment as pure functions, and many of its episodes in parallel.

The state of an environment is a pytree of arrays. It is part of the learner's state, so
acting, learning and saving are one compiled step, and a resumed run gives bitwise the
same results.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MAX_FRAMES = 50  # of an episode that `rollout` returns


class Environment(NamedTuple):
  """An environment with one episode at a time.

  Attributes:
    observation: shape and dtype of an observation, a `jax.ShapeDtypeStruct`.
    actions: names of the discrete actions.
    max_episode_steps: steps after which an episode is truncated.
    reset: key -> state, observation.
    step: (key, state, action, int32) -> state, observation, reward, float32, and
      whether the episode terminated or was truncated, bool. The results of further
      steps are not used.
    stacked_frames: whether the last axis of an observation is a stack of frames, the
      latest last; a step appends a frame and drops the first.
  """

  observation: jax.ShapeDtypeStruct
  actions: tuple[str, ...]
  max_episode_steps: int
  reset: Callable
  step: Callable
  stacked_frames: bool = False


class EnvironmentState(NamedTuple):
  """The state of a running episode, or of several, with a leading axis.

  Attributes:
    state: the environment's own.
    observation: the latest, of any shape.
    episode_return: sum of the rewards so far, float32 `[]`.
    episode_length: steps so far, int32 `[]`.
  """

  state: Any
  observation: jax.Array
  episode_return: jax.Array
  episode_length: jax.Array


class Transition(NamedTuple):
  """One step of an episode, or several, with leading axes.

  Attributes:
    observation: before the action, of any shape.
    action: int32 `[]`.
    reward: float32 `[]`.
    next_observation: after the action, in the same episode even if this was its last
      step, as the value of a truncated episode is bootstrapped from it.
    terminated: whether the episode ended in a terminal state, bool `[]`.
    truncated: whether it was cut short, bool `[]`.
  """

  observation: jax.Array
  action: jax.Array
  reward: jax.Array
  next_observation: jax.Array
  terminated: jax.Array
  truncated: jax.Array

  @property
  def done(self) -> jax.Array:
    """Whether the episode is over, bool `[]`; with leading axes as the fields."""
    return self.terminated | self.truncated


def reset(environment: Environment, keys: jax.Array) -> EnvironmentState:
  """Starts an episode for each key `[n, ...]`."""
  state, observation = jax.vmap(environment.reset)(keys)
  return EnvironmentState(
    state, observation, jnp.zeros(len(keys)), jnp.zeros(len(keys), jnp.int32))


@jax.named_scope('environment')
def step(environment: Environment, key: jax.Array, state: EnvironmentState,
         actions: jax.Array) -> tuple[EnvironmentState, Transition, EnvironmentState]:
  """Takes a step in every episode; a new episode starts where one is done.

  Args:
    environment: environment of the episodes.
    key: PRNG key of this step.
    state: `[n, ...]`.
    actions: int32 `[n]`.

  Returns:
    State `[n, ...]`, transitions `[n, ...]`, and the state before the resets, with the
    returns and lengths of the episodes that are done.
  """
  step_key, reset_key = jax.random.split(key)
  count = len(actions)
  stepped, transition = _step(
    environment, jax.random.split(step_key, count), state, actions)
  done = transition.done

  def restarted():
    keys = jax.random.split(reset_key, count)
    # The reset of an episode that is not done is discarded. It repeats one that is
    # needed, so that an environment on the host makes it only once.
    keys = jnp.where(_per_episode(done, keys), keys, keys[jnp.argmax(done)])
    fresh = reset(environment, keys)
    return jax.tree.map(
      lambda new, old: jnp.where(_per_episode(done, new), new, old), fresh, stepped)

  return jax.lax.cond(done.any(), restarted, lambda: stepped), transition, stepped


def frame_interval(environment: Environment) -> int:
  """Number of steps between two of the frames that `rollout` returns."""
  return -(-environment.max_episode_steps // MAX_FRAMES)


def rollout(environment: Environment, policy: Callable, keys: jax.Array
            ) -> tuple[EnvironmentState, jax.Array]:
  """Runs an episode for each key to its end.

  Args:
    environment: environment of the episodes.
    policy: observations `[n, ...]` -> actions, int32 `[n]`.
    keys: `[n, ...]`; an episode is a function of its key and the policy.

  Returns:
    The final state, with the returns and lengths; and the observations at every
    `frame_interval`-th step, `[n, MAX_FRAMES, ...]`, zeros after the end. For stacked
    frames, these are the latest frames.
  """
  interval = frame_interval(environment)

  def running(carry):
    return ~jnp.all(carry[1])

  def record(frames, state, done, time):
    latest = state.observation
    if environment.stacked_frames:
      latest = latest[..., -1:]
    latest = jnp.where(_per_episode(done, latest), 0, latest)
    return jax.lax.cond(
      time % interval == 0,
      lambda: frames.at[:, time // interval].set(latest), lambda: frames)

  def body(carry):
    state, done, keys, frames, time = carry
    frames = record(frames, state, done, time)
    keys, step_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    stepped, transition = _step(
      environment, step_keys, state, policy(state.observation))
    state = jax.tree.map(
      lambda new, old: jnp.where(_per_episode(done, new), old, new), stepped, state)
    return state, done | transition.done, keys, frames, time + 1

  reset_keys, keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  shape = environment.observation.shape
  if environment.stacked_frames:
    shape = (*shape[:-1], 1)
  frames = jnp.zeros((len(keys), MAX_FRAMES, *shape), environment.observation.dtype)
  state, _, _, frames, _ = jax.lax.while_loop(running, body, (
    reset(environment, reset_keys), jnp.zeros(len(keys), bool), keys, frames,
    jnp.int32(0)))
  return state, frames


def _step(environment: Environment, keys: jax.Array, state: EnvironmentState,
          actions: jax.Array) -> tuple[EnvironmentState, Transition]:
  """A step in every episode, without resets."""
  inner, observation, reward, terminated, truncated = jax.vmap(environment.step)(
    keys, state.state, actions)
  length = state.episode_length + 1
  truncated = (truncated | (length >= environment.max_episode_steps)) & ~terminated
  transition = Transition(
    state.observation, actions, reward, observation, terminated, truncated)
  return EnvironmentState(
    inner, observation, state.episode_return + reward, length), transition


def _per_episode(flags: jax.Array, like: jax.Array) -> jax.Array:
  """Flags `[n]` with the number of axes of `like`, `[n, 1, ...]`."""
  return flags.reshape(-1, *[1] * (like.ndim - 1))
