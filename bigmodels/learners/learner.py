"""The types that every learner shares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Batch = dict[str, jax.Array]
# Name -> (total, count): totals and counts of batches and devices add up, and the
# mean over any of them is one division at the end.
Sums = dict[str, tuple[jax.Array, jax.Array]]
# Name -> per-example array `[batch, ...]`, from which exact metrics are made.
Outputs = dict[str, jax.Array]


class Signal(NamedTuple):
  """What the step may know of the evaluations so far: rates adapt to it.

  Attributes:
    value: the monitored metric at the last evaluation, lower is better (the loop
      flips the sign of one to be maximised), float32; NaN before the first.
    count: evaluations so far, int32.
  """

  value: jax.Array
  count: jax.Array


class State(NamedTuple):
  """All that changes in training, and the key that does not.

  Attributes:
    step: updates so far, int32.
    params: trained by gradients.
    model_state: not trained: batch statistics, caches, an environment's state.
    opt_state: the optimizer's.
    key: the root; the key of step n is `fold_in(key, n)`, so none can drift.
    signal: of the evaluations.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  key: jax.Array
  signal: Signal


class Learner(NamedTuple):
  """Training as pure functions; from `summarize` on they run on the host.

  Attributes:
    init: (key, batch) -> State.
    step: (State, batch) -> State, sums over the batch.
    evaluate: (State, batch) -> sums, outputs; masked examples count in neither.
    summarize: (outputs of a whole split) -> name -> number.
    figures: (outputs, inputs: rows -> arrays, classes) -> title -> figure, for the
      report; may be empty.
    generate: (params, model_state, prompts: list of texts, key, `decoding.Settings`) ->
      for each prompt the text that follows on it, and of how many tokens; None where
      no text is learned.
  """

  init: Callable[[jax.Array, Batch], State]
  step: Callable[[State, Batch], tuple[State, Sums]]
  evaluate: Callable[[State, Batch], tuple[Sums, Outputs]]
  summarize: Callable[[Outputs], dict[str, float]]
  figures: Callable[..., dict[str, Any]]
  generate: Callable[..., list[tuple[str, int]]] | None = None
