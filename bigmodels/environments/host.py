"""An environment that lives on the host, outside JAX, as pure functions.

Its state is its seed and the actions since: whoever promises, as Gymnasium does, that
what happens is a function of these, can be brought to any state by taking the actions
again, in any process. So nothing of its insides has to be saved for a run to go on
with the same bits. Environments that are under way are kept, but only as a cache of
that function. A checksum of what was observed last is in the state too: an environment
that does not keep the promise is found out where its actions are taken again.

JAX keeps no compiled program that calls the host: it compiles it at every start.
"""

import collections
import threading
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, blamed
from bigmodels.environments.environment import Environment


class Past(NamedTuple):
  """All that an environment has been through since its reset.

  Attributes:
    seed: that it was reset with, int32.
    actions: `[limit]`, of which `count` were taken; uint8, or int32 if there are more
      than 256 to choose from.
    count: int32.
    seen: crc32 of the bytes of the latest observation, uint32.
    over: bool; what is stepped on from there is zeros, and the host is not asked.
  """

  seed: jax.Array
  actions: jax.Array
  count: jax.Array
  seen: jax.Array
  over: jax.Array


def hosted(name: str, make: Callable[[], Any], observation: jax.ShapeDtypeStruct,
           actions: tuple[str, ...], limit: int, *, start: int = 0,
           stacked: bool = False) -> Environment:
  """The pure functions of an environment with the interface of `gymnasium.Env`.

  Args:
    name: for errors.
    make: () -> one that was never reset; each episode has its own, so that nothing can
      be left over from another.
    observation: shape and dtype; what is observed is cast to the latter.
    actions: names.
    limit: steps after which an episode is truncated.
    start: number of the first action.
    stacked: as of `Environment`.
  """
  host = _Host(name, make, observation, start)
  kind = jnp.uint8 if len(actions) <= 256 else jnp.int32
  seen = jax.ShapeDtypeStruct((), jnp.uint32)

  def reset(key):
    seed = (jax.random.bits(key, dtype=jnp.uint32) >> 1).astype(jnp.int32)
    first, checksum = jax.pure_callback(
      host.reset, (observation, seen), seed, vmap_method='broadcast_all')
    return Past(seed, jnp.zeros(limit, kind), jnp.int32(0), checksum,
                jnp.bool_(False)), first

  def step(key, past, action):
    del key  # what happens is a function of the seed
    answer = (observation, seen, jax.ShapeDtypeStruct((), jnp.float32),
              *[jax.ShapeDtypeStruct((), jnp.bool)] * 2)
    after, checksum, reward, terminated, truncated = jax.pure_callback(
      host.step, answer, past, action, vmap_method='broadcast_all')
    taken = past.actions.at[past.count].set(action.astype(kind), mode='drop')
    count = jnp.where(past.over, past.count, past.count + 1)
    truncated = (truncated | (count >= limit)) & ~terminated
    past = Past(past.seed, taken, count, checksum, past.over | terminated | truncated)
    return past, after, reward, terminated, truncated

  return Environment(observation, actions, limit, reset, step, stacked=stacked)


class _Host:
  """Steps environments for compiled programs, many in one call.

  Those under way are kept by exactly what they have been through, twice as many as the
  largest call so far: that of an evaluation leaves those of the training alone.
  """

  def __init__(self, name: str, make: Callable[[], Any],
               observation: jax.ShapeDtypeStruct, start: int):
    self._name, self._make = name, make
    self._observation, self._start = observation, start
    self._live: collections.OrderedDict[tuple, Any] = collections.OrderedDict()
    self._most = 64
    self._lock = threading.Lock()

  def reset(self, seeds):
    """Seeds `[...]` -> observations, their checksums; each seed once."""
    seeds = np.asarray(seeds)
    with self._lock, blamed(f'the environment {self._name!r}'):
      self._make_room(seeds.size)
      first = {}
      for seed in seeds.ravel().tolist():
        if seed not in first:
          environment, first[seed] = self._begin(seed)
          self._keep((seed, b''), environment)
      return self._together(seeds.shape, [
        (first[seed], _checksum(first[seed])) for seed in seeds.ravel().tolist()])

  def step(self, past, action):
    """As of `Environment.step`, with first axes; and a checksum of the observation."""
    past, action = Past(*map(np.asarray, past)), np.asarray(action)
    shape, limit = past.seed.shape, past.actions.shape[-1]
    with self._lock, blamed(f'the environment {self._name!r}'):
      self._make_room(past.seed.size)
      numbers = (past.seed, past.count, past.seen, past.over, action)
      numbers = [x.ravel().tolist() for x in numbers]
      rows = zip(past.actions.reshape(-1, limit), *numbers, strict=True)
      return self._together(shape, [self._step(*row) for row in rows])

  def _step(self, actions, seed, count, seen, over, action):
    if over:
      zeros = np.zeros(self._observation.shape, self._observation.dtype)
      return zeros, seen, 0.0, False, False
    environment = self._at(seed, actions[:count], seen)
    observation, reward, terminated, truncated, _ = environment.step(
      action + self._start)
    observation = self._typed(observation)
    if terminated or truncated or count + 1 == len(actions):
      environment.close()
    else:
      taken = np.append(actions[:count], actions.dtype.type(action))
      self._keep((seed, taken.tobytes()), environment)
    return observation, _checksum(observation), reward, terminated, truncated

  def _at(self, seed: int, actions: np.ndarray, seen: int) -> Any:
    """An environment that has been through this, and is nobody else's."""
    environment = self._live.pop((seed, actions.tobytes()), None)
    if environment is not None:
      return environment
    environment, observation = self._begin(seed)
    for action in actions.tolist():
      observation = self._typed(environment.step(action + self._start)[0])
    if _checksum(observation) != seen:
      raise UserError(
        f'the environment {self._name!r}, with seed {seed} and after the same '
        f'{len(actions)} actions, shows something else than before: what happens in it '
        'is no function of these alone, or it is another version than the run began '
        'with. Such a run cannot go on from where it was stopped')
    return environment

  def _begin(self, seed: int) -> tuple[Any, np.ndarray]:
    environment = self._make()
    return environment, self._typed(environment.reset(seed=seed)[0])

  def _typed(self, observation) -> np.ndarray:
    found = np.asarray(observation, self._observation.dtype)
    if found.shape != self._observation.shape:
      raise ValueError(f'gave an observation of shape {found.shape}, its space says '
                       f'{self._observation.shape}')
    return np.array(found)  # it may write the next one in the same place

  def _make_room(self, asked: int) -> None:
    self._most = max(self._most, 2 * asked)

  def _keep(self, been_through: tuple[int, bytes], environment: Any) -> None:
    before = self._live.pop(been_through, None)
    if before is not None:
      before.close()
    self._live[been_through] = environment
    while len(self._live) > self._most:
      self._live.popitem(last=False)[1].close()

  def _together(self, shape: tuple[int, ...], rows: list[tuple]) -> tuple:
    """Rows of answers -> arrays of the types that were promised, `[*shape, ...]`."""
    kinds = (self._observation.dtype, np.uint32, np.float32, np.bool, np.bool)
    return tuple(
      np.array(column, kind).reshape((*shape, *np.shape(column[0])))
      for column, kind in zip(zip(*rows, strict=True), kinds, strict=False))


def _checksum(observation: np.ndarray) -> int:
  return zlib.crc32(np.ascontiguousarray(observation).tobytes())
