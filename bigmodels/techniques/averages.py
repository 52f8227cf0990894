"""The moving average of a learner's parameters, which is evaluated in their place."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bigmodels.learners.learner import Learner, State

_STATISTICS = 'batch_stats'  # Linen's name for the statistics of batch normalization
_EVERY = 8  # steps at most between two that are averaged, ...
_FIRST = 100  # ... after this many, which are averaged each


def averaged(learner: Learner, decay: float) -> Learner:
  """A learner whose answers are those of the moving average of its parameters.

  Polyak and Juditsky, *Acceleration of Stochastic Approximation by Averaging*, 1992;
  the exponential form and its warm-up are those of TensorFlow and timm: the decay after
  n steps is at most (1 + n) / (10 + n), so that short runs forget their first
  parameters. After the first 100 steps not all are averaged, as that costs a few
  percent of a small one: at most every eighth is, and at least ten within
  1 / (1 - decay) steps, with the decay of all steps between them.

  The running statistics of batch normalization are averaged with the same decay, as in
  timm: they are those of the parameters that are averaged, and need no further pass
  over the training split. Nothing else in `model_state` is averaged.

  `evaluate` gives the metrics of the average, and those of the parameters themselves as
  `raw/NAME`. `State.average` holds the average, laid out over devices as the parameters
  are.

  Args:
    learner: any learner.
    decay: of the average, in a step.

  Raises:
    ValueError: unless the decay is > 0 and < 1.
  """
  if not 0 < decay < 1:
    raise ValueError(f'average: must be > 0 and < 1, got {decay}')

  every = max(1, min(_EVERY, int(0.1 / (1 - decay) + 1e-6)))  # 5, not 4.99, of 0.98

  def init(key, batch):
    return restarted(learner.init(key, batch)._replace(average=()))

  def step(state, batch):
    new, metrics = learner.step(state, batch)
    first = state.step < _FIRST
    left = jnp.minimum(decay, (1 + state.step) / (10 + state.step)) ** jnp.where(
      first, 1, every)
    average = jax.lax.cond(
      first | (new.step % every == 0),
      lambda average, now: jax.tree.map(
        lambda mean, x: (x + left * (mean - x)).astype(x.dtype), average, now),
      lambda average, now: average, state.average, _start(new))
    return new._replace(average=average), metrics

  def evaluate(state, batch):
    metrics, outputs = learner.evaluate(evaluated(state), batch)
    if state.average is None:
      return metrics, outputs
    raw, _ = learner.evaluate(state, batch)
    return metrics | {f'raw/{name}': metric for name, metric in raw.items()}, outputs

  return Learner(init, step, evaluate)


def evaluated(state: State) -> State:
  """The state with the average, if there is one, in place of what it averages."""
  if state.average is None:
    return state
  return state._replace(
    params=state.average['params'], average=None,
    model_state=_with(state.model_state, state.average['model_state']))


def restarted(state: State) -> State:
  """The state whose average, if there is one, starts at its parameters."""
  if state.average is None:
    return state
  # Copies: a step donates both buffers.
  return state._replace(average=jax.tree.map(jnp.copy, _start(state)))


def _start(state: State) -> dict[str, Any]:
  return {'params': state.params, 'model_state': _statistics(state.model_state)}


def _statistics(tree: Any) -> dict[str, Any]:
  """The statistics of batch normalization in nested dicts, and nothing else."""
  if not isinstance(tree, Mapping):
    return {}
  parts = {name: part if name == _STATISTICS else _statistics(part)
           for name, part in tree.items()}
  return {name: part for name, part in parts.items() if part}


def _with(tree: Any, statistics: Mapping[str, Any]) -> Any:
  """Nested dicts with other statistics."""
  if not statistics:
    return tree
  return {**tree, **{
    name: part if name == _STATISTICS else _with(tree[name], part)
    for name, part in statistics.items()}}
