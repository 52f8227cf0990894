"""The devices that a program is traced for: those of the mesh in use.

`Layout.in_use` puts a mesh in use. They need not be the devices of this machine.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

BATCH_AXES = ('data', 'fsdp')  # of the mesh, along which a batch is sharded


def platform() -> str:
  """'cpu', 'gpu' or 'tpu': of the mesh in use, or without one that of JAX."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  if device is None:
    return jax.default_backend()
  kind = device.device_kind
  return 'cpu' if kind == 'cpu' else 'tpu' if kind.startswith('TPU') else 'gpu'


def divides(shape: tuple[int, ...], spec: PartitionSpec) -> bool:
  """Whether `shard_map` can divide an array over the devices.

  It cannot if there are several, and no mesh in use that says which of them are meant.

  Args:
    shape: of the array.
    spec: its axes of the mesh.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return jax.device_count() == 1
  if AxisType.Manual in mesh.axis_types:
    return True
  try:
    NamedSharding(mesh, spec).shard_shape(shape)
  except ValueError:  # it does not divide it, or has other axes
    return False
  return True


def shard_map(function: Callable, in_specs: Any, out_specs: Any) -> Callable:
  """A function of global arrays, from one that the compiler cannot partition.

  Without a mesh in use, and where each device already runs a program of its own, it is
  the function itself.

  Args:
    function: of what one device has of each array.
    in_specs: a tree of a `PartitionSpec` for each argument.
    out_specs: the same for each result.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.size <= 1 or AxisType.Manual in mesh.axis_types:
    return function
  return jax.shard_map(function, in_specs=in_specs, out_specs=out_specs,
                       check_vma=False)
