"""From a learner and its loaders to compiled programs: nothing else jits a step."""

import concurrent.futures
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.sharding import PartitionSpec

from bigmodels.core.target import BATCH_AXES
from bigmodels.data.batches import Loader
from bigmodels.hardware import devices, flops
from bigmodels.learners.learner import Learner, Metrics, State
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.random import slice_key
from bigmodels.training import fitting
from bigmodels.training.members import Members, member
from bigmodels.training.pace import Votes


class Carry(NamedTuple):
  """What goes from one dispatch to the next, and into a checkpoint.

  That of a population has an axis of the members, `[members, ...]`.

  Attributes:
    state: the learner's.
    window: sum of the training metrics since the last line of the log.
    fault: int32 `[2]`: the first step whose metrics were not finite, and which of
      them (in the order of their names); -1 before there is one.
  """

  state: State
  window: Metrics
  fault: jax.Array


class Traced(NamedTuple):
  """A learner's functions that read their own batches, before they are compiled.

  Attributes:
    train, evals, layout: what it was traced with.
    carry: shapes and shardings; of a population those of one member.
    step: jaxpr of one step, of one member.
    lower: name -> () -> lowered program: 'init', 'advance', and one for each split.
    metric_names: of the window, in order.
    most: steps that one dispatch may take.
    output_shapes: split -> shapes of what an evaluated batch gives for each example.
    members: those of a population, or one.
  """

  train: Loader
  evals: dict[str, Loader]
  layout: Layout
  carry: Carry
  step: core.ClosedJaxpr
  lower: dict[str, Callable[[], jax.stages.Lowered]]
  metric_names: tuple[str, ...]
  most: int
  output_shapes: dict[str, Any]
  members: Members


class Programs(NamedTuple):
  """Compiled once, before the first step; they cannot compile again.

  Attributes:
    traced: what they were compiled from.
    init: key -> Carry; of a population, keys `[members, 2]`.
    advance: (carry, host_batch, number of steps, whether to clear the window, votes) ->
      Carry, votes agreed on; takes the state's memory over.
    evaluate: (split, state, host_batch) -> metrics, outputs; of a population
      `[members, ...]`.
    hlo: () -> the optimized program of `advance` as text.
    seconds: spent compiling, not tracing.
  """

  traced: Traced
  init: Callable[[jax.Array], Carry]
  advance: Callable[..., tuple[Carry, jax.Array]]
  evaluate: Callable[..., tuple]
  hlo: Callable[[], str]
  seconds: float

  def of_member(self, index: int) -> 'Programs':
    """The same, whose evaluations give what one member has of them."""
    if self.traced.members.count is None:
      return self
    return self._replace(evaluate=lambda *given: member(self.evaluate(*given), index))


WHOLE = PartitionSpec()  # a copy on every device


def compile_traced(traced: Traced, only: tuple[str, ...] | None = None, *,
                   mark: Callable[[str], None] = lambda phase: None) -> Programs:
  """Compiles what was traced.

  Args:
    traced: see `trace`.
    only: names in `traced.lower`; None for all.
    mark: called with the name of a phase when it has ended.
  """
  start = time.perf_counter()
  names = tuple(traced.lower) if only is None else only
  options = devices.compiler_options(traced.layout.platform)
  # XLA compiles outside Python's lock: side by side, while others are still lowered.
  with concurrent.futures.ThreadPoolExecutor() as pool:
    futures = {name: pool.submit(traced.lower[name]().compile, options)
               for name in names}
    mark('lowering')
    compiled = {name: future.result() for name, future in futures.items()}
  mark('compiling')

  def advance(carry: Carry, host_batch, count: int, clear: bool, votes):
    return compiled['advance'](
      *carry, traced.train.resident, host_batch, np.int32(count), np.bool(clear),
      traced.layout.shard_votes(np.array(votes, np.int32)))

  def evaluate(name: str, state: State, host_batch):
    return compiled[name](state, traced.evals[name].resident, host_batch)

  return Programs(
    traced, compiled.get('init'), advance, evaluate,
    lambda: compiled['advance'].as_text(), time.perf_counter() - start)


def trace(learner: Learner, train: Loader, evals: dict[str, Loader],
          layout: Layout) -> Traced:
  """Traces a learner's three functions, each with the reading of its batches.

  A dispatch takes any number of steps in one program: a loop whose length is an
  argument. So where dispatches begin and end changes no bit of the result.

  Args:
    learner: whose functions they are.
    train: the training loader.
    evals: split -> loader.
    layout: where arrays lie.

  Raises:
    UserError: if the model refuses the shapes of the data.
  """
  with layout.in_use():
    traced = _trace(learner, train, evals, layout)
  return traced._replace(lower={
    name: layout.in_use()(lower) for name, lower in traced.lower.items()})


def _trace(learner: Learner, train: Loader, evals: dict[str, Loader], layout: Layout
           ) -> Traced:
  key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
  members = Members.of(train, layout)
  host_batches = members.host_batches(train, 0, 1)
  host_batch = host_batches[0]
  cut, every = _cut(train), PartitionSpec(layout.mesh.axis_names)
  examples = PartitionSpec(*(None,) * (train.microbatches > 1), BATCH_AXES)
  replicated = layout.sharding()
  seed = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=replicated)
  # These remember their traces, for arguments that lie alike.
  one_step, init = jax.jit(learner.step), jax.jit(learner.init)

  def batch_of(state, resident, host_batch, index, length=None):
    with jax.named_scope('data'):
      return train.batch(
        resident, host_batch, index, data_keys(state, train, layout), length)

  def step_of(state, resident, host_batch, index=0):
    def of_length(length):
      return one_step(state, batch_of(state, resident, host_batch, index, length))

    if len(train.lengths) < 2:
      return of_length(None)
    return jax.lax.switch(train.bucket(host_batch, index), [
      functools.partial(of_length, length) for length in train.lengths])

  # Each function is traced once, here, where the errors of a model are reported.
  with fitting.explained(train):
    key_only = State(np.int32(0), None, None, None, key, None)
    batch = jax.eval_shape(
      layout.shard_map(batch_of, (WHOLE, WHOLE, cut, WHOLE), examples),
      key_only, train.resident, host_batch, 0)
    if train.microbatches > 1:
      batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batch)
    state = init.eval_shape(seed, batch)
    state = layout.with_shardings(state, state.params)
    traced = jax.jit(layout.shard_map(step_of, (WHOLE, WHOLE, cut), WHOLE)).trace(
      state, train.resident, host_batch)
    after, metrics = traced.out_info
    fitting.check_state(state, after)
  fitting.check_metrics('train', metrics)
  evaluations, shapes = {}, {}
  for name, loader in evals.items():
    with fitting.explained(train, name, loader):
      alone = _evaluation(learner, loader, layout, members._replace(count=None))
      found, shapes[name] = jax.eval_shape(
        alone, state, loader.resident, loader.host_batch(0, 1))
      # The same function: it is traced once.
      evaluations[name] = alone if members.count is None else _evaluation(
        learner, loader, layout, members)
      fitting.check_metrics(name, found)
      fitting.check_outputs(name, shapes[name])
  loops = layout.platform != 'cpu' or not _slow_in_a_loop(traced.jaxpr)

  def fresh(key):
    zeros = _zeros(batch)
    return Carry(init(key, zeros), _zeros(metrics), jnp.full(2, -1, jnp.int32))

  carry = jax.eval_shape(fresh, seed)
  carry = layout.with_shardings(carry, carry.state.params)
  advance = _advance(step_of, layout, members, loops=loops)
  whole = members.shapes(carry)
  shardings = jax.tree.map(lambda x: x.sharding, whole)

  def scalar(dtype):
    return jax.ShapeDtypeStruct((), dtype, sharding=replicated)

  lower = {  # the longest first, and so compiled first
    'advance': lambda: jax.jit(
      layout.shard_map(
        advance, (WHOLE,) * 4 + (members.spec(cut), WHOLE, WHOLE, every), WHOLE),
      donate_argnums=0, out_shardings=(shardings, replicated)).lower(
        *whole, train.resident, members.stacked(host_batches),
        scalar(jnp.int32), scalar(jnp.bool),
        layout.shard_votes(np.array(Votes(), np.int32))),
    'init': lambda: jax.jit(members.over(fresh), out_shardings=shardings).lower(
      members.shapes(seed)),
  } | {
    name: lambda name=name: jax.jit(
      evaluations[name], out_shardings=replicated).lower(
        whole.state, evals[name].resident, evals[name].host_batch(0, 1))
    for name in evals}
  return Traced(train, evals, layout, carry, traced.jaxpr, lower,
                tuple(sorted(metrics)), train.most if loops else 1, shapes, members)


def _advance(step_of: Callable, layout: Layout, members: Members, *, loops: bool
             ) -> Callable:
  """A dispatch: takes its number of steps, or fewer if the metrics are not finite.

  Args:
    step_of: (state, resident, host_batch, index in the dispatch) -> state, metrics.
    layout: where arrays lie.
    members: which it is mapped over.
    loops: whether the number may be other than 1.
  """
  def advance(state, window, fault, resident, host_batch, count, clear, votes):
    window = jax.tree.map(lambda w: jnp.where(clear, jnp.zeros_like(w), w), window)

    def going(loop):
      index, carry = loop
      return (index < count) & jnp.any(carry.fault[..., 0] < 0)

    def of_member(carry, host_batch, index):
      number = carry.state.step
      state, metrics = step_of(carry.state, resident, host_batch, index)
      with jax.named_scope('metrics'):
        window = jax.tree.map(jnp.add, carry.window, metrics)
        good = jnp.stack([all_finite(metrics[name]) for name in sorted(metrics)])
        # Counted from 1: the step that was just taken.
        now = jnp.stack([number + 1, jnp.argmin(good)]).astype(jnp.int32)
        fault = jnp.where(jnp.all(good) | (carry.fault[0] >= 0), carry.fault, now)
      return Carry(state, window, fault)

    def dispatch(carry, host_batch, once):
      def step(loop):
        index, carry = loop
        return index + 1, once(carry, host_batch, index)

      if not loops:
        return once(carry, host_batch, 0)
      return jax.lax.while_loop(going, step, (0, carry))[1]

    return members.over_dispatch(dispatch, of_member)(
      Carry(state, window, fault), host_batch), layout.max_votes(votes)

  return advance


def _slow_in_a_loop(jaxpr: core.ClosedJaxpr) -> bool:
  """Whether there is a convolution that a CPU runs hundreds of times slower in a loop.

  It is one whose operands do not lie as images and filters do, such as the gradients
  that JAX derives of `flax.linen.Conv`, but not those of `layers.convolution`.
  """
  def in_order(eqn):
    left, right, out = eqn.params['dimension_numbers']
    last = len(left) - 1
    return (left == out == (0, last, *range(1, last))
            and right == (last, last - 1, *range(last - 1)))

  return any(eqn.primitive.name == 'conv_general_dilated' and not in_order(eqn)
             for eqn in flops.equations(jaxpr))


def _evaluation(learner: Learner, loader: Loader, layout: Layout, members: Members
                ) -> Callable:
  def of_member(state, resident, host_batch):
    batch = loader.batch(resident, host_batch, 0, data_keys(state, loader, layout))
    metrics, outputs = learner.evaluate(state, batch)
    return layout.psum(metrics), {**outputs, 'mask': batch['mask']}

  def evaluate(state, resident, host_batch):
    return members.over(lambda state: of_member(state, resident, host_batch))(state)

  return layout.shard_map(
    evaluate, (WHOLE, WHOLE, _cut(loader)),
    (WHOLE, members.spec(PartitionSpec(BATCH_AXES))))


def _cut(loader: Loader) -> PartitionSpec:
  """The sharding of what the host gives to a dispatch."""
  # Rows of many batches, or the examples of one.
  return PartitionSpec(*(None,) * (2 if loader.resident else 1), BATCH_AXES)


def data_keys(state: State, loader: Loader, layout: Layout) -> jax.Array:
  """A key for the augmentation of each part, apart from the learner's own.

  Args:
    state: of the step that the batch is for.
    loader: that the batch is of.
    layout: where it lies.

  Returns:
    typed keys `[microbatches]`.
  """
  key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2**31)
  first, apart = layout.shard_index()
  if loader.microbatches == 1 and apart == 1:
    return jax.random.wrap_key_data(key)[None]
  return jax.vmap(functools.partial(slice_key, key))(
    first + apart * jnp.arange(loader.microbatches))


@jax.jit
def all_finite(tree: Any) -> jax.Array:
  """Whether every number of a tree of arrays is finite, a bool scalar."""
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def _zeros(shapes):
  return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
