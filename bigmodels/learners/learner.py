"""The types that every learner shares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bigmodels.core.errors import as_user_error
from bigmodels.metrics import Metric

# Column -> array `[batch, ...]`, with `mask` among them.
Batch = dict[str, jax.Array]
# Name -> a metric: sums over batches and devices add up, and give its value at the end.
Metrics = dict[str, Metric]
# Name -> array `[batch, ...]`, one entry an example, from which exact metrics are made.
Outputs = dict[str, jax.Array]


class Signal(NamedTuple):
  """What a step may know of the evaluations so far: learning rates adapt to it.

  Attributes:
    value: the monitored metric at the last evaluation, lower is better (the loop
      flips the sign of one to be maximized), float32 `[]`; NaN before the first.
    count: evaluations so far, int32 `[]`.
  """

  value: jax.Array
  count: jax.Array


class State(NamedTuple):
  """All that changes in training, and the key that does not.

  Attributes:
    step: updates so far, int32 `[]`.
    params: trained by gradients.
    model_state: not trained by gradients: batch statistics, caches, an environment's
      state.
    opt_state: the optimizer's.
    key: the root, uint32 `[2]`; the key of step n is `fold_in(key, n)`, so none can
      drift.
    signal: of the evaluations.
    average: moving average of the parameters and batch statistics, see
      `techniques.averages`; None without one.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  key: jax.Array
  signal: Signal
  average: Any = None


def init_key(key: jax.Array) -> jax.Array:
  """The key of what `init` draws: apart from those of all steps, which start at 0.

  Args:
    key: the root, uint32 `[2]`, as is the result.
  """
  return jax.random.fold_in(key, 2**32 - 1)


def initial_state(key: jax.Array, params: Any, model_state: Any,
                  init_optimizer: Callable[[Any], Any]) -> State:
  """The state before the first step.

  Args:
    key: the root, uint32 `[2]`.
    params: trained by gradients.
    model_state: what is not.
    init_optimizer: params -> the state of the optimizer.

  Raises:
    UserError: if the optimizer refuses the params.
  """
  with as_user_error('the optimizer and the model do not fit'):
    opt_state = init_optimizer(params)
  signal = Signal(jnp.float32(jnp.nan), jnp.int32(0))
  return State(jnp.int32(0), params, model_state, opt_state, key, signal)


class Learner(NamedTuple):
  """Training as three pure functions.

  Attributes:
    init: (key, batch) -> State.
    step: (State, batch) -> State, metrics of the batch.
    evaluate: (State, batch) -> metrics, outputs; masked examples count in no metric.
  """

  init: Callable[[jax.Array, Batch], State]
  step: Callable[[State, Batch], tuple[State, Metrics]]
  evaluate: Callable[[State, Batch], tuple[Metrics, Outputs]]
