"""Environments that run on the host, outside JAX, as pure functions.

The state of such an environment is its seed and the actions taken since. Gymnasium
guarantees that an episode is a function of these, so any process can restore any state
by repeating the actions. A resumed run gives bitwise the same results without saving
the internal state of the environment. Running environments are a cache of that
function. The state also has a checksum of the latest observation, so that an
environment that breaks the guarantee is detected when its actions are repeated.

JAX does not cache compiled programs that call the host: they compile at every start.
"""

import collections
import threading
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, as_user_error
from bigmodels.environments.environment import Environment


class HostState(NamedTuple):
  """The state of an episode that runs on the host.

  Attributes:
    seed: seed of its reset, int32 `[]`.
    actions: `[max_episode_steps]`, of which the first `length` were taken; uint8, or
      int32 if there are more than 256 actions.
    length: steps so far, int32 `[]`.
    checksum: crc32 of the bytes of the latest observation, uint32 `[]`.
    done: bool `[]`; further steps return zeros without calling the host.
  """

  seed: jax.Array
  actions: jax.Array
  length: jax.Array
  checksum: jax.Array
  done: jax.Array


def host_environment(name: str, make: Callable[[], Any],
                     observation: jax.ShapeDtypeStruct, actions: tuple[str, ...],
                     max_episode_steps: int, *, first_action: int = 0,
                     stacked_frames: bool = False) -> Environment:
  """An `Environment` from one with the interface of `gymnasium.Env`.

  Its observations must be a function of the seed and the actions. If it raises an
  error, or returns an observation of another shape, the program ends with a
  `UserError`.

  Args:
    name: name for errors.
    make: () -> a new environment; each episode has its own, so that no state is shared.
    observation: shape and dtype of observations, which are cast to it.
    actions: names of the actions.
    max_episode_steps: steps after which an episode is truncated.
    first_action: number of the first action.
    stacked_frames: as in `Environment`.
  """
  host = _Host(name, make, observation, first_action)
  action_dtype = jnp.uint8 if len(actions) <= 256 else jnp.int32
  checksum_shape = jax.ShapeDtypeStruct((), jnp.uint32)

  def reset(key):
    seed = (jax.random.bits(key, dtype=jnp.uint32) >> 1).astype(jnp.int32)
    first, checksum = jax.pure_callback(
      host.reset, (observation, checksum_shape), seed, vmap_method='broadcast_all')
    state = HostState(seed, jnp.zeros(max_episode_steps, action_dtype), jnp.int32(0),
                      checksum, jnp.bool_(False))
    return state, first

  def step(key, state, action):
    del key  # an episode is a function of its seed
    shapes = (observation, checksum_shape, jax.ShapeDtypeStruct((), jnp.float32),
              *[jax.ShapeDtypeStruct((), jnp.bool)] * 2)
    after, checksum, reward, terminated, truncated = jax.pure_callback(
      host.step, shapes, state, action, vmap_method='broadcast_all')
    taken = state.actions.at[state.length].set(action.astype(action_dtype), mode='drop')
    length = jnp.where(state.done, state.length, state.length + 1)
    truncated = (truncated | (length >= max_episode_steps)) & ~terminated
    state = HostState(
      state.seed, taken, length, checksum, state.done | terminated | truncated)
    return state, after, reward, terminated, truncated

  return Environment(
    observation, actions, max_episode_steps, reset, step, stacked_frames=stacked_frames)


class _Host:
  """Steps environments for compiled programs, many in one call.

  Running environments are cached by their seed and actions. The cache holds twice as
  many as the largest call so far, so that an evaluation does not evict environments of
  the training.
  """

  def __init__(self, name: str, make: Callable[[], Any],
               observation: jax.ShapeDtypeStruct, first_action: int):
    self._name, self._make = name, make
    self._observation, self._first_action = observation, first_action
    self._cache: collections.OrderedDict[tuple, Any] = collections.OrderedDict()
    self._cache_size = 64
    self._lock = threading.Lock()

  def reset(self, seeds):
    """Seeds `[...]` -> observations `[..., *]`, checksums `[...]`; each once."""
    seeds = np.asarray(seeds)
    with self._lock, as_user_error(f'the environment {self._name!r}'):
      self._reserve(seeds.size)
      first = {}
      for seed in seeds.ravel().tolist():
        if seed not in first:
          environment, first[seed] = self._start(seed)
          self._keep((seed, b''), environment)
      return self._stack(seeds.shape, [
        (first[seed], _checksum(first[seed])) for seed in seeds.ravel().tolist()])

  def step(self, state, action):
    """As `Environment.step`, with leading axes; also returns checksums."""
    state, action = HostState(*map(np.asarray, state)), np.asarray(action)
    shape, max_episode_steps = state.seed.shape, state.actions.shape[-1]
    with self._lock, as_user_error(f'the environment {self._name!r}'):
      self._reserve(state.seed.size)
      numbers = (state.seed, state.length, state.checksum, state.done, action)
      numbers = [x.ravel().tolist() for x in numbers]
      rows = zip(state.actions.reshape(-1, max_episode_steps), *numbers, strict=True)
      return self._stack(shape, [self._step(*row) for row in rows])

  def _step(self, actions, seed, length, checksum, done, action):
    if done:
      zeros = np.zeros(self._observation.shape, self._observation.dtype)
      return zeros, checksum, 0.0, False, False
    environment = self._restore(seed, actions[:length], checksum)
    observation, reward, terminated, truncated, _ = environment.step(
      action + self._first_action)
    observation = self._cast(observation)
    if terminated or truncated or length + 1 == len(actions):
      environment.close()
    else:
      taken = np.append(actions[:length], actions.dtype.type(action))
      self._keep((seed, taken.tobytes()), environment)
    return observation, _checksum(observation), reward, terminated, truncated

  def _restore(self, seed: int, actions: np.ndarray, checksum: int) -> Any:
    """An environment in this state, from the cache or newly made."""
    environment = self._cache.pop((seed, actions.tobytes()), None)
    if environment is not None:
      return environment
    environment, observation = self._start(seed)
    for action in actions.tolist():
      observation = self._cast(environment.step(action + self._first_action)[0])
    if _checksum(observation) != checksum:
      raise UserError(
        f'the environment {self._name!r} cannot be restored: with seed {seed} and the '
        f'same {len(actions)} actions its observation differs from before. Either it '
        'depends on more than its seed and actions, or its version has changed since '
        'the run was started. Such a run cannot be resumed')
    return environment

  def _start(self, seed: int) -> tuple[Any, np.ndarray]:
    environment = self._make()
    return environment, self._cast(environment.reset(seed=seed)[0])

  def _cast(self, observation) -> np.ndarray:
    array = np.asarray(observation, self._observation.dtype)
    if array.shape != self._observation.shape:
      raise ValueError(f'an observation has the shape {array.shape}; the '
                       f'observation space has {self._observation.shape}')
    return np.array(array)  # the environment may reuse the array

  def _reserve(self, count: int) -> None:
    self._cache_size = max(self._cache_size, 2 * count)

  def _keep(self, key: tuple[int, bytes], environment: Any) -> None:
    before = self._cache.pop(key, None)
    if before is not None:
      before.close()
    self._cache[key] = environment
    while len(self._cache) > self._cache_size:
      self._cache.popitem(last=False)[1].close()

  def _stack(self, shape: tuple[int, ...], rows: list[tuple]) -> tuple:
    """Rows of results -> arrays of the dtypes of the callback, `[*shape, ...]`."""
    dtypes = (self._observation.dtype, np.uint32, np.float32, np.bool, np.bool)
    return tuple(
      np.array(column, dtype).reshape((*shape, *np.shape(column[0])))
      for column, dtype in zip(zip(*rows, strict=True), dtypes, strict=False))


def _checksum(observation: np.ndarray) -> int:
  return zlib.crc32(np.ascontiguousarray(observation).tobytes())
