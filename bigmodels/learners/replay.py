"""A replay buffer as pure functions: a ring of arrays, the oldest overwritten first."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Replay(NamedTuple):
  """What was put in, and how much.

  Attributes:
    items: a tree of arrays `[capacity, ...]`.
    total: items that were put in, int32; once it is full, less a multiple of the
      capacity, so that it never runs over.
  """

  items: Any
  total: jax.Array


def empty(item: Any, capacity: int) -> Replay:
  """A buffer of so many items.

  Args:
    item: a tree of arrays, or of their shapes, of one item.
    capacity: items that are kept.
  """
  return Replay(jax.tree.map(
    lambda x: jnp.zeros((capacity, *x.shape), x.dtype), item), jnp.int32(0))


def capacity_of(replay: Replay) -> int:
  return len(jax.tree.leaves(replay.items)[0])


def held(replay: Replay) -> jax.Array:
  """How many items there are to be drawn, int32."""
  return jnp.minimum(replay.total, capacity_of(replay))


def put(replay: Replay, items: Any) -> Replay:
  """Puts items `[n, ...]` in, in place of the oldest; n is at most the capacity.

  Raises:
    ValueError: for more items than there is room for.
  """
  count, capacity = len(jax.tree.leaves(items)[0]), capacity_of(replay)
  if count > capacity:
    raise ValueError(f'{count} items at once do not go into a buffer of {capacity}')
  places = (replay.total + jnp.arange(count)) % capacity
  total = replay.total + count
  total = jnp.where(total >= 2 * capacity, total - capacity, total)
  return Replay(jax.tree.map(
    lambda kept, new: kept.at[places].set(new), replay.items, items), total)


def draw(replay: Replay, key: jax.Array, count: int) -> Any:
  """So many of the items, `[count, ...]`, each drawn from all with the same chance."""
  places = jax.random.randint(key, (count,), 0, jnp.maximum(held(replay), 1))
  return jax.tree.map(lambda kept: kept[places], replay.items)
