"""Where arrays live: a mesh of devices, and which rows of a batch a process reads."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bigmodels.core.errors import UserError
from bigmodels.core.target import BATCH_AXES
from bigmodels.parallel import sharding
from bigmodels.parallel.sharding import MeshShape, Rule


class Layout(NamedTuple):
  """The devices of a run, and how arrays are sharded over them.

  Attributes:
    mesh: with the axes of a `MeshShape`.
    shape: the sizes of these axes.
    strategy: 'jit' lets the compiler partition one program; 'pmap' runs the same
      program on each device, for its shard of the batch, and sums with collectives.
    rules: of the experiment, for tensor parallelism.
    abstract: whether the devices are only described, for compilation, and hold no
      arrays.
  """

  mesh: jax.sharding.Mesh
  shape: MeshShape
  strategy: Literal['jit', 'pmap']
  rules: tuple[Rule, ...]
  abstract: bool = False

  @contextlib.contextmanager
  def in_use(self) -> Iterator[None]:
    """Has programs that are traced in it see this mesh; see `core.target`."""
    with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
      yield

  def sharding(self, *axes: Any) -> NamedSharding:
    """The sharding of an array with these mesh axes along its own; none: replicated."""
    return NamedSharding(self.mesh, PartitionSpec(*axes))

  def with_shardings(self, shapes: Any, params: Any) -> Any:
    """Adds shardings to the shapes of a training state.

    Args:
      shapes: tree of `jax.ShapeDtypeStruct`.
      params: the parameters in it.

    Returns:
      The same tree, each leaf with its sharding.

    Raises:
      UserError: as `sharding.parameter_specs`.
    """
    specs = sharding.parameter_specs(params, self.rules, self.shape)
    specs = sharding.state_specs(shapes, params, specs, self.shape)
    return jax.tree.map(
      lambda x, spec: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=NamedSharding(self.mesh, spec),
        weak_type=getattr(x, 'weak_type', False)), shapes, specs)

  def replicate(self, array: np.ndarray) -> Any:
    """A copy on every device.

    Args:
      array: of any shape; the same in every process.
    """
    return self.put(array)

  def put(self, array: np.ndarray, *axes: Any) -> Any:
    """An array with these mesh axes along its own; none: a copy on every device.

    Args:
      array: of any shape; the same in every process.
      *axes: see `sharding`.
    """
    sharding = self.sharding(*axes)
    if self.abstract:
      return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
    return jax.make_array_from_callback(
      array.shape, sharding, lambda index: np.asarray(array[index]))

  def local_positions(self, shape: tuple[int, int]) -> np.ndarray:
    """The positions in a batch of the examples that this process reads.

    Args:
      shape: `[microbatches, examples]`, whose positions are numbered row by row.

    Returns:
      int `[n]`, ascending.
    """
    if self.abstract:
      return np.arange(1)  # one example has the shapes of all
    numbers = np.arange(np.prod(shape)).reshape(shape)
    local = self.sharding(None, BATCH_AXES).addressable_devices_indices_map(shape)
    return np.unique(np.concatenate([numbers[i].ravel() for i in local.values()]))

  def shard_batch(self, array: np.ndarray, positions: np.ndarray,
                  shape: tuple[int, int]) -> Any:
    """A batch sharded over the devices, from the examples that this process has read.

    Args:
      array: `[n, ...]`, the examples at `positions`.
      positions: int `[n]`, from `local_positions(shape)`.
      shape: `[microbatches, examples]`.

    Returns:
      `[microbatches, examples, ...]`.
    """
    sharded, global_shape = self.sharding(None, BATCH_AXES), (*shape, *array.shape[1:])
    if self.abstract:
      return jax.ShapeDtypeStruct(global_shape, array.dtype, sharding=sharded)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return jax.make_array_from_callback(
      global_shape, sharded,
      lambda index: array[np.searchsorted(positions, numbers[index[:2]])])

  def shard_rows(self, rows: jax.Array) -> jax.Array:
    """In a program: constrains `[microbatches, examples]` to lie as a batch does."""
    if self.strategy == 'pmap':  # each device has only its own shard
      return rows
    return jax.lax.with_sharding_constraint(rows, self.sharding(None, BATCH_AXES))

  def constrain_shardings(self, loss: Callable) -> Callable:
    """A loss whose parameters and activations have fixed shardings.

    Parameters, and so their gradients, keep the sharding of the state; the output of
    every module of a model is sharded along the batch. Without these constraints the
    compiler may shard activations along their width instead, and hold the whole batch
    on each device.

    Args:
      loss: (params, model_state, batch, ...) -> anything.

    Returns:
      A function of the same arguments.
    """
    if self.strategy == 'pmap' or self.mesh.size == 1:
      return loss

    def constrained(params, model_state, batch, *args, **kwargs):
      specs = sharding.parameter_specs(params, self.rules, self.shape)
      params = jax.lax.with_sharding_constraint(
        params, jax.tree.map(lambda spec: self.sharding(*spec), specs))
      examples = batch['mask'].shape[0]

      def shard(x):
        if not hasattr(x, 'ndim') or x.ndim == 0 or x.shape[0] != examples:
          return x
        free = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
        return jax.lax.with_sharding_constraint(x, self.sharding(BATCH_AXES, *free))

      def intercept(call, args, kwargs, context):
        output = call(*args, **kwargs)
        return jax.tree.map(shard, output) if context.method_name == '__call__' else (
          output)

      with nn.intercept_methods(intercept):
        return loss(params, model_state, batch, *args, **kwargs)

    return constrained

  @property
  def axis_name(self) -> str | None:
    """The axis of the collectives that a program writes out, which is that of pmap."""
    return 'data' if self.strategy == 'pmap' else None

  @property
  def platform(self) -> str:
    """'cpu', 'gpu' or 'tpu'."""
    return self.mesh.devices.flat[0].platform

  def shard_index(self) -> tuple[Any, int]:
    """In a program: the index of the batch's shard that it sees, and their number."""
    if self.strategy == 'jit':
      return 0, 1
    return jax.lax.axis_index(self.axis_name), self.shape.data

  def psum(self, tree: Any) -> Any:
    """In a program: sums over the whole batch, from those over what it sees."""
    return tree if self.strategy == 'jit' else jax.lax.psum(tree, self.axis_name)

  def max_votes(self, votes: jax.Array | None) -> jax.Array | None:
    """In a program: the maximum over processes of `shard_votes`, `[n]`."""
    if votes is None:
      return None
    highest = votes.max(0)
    return highest if self.strategy == 'jit' else jax.lax.pmax(highest, self.axis_name)

  def shard_votes(self, votes: np.ndarray) -> Any:
    """This process's votes `[n]` on each of its devices, `[devices, n]` in all.

    Returns:
      The array; None if there is only one process.
    """
    if self.abstract or jax.process_count() == 1:
      return None
    return jax.make_array_from_callback(
      (self.mesh.size, len(votes)), self.sharding(self.mesh.axis_names),
      lambda index: votes[None])

  def shard_map(self, function: Callable, in_specs: tuple, out_specs: Any) -> Callable:
    """A function of global arrays, from one of what a device sees of them.

    Under jit that is the function, which the compiler partitions. A pmap is
    `jax.shard_map`, on which `jax.pmap` is built since JAX 0.8, and which also takes
    arrays over several processes.

    Args:
      function: of arrays.
      in_specs: a `PartitionSpec` for each argument.
      out_specs: the same for each result.
    """
    if self.strategy == 'jit':
      return function
    return jax.shard_map(function, mesh=self.mesh, in_specs=in_specs,
                         out_specs=out_specs, check_vma=False)

  def check_batch(self, size: int, accumulate: int, name: str, most: int) -> None:
    """Checks that a batch can be divided into equal shards and microbatches.

    Args:
      size: of the batch.
      accumulate: number of microbatches.
      name: of the split in the experiment.
      most: examples of the split.

    Raises:
      UserError: if it cannot be; with the nearest sizes that can.
    """
    divisor = self.shape.data_shards * accumulate
    if size % divisor == 0:
      return
    near = size // divisor * divisor, -(-size // divisor) * divisor
    fits = ' or '.join(str(n) for n in near if 0 < n <= most) or 'none'
    message = (f'--config.{name}.batch_size={size}: must be a multiple of {divisor}, '
               f'the data shards of --mesh={self.shape} times '
               f'--config.accumulate={accumulate}; the nearest batch_size: {fits}')
    each = [n for n in range(1, size + 1) if size % (self.shape.data_shards * n) == 0]
    if accumulate > 1 and each:
      nearest = min(each, key=lambda n: abs(n - accumulate))
      message += f', the nearest accumulate: {nearest}'
    raise UserError(message)


def make_layout(shape: MeshShape, strategy: Literal['jit', 'pmap'],
                rules: Iterable[Rule], devices: list[jax.Device] | None = None
                ) -> Layout:
  """Makes a mesh of devices, and the layout over it.

  Args:
    shape: of the mesh; one size may be -1.
    strategy: 'jit' or 'pmap'.
    rules: for the parameters.
    devices: abstract ones, to compile for; None: those of JAX.

  Raises:
    UserError: if the shape does not fit the devices, or `strategy` is 'pmap' and an
      axis other than `data` is larger than 1.
  """
  used = jax.devices() if devices is None else devices
  shape = shape.resolve(len(used))
  if strategy == 'pmap' and shape.data != len(used):
    raise UserError(f'--parallel=pmap: replicates the parameters, mesh {shape} does '
                    f'not; use --mesh=data:{len(used)} or --parallel=jit')
  sizes = shape.axes
  # Neighbours in the mesh are neighbours on a TPU's torus, as far as possible.
  arranged = mesh_utils.create_device_mesh(
    tuple(sizes.values()), used, allow_split_physical_axes=True)
  mesh = jax.sharding.Mesh(arranged, tuple(sizes), (AxisType.Auto,) * len(sizes))
  return Layout(mesh, shape, strategy, tuple(rules), devices is not None)
