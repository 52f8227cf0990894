"""From a learner and its feeds to compiled programs: nothing else jits a step."""

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bigmodels.data.batches import Feed
from bigmodels.errors import UserError
from bigmodels.learners.learner import Learner, State


class Carry(NamedTuple):
  """What goes from one dispatch to the next, and into a checkpoint.

  Attributes:
    state: the learner's.
    window: sums of the training metrics since the last line of the log.
    fault: int32 `[2]`: the first step whose metrics were not finite, and which of
      them (in the order of their names); -1 before there is one.
  """

  state: State
  window: Any
  fault: jax.Array


class Programs(NamedTuple):
  """Compiled once, before the first step; they cannot compile again.

  Attributes:
    init: key -> Carry.
    advance: (carry, operand, number of steps, whether to clear the window) -> Carry;
      takes the state's memory over.
    evaluate: (split, state, operand) -> sums, outputs.
    metric_names: of the window, in order.
    most: steps that one dispatch may take.
    outputs: split -> shapes of what an evaluated batch gives for each example.
    seconds: spent compiling.
  """

  init: Callable[[jax.Array], Carry]
  advance: Callable[..., Carry]
  evaluate: Callable[..., tuple]
  metric_names: tuple[str, ...]
  most: int
  outputs: dict[str, Any]
  seconds: float


def compile_programs(learner: Learner, train: Feed, evals: dict[str, Feed]) -> Programs:
  """Compiles a learner's three functions with their data roads inside.

  A dispatch takes any number of steps in one program: a loop whose length is an
  argument. So where dispatches begin and end changes no bit of the result.

  Raises:
    UserError: if the model refuses the shapes of the data.
  """
  start = time.perf_counter()
  key = jax.random.PRNGKey(0)
  operand = train.operand(0, 1)
  batch = jax.eval_shape(train.batch, train.resident, operand, 0, key)

  def fresh(key):
    zeros = jax.tree.map(lambda b: jnp.zeros(b.shape, b.dtype), batch)
    state = learner.init(key, zeros)
    return Carry(state, _zeros(sums), jnp.full(2, -1, jnp.int32))

  # jit remembers traces: each function is traced once, here, with a model's errors.
  try:
    state = jax.jit(learner.init).eval_shape(key, batch)
    one_step = jax.jit(learner.step)
    traced = one_step.trace(state, batch)
    evaluations = {name: _trace_evaluate(learner, feed, state)
                   for name, feed in evals.items()}
  except ValueError as error:
    reason = str(error).partition('\n---')[0]
    raise UserError(f'the model and the data do not fit: {reason}') from error
  _, sums = traced.out_info
  names = tuple(sorted(sums))
  # XLA's own convolutions run tens of times slower inside a loop on a CPU.
  loops = (jax.default_backend() != 'cpu'
           or 'conv_general_dilated' not in str(traced.jaxpr))

  def advance(state, window, fault, resident, operand, count, clear):
    window = jax.tree.map(lambda w: jnp.where(clear, jnp.zeros_like(w), w), window)

    def going(loop):
      index, carry = loop
      return (index < count) & (carry.fault[0] < 0)

    def step(loop):
      index, carry = loop
      state, number = carry.state, carry.state.step
      batch = train.batch(resident, operand, index, _data_key(state))
      state, sums = one_step(state, batch)
      window = jax.tree.map(jnp.add, carry.window, sums)
      good = jnp.stack([jnp.isfinite(sums[n][0]) for n in names])
      # Counted from 1: the step that was just taken.
      fault = jnp.where(jnp.all(good), carry.fault,
                        jnp.stack([number + 1, jnp.argmin(good)]).astype(jnp.int32))
      return index + 1, Carry(state, window, fault)

    first = (0, Carry(state, window, fault))
    return (jax.lax.while_loop(going, step, first) if loops else step(first))[1]

  carry = jax.eval_shape(fresh, key)
  lowered = {
    'init': jax.jit(fresh).lower(key),
    'advance': jax.jit(advance, donate_argnums=0).lower(
      *carry, train.resident, operand, jnp.int32(1), jnp.bool(True)),
  } | {name: evaluation.lower() for name, evaluation in evaluations.items()}
  # XLA compiles outside Python's lock: side by side.
  with concurrent.futures.ThreadPoolExecutor() as pool:
    programs = pool.map(jax.stages.Lowered.compile, lowered.values())
    compiled = dict(zip(lowered, programs, strict=True))

  def run(carry: Carry, operand, count: int, clear: bool) -> Carry:
    return compiled['advance'](
      *carry, train.resident, operand, jnp.int32(count), jnp.bool(clear))

  def evaluate(name: str, state: State, operand):
    return compiled[name](state, evals[name].resident, operand)

  return Programs(
    init=compiled['init'], advance=run, evaluate=evaluate, metric_names=names,
    most=train.most if loops else 1,
    outputs={name: evaluation.out_info[1] for name, evaluation in evaluations.items()},
    seconds=time.perf_counter() - start)


def _data_key(state: State) -> jax.Array:
  """The key of a step's augmentation, apart from the learner's own."""
  return jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2**31)


def _zeros(shapes):
  return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def _trace_evaluate(learner: Learner, feed: Feed, state) -> jax.stages.Traced:
  def evaluate(state, resident, operand):
    batch = feed.batch(resident, operand, 0, state.key)
    sums, outputs = learner.evaluate(state, batch)
    return sums, {**outputs, 'mask': batch['mask']}

  return jax.jit(evaluate).trace(state, feed.resident, feed.operand(0, 1))
