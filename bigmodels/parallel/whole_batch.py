"""The whole batch, for losses that compare its examples with each other.

Under jit a program sees whole batches, and the compiler gathers what a product of all
examples needs. Under pmap a device sees its own shard: these functions gather the
others with a collective, whose gradient goes back to the device of each example.
"""

from typing import Any

import jax
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


def _divided() -> bool:
  """Whether a program is traced that sees the examples of one device."""
  return AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types
