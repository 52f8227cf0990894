"""The whole batch, for losses that compare its examples with each other.

Under jit a program sees whole batches, and the compiler gathers what a product of all
examples needs. Under pmap a device sees its own shard: these functions gather the
others with a collective, whose gradient goes back to the device of each example.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from bigmodels.core.target import BATCH_AXES


def gathered(tree: Any) -> Any:
  """The arrays of all devices' examples, in the order of the batch; traced.

  Args:
    tree: arrays `[examples of this device, ...]`.

  Returns:
    Arrays `[batch, ...]`, the same on every device.
  """
  if not _divided():
    return tree
  return jax.tree.map(lambda x: jax.lax.all_gather(x, BATCH_AXES, tiled=True), tree)


def own(tree: Any) -> Any:
  """The examples of this device, of what `gathered` gives; traced.

  Args:
    tree: arrays `[batch, ...]`.

  Returns:
    Arrays `[examples of this device, ...]`.
  """
  if not _divided():
    return tree
  index, count = jax.lax.axis_index(BATCH_AXES), jax.lax.axis_size(BATCH_AXES)

  def part(x):
    size = len(x) // count
    return jax.lax.dynamic_slice_in_dim(x, index * size, size)

  return jax.tree.map(part, tree)


def numbers(count: int) -> jax.Array:
  """The positions in the batch of this device's examples, int `[count]`; traced.

  Args:
    count: number of the examples of this device.
  """
  first = jax.lax.axis_index(BATCH_AXES) * count if _divided() else 0
  return first + jnp.arange(count)


def summed_over_devices(function: Callable[[Any], jax.Array], tree: Any) -> jax.Array:
  """The sum of a function of the arrays of each device in turn; traced.

  The arrays are passed round a ring, so that a device has those of one at a time. With
  whole batches it is the function itself.

  Args:
    function: arrays `[examples of a device, ...]` -> an array.
    tree: the arrays of this device.
  """
  total = function(tree)
  if not _divided():
    return total
  count = jax.lax.axis_size(BATCH_AXES)
  ring = [(device, (device + 1) % count) for device in range(count)]

  def turn(carry, _):
    tree, total = carry
    tree = jax.tree.map(lambda x: jax.lax.ppermute(x, BATCH_AXES, ring), tree)
    return (tree, total + function(tree)), None

  return jax.lax.scan(turn, (tree, total), length=count - 1)[0][1]


def _divided() -> bool:
  """Whether a program is traced that sees the examples of one device."""
  return AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types
