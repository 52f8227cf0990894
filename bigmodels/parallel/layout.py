"""Where arrays lie: a mesh of devices, and what of a batch this process has to read."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bigmodels.core.errors import UserError
from bigmodels.parallel import sharding
from bigmodels.parallel.sharding import BATCH, MeshShape, Rule


class Layout(NamedTuple):
  """The devices of a run, and how arrays are cut over them.

  Attributes:
    mesh: with the axes of a `MeshShape`.
    shape: their sizes.
    strategy: 'jit' leaves it to the compiler what each device does; 'pmap' has each run
      the same program on its part of the batch, and add up what they find.
    rules: of the experiment.
    described: whether the devices are only described, and can hold nothing.
  """

  mesh: jax.sharding.Mesh
  shape: MeshShape
  strategy: Literal['jit', 'pmap']
  rules: tuple[Rule, ...]
  described: bool = False

  def sharding(self, *axes: Any) -> NamedSharding:
    """Of an array with these mesh axes along its own; none: a copy everywhere."""
    return NamedSharding(self.mesh, PartitionSpec(*axes))

  def carry(self, carry: Any, params: Any) -> Any:
    """Shapes of a carry with their shardings.

    Args:
      carry: shapes.
      params: the parameters in it.
    """
    specs = sharding.parameter_specs(params, self.rules, self.shape)
    specs = sharding.state_specs(carry, params, specs, self.shape)
    return jax.tree.map(
      lambda x, spec: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=NamedSharding(self.mesh, spec),
        weak_type=getattr(x, 'weak_type', False)), carry, specs)

  def everywhere(self, array: np.ndarray) -> Any:
    """A copy on every device; every process has the same array."""
    if self.described:
      return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self.sharding())
    return jax.make_array_from_callback(
      array.shape, self.sharding(), lambda index: np.asarray(array[index]))

  def positions(self, shape: tuple[int, int]) -> np.ndarray:
    """The places of a batch that this process reads.

    Args:
      shape: `[parts in time, examples]`; places are numbered through it.

    Returns:
      int `[n]`, ascending.
    """
    if self.described:
      return np.arange(1)  # one example tells the shapes
    numbers = np.arange(np.prod(shape)).reshape(shape)
    cut = self.sharding(None, BATCH).addressable_devices_indices_map(shape)
    here = [numbers[index].ravel() for index in cut.values()]
    return np.unique(np.concatenate(here))

  def cut(self, array: np.ndarray, positions: np.ndarray,
          shape: tuple[int, int]) -> Any:
    """A batch cut over the devices, from the examples that this process has read.

    Args:
      array: `[n, ...]`, the examples at `positions`.
      positions: from `positions(shape)`.
      shape: `[parts in time, examples]`.

    Returns:
      `[parts in time, examples, ...]`.
    """
    where, whole = self.sharding(None, BATCH), (*shape, *array.shape[1:])
    if self.described:
      return jax.ShapeDtypeStruct(whole, array.dtype, sharding=where)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return jax.make_array_from_callback(
      whole, where, lambda index: array[np.searchsorted(positions, numbers[index[:2]])])

  def share(self, rows: jax.Array) -> jax.Array:
    """In a program: has each device work on its part of `[parts, examples]`."""
    if self.strategy == 'pmap':  # it sees no more than its part
      return rows
    return jax.lax.with_sharding_constraint(rows, self.sharding(None, BATCH))

  def guided(self, loss: Callable) -> Callable:
    """A loss that leaves the compiler no choice which it could get wrong.

    Parameters, and so their gradients, lie where they are kept; what every module of a
    model answers is cut as the batch is. Left to itself the compiler may cut a model's
    activations along their width instead, and hold the whole batch on each device.

    Args:
      loss: (params, model_state, batch, ...) -> anything.
    """
    if self.strategy == 'pmap' or self.mesh.size == 1:
      return loss

    def guided(params, model_state, batch, *args, **kwargs):
      specs = sharding.parameter_specs(params, self.rules, self.shape)
      params = jax.lax.with_sharding_constraint(
        params, jax.tree.map(lambda spec: self.sharding(*spec), specs))
      examples = batch['mask'].shape[0]

      def cut(x):
        if not hasattr(x, 'ndim') or x.ndim == 0 or x.shape[0] != examples:
          return x
        open_ = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
        return jax.lax.with_sharding_constraint(x, self.sharding(BATCH, *open_))

      def intercept(call, args, kwargs, context):
        answer = call(*args, **kwargs)
        if context.method_name != '__call__':
          return answer
        return jax.tree.map(cut, answer)

      with nn.intercept_methods(intercept):
        return loss(params, model_state, batch, *args, **kwargs)

    return guided

  @property
  def axis_name(self) -> str | None:
    """Over which a program has to add up by itself: the devices of a pmap."""
    return 'data' if self.strategy == 'pmap' else None

  @property
  def platform(self) -> str:
    """'cpu', 'gpu' or 'tpu'."""
    return self.mesh.devices.flat[0].platform

  def place(self) -> tuple[Any, int]:
    """In a program: which of how many devices it sees the batch of."""
    if self.strategy == 'jit':
      return 0, 1
    return jax.lax.axis_index(self.axis_name), self.shape.data

  def total(self, tree: Any) -> Any:
    """In a program: sums over the whole batch, from those it sees."""
    return tree if self.strategy == 'jit' else jax.lax.psum(tree, self.axis_name)

  def highest(self, votes: jax.Array | None) -> jax.Array | None:
    """In a program: the highest of every process's votes."""
    if votes is None:
      return None
    highest = votes.max(0)
    return highest if self.strategy == 'jit' else jax.lax.pmax(highest, self.axis_name)

  def votes(self, votes: np.ndarray) -> Any:
    """This process's votes, on each of its devices; None if there is only one."""
    if self.described or jax.process_count() == 1:
      return None
    return jax.make_array_from_callback(
      (self.mesh.size, len(votes)), self.sharding(self.mesh.axis_names),
      lambda index: votes[None])

  def spread(self, function: Callable, ins: tuple, outs: Any) -> Callable:
    """A function of whole arrays, from one of what a device sees of them.

    The compiler spreads a jit by itself. A pmap is `jax.shard_map`, which `jax.pmap`
    is built on since JAX 0.8, and which also takes arrays over several processes.

    Args:
      function: of arrays.
      ins: a `PartitionSpec` for each argument.
      outs: for each result.
    """
    if self.strategy == 'jit':
      return function
    return jax.shard_map(function, mesh=self.mesh, in_specs=ins, out_specs=outs,
                         check_vma=False)

  def check_batch(self, size: int, accumulate: int, name: str, most: int) -> None:
    """Refuses a batch that cannot be cut into equal parts.

    Args:
      size: of the batch.
      accumulate: parts in time.
      name: of the split in the experiment.
      most: examples that there are.
    """
    parts = self.shape.parts * accumulate
    if size % parts == 0:
      return
    near = size // parts * parts, -(-size // parts) * parts
    fits = ' or '.join(str(n) for n in near if 0 < n <= most) or 'none'
    found = (f'--config.{name}.batch_size={size} cannot be cut into {parts} equal '
             f'parts (--mesh={self.shape}, --config.accumulate={accumulate}); the '
             f'nearest batch_size that can: {fits}')
    each = [n for n in range(1, size + 1) if size % (self.shape.parts * n) == 0]
    if accumulate > 1 and each:
      nearest = min(each, key=lambda n: abs(n - accumulate))
      found += f', the nearest accumulate: {nearest}'
    raise UserError(found)


def over(shape: MeshShape, strategy: Literal['jit', 'pmap'], rules: Iterable[Rule],
         devices: list[jax.Device] | None = None) -> Layout:
  """Lays a mesh over devices.

  Args:
    shape: what is asked for.
    strategy: 'jit' or 'pmap'.
    rules: for the parameters.
    devices: described ones; None for those that are there.

  Raises:
    UserError: if it does not fit them.
  """
  there = jax.devices() if devices is None else devices
  shape = shape.over(len(there))
  if strategy == 'pmap' and shape.data != len(there):
    raise UserError(f'--parallel=pmap: copies the parameters to every device, mesh '
                    f'{shape} does not; use --mesh=data:{len(there)} or --parallel=jit')
  sizes = vars(shape)
  # Neighbours in the mesh are neighbours on a TPU's torus, as far as that can be.
  placed = mesh_utils.create_device_mesh(
    tuple(sizes.values()), there, allow_split_physical_axes=True)
  mesh = jax.sharding.Mesh(placed, tuple(sizes), (AxisType.Auto,) * len(sizes))
  return Layout(mesh, shape, strategy, tuple(rules), devices is not None)
