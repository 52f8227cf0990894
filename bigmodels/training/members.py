"""Programs of a population: the functions of one run, mapped over an axis of runs.

A population is the runs of several seeds, its members; see `training.member_runs`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from bigmodels.data.batches import Loader
from bigmodels.parallel.layout import Layout


class Members(NamedTuple):
  """How the functions of one run become those of a population.

  Attributes:
    count: number of members; None for a single run, whose functions stay as they are.
    layout: where the arrays of a member lie.
    in_turn: whether members are computed one after another (`jax.lax.map`), and not at
      once (`jax.vmap`).
  """

  count: int | None
  layout: Layout
  in_turn: bool

  @classmethod
  def of(cls, train: Loader, layout: Layout) -> 'Members':
    """Returns the members whose batches a loader gives.

    A CPU has no fast products and convolutions of several members at once. Batches of
    several lengths are programs of their own, of which `vmap` would run all.
    """
    count = 1 + len(train.others) if train.others else None
    slow = layout.platform == 'cpu' or len(train.lengths) > 1
    return cls(count, layout, slow and layout.shape.population == 1)

  @property
  def axis(self) -> str | None:
    """The axis of the mesh that members are sharded along, or None."""
    return 'population' if self.layout.shape.population > 1 else None

  def over(self, function: Callable) -> Callable:
    """Returns a function of trees `[members, ...]`, from one of each member's."""
    if self.count is None:
      return function
    if self.in_turn:
      return lambda *trees: jax.lax.map(lambda each: function(*each), trees)
    return jax.vmap(function, spmd_axis_name=self.axis)

  def over_dispatch(self, dispatch: Callable, step: Callable) -> Callable:
    """Returns a function (carry, host_batch) -> carry that takes the steps of all.

    In turn, a member takes all its steps before the next one; at once, all take a step
    before the next one. The number of the step is then shared, so that what depends on
    it alone stays a branch of the program.

    Args:
      dispatch: (carry, host_batch, step) -> carry; takes several steps.
      step: (carry, host_batch, index) -> carry; takes one step of one member.
    """
    if self.count is None or self.in_turn:
      return self.over(lambda carry, batch: dispatch(carry, batch, step))

    def every(carry, batch, index):
      number = carry.state.step[0]
      return self.over(lambda carry, batch: step(
        carry._replace(state=carry.state._replace(step=number)), batch, index))(
          carry, batch)

    return lambda carry, batch: dispatch(carry, batch, every)

  def spec(self, spec: PartitionSpec) -> PartitionSpec:
    """Returns the spec of arrays with the axis of the members, from that of one."""
    return spec if self.count is None else PartitionSpec(self.axis, *spec)

  def put(self, array: np.ndarray) -> Any:
    """Returns an array on the devices, each with what its members have of it.

    Args:
      array: `[members, ...]`, or that of a single run; the same in every process.
    """
    return self.layout.put(array, *self.spec(PartitionSpec()))

  def shapes(self, tree: Any) -> Any:
    """Returns the shapes and shardings of all members, from those of one."""
    if self.count is None:
      return tree
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(
      (self.count, *x.shape), x.dtype, weak_type=x.weak_type,
      sharding=NamedSharding(x.sharding.mesh, self.spec(x.sharding.spec))), tree)

  def host_batches(self, loader: Loader, step: int, count: int
                   ) -> list[dict[str, Any]]:
    """Returns what the host gives to a dispatch, for each member.

    Args:
      loader: of the training split.
      step: first step of the dispatch.
      count: number of steps.
    """
    return [each(step, count) for each in (loader.host_batch, *loader.others)]

  def stacked(self, batches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns `host_batches` as one, `[members, ...]`; of a single run its own."""
    if self.count is None:
      return batches[0]
    return {name: self._stack([each[name] for each in batches])
            for name in batches[0]}

  def _stack(self, arrays: Sequence[Any]) -> Any:
    first = arrays[0]
    if isinstance(first, np.ndarray):
      return np.stack(arrays)
    if isinstance(first, jax.ShapeDtypeStruct):
      return self.shapes(first)
    return jax.jit(lambda *each: jnp.stack(each), out_shardings=NamedSharding(
      first.sharding.mesh, self.spec(first.sharding.spec)))(*arrays)

  def split(self, carry: Any, like: Any) -> list[Any]:
    """Returns the carry of each member.

    Args:
      carry: of all of them.
      like: shapes and shardings of that of one.
    """
    if self.count is None:
      return [carry]
    shardings = [jax.tree.map(lambda x: x.sharding, like)] * self.count
    return jax.jit(lambda tree: [
      member(tree, index) for index in range(self.count)], out_shardings=shardings)(
        carry)

  def joined(self, carries: Sequence[Any], like: Any) -> Any:
    """Returns the carry of all members; see `split`."""
    if self.count is None:
      return carries[0]
    return jax.jit(
      lambda *trees: jax.tree.map(lambda *each: jnp.stack(each), *trees),
      out_shardings=jax.tree.map(lambda x: x.sharding, self.shapes(like)))(*carries)


def member(tree: Any, index: int) -> Any:
  """Returns what one member has of a tree `[members, ...]`."""
  return jax.tree.map(lambda x: x[index], tree)
