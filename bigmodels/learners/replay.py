"""A replay buffer as pure functions: a ring of arrays, the oldest overwritten first."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class ReplayBuffer(NamedTuple):
  """The items of a buffer, and how many were added.

  Attributes:
    items: a tree of arrays `[capacity, ...]`.
    num_added: items added so far, int32 `[]`; of a full buffer, less a multiple of the
      capacity, so that it cannot overflow.
  """

  items: Any
  num_added: jax.Array


def init(item: Any, capacity: int) -> ReplayBuffer:
  """An empty buffer.

  Args:
    item: a tree of arrays, or of their shapes, of one item.
    capacity: items that it keeps.
  """
  return ReplayBuffer(jax.tree.map(
    lambda x: jnp.zeros((capacity, *x.shape), x.dtype), item), jnp.int32(0))


def capacity(buffer: ReplayBuffer) -> int:
  """How many items a buffer keeps."""
  return len(jax.tree.leaves(buffer.items)[0])


def size(buffer: ReplayBuffer) -> jax.Array:
  """How many items there are to sample from, an int32 scalar."""
  return jnp.minimum(buffer.num_added, capacity(buffer))


def add(buffer: ReplayBuffer, items: Any) -> ReplayBuffer:
  """Adds items `[n, ...]` in place of the oldest.

  Raises:
    ValueError: if n is above the capacity.
  """
  count, most = len(jax.tree.leaves(items)[0]), capacity(buffer)
  if count > most:
    raise ValueError(
      f'{count} items cannot be added at once to a buffer of capacity {most}')
  with jax.named_scope('replay'):
    positions = (buffer.num_added + jnp.arange(count)) % most
    num_added = buffer.num_added + count
    num_added = jnp.where(num_added >= 2 * most, num_added - most, num_added)
    return ReplayBuffer(jax.tree.map(
      lambda old, new: old.at[positions].set(new), buffer.items, items), num_added)


def sample(buffer: ReplayBuffer, key: jax.Array, count: int) -> Any:
  """Draws items `[count, ...]` uniformly, with replacement.

  Args:
    buffer: with at least one item; an empty one gives zeros.
    key: of the draws.
    count: items to draw.
  """
  with jax.named_scope('replay'):
    positions = jax.random.randint(key, (count,), 0, jnp.maximum(size(buffer), 1))
    return jax.tree.map(lambda items: items[positions], buffer.items)
