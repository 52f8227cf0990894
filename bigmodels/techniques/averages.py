"""Averages of a learner's parameters, which are evaluated in their place."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bigmodels.learners.learner import Learner, State

_STATISTICS = 'batch_stats'  # Linen's name for the statistics of batch normalization
_EVERY = 8  # steps at most between two that are averaged, ...
_FIRST = 100  # ... after this many, which are averaged each


class Rule(NamedTuple):
  """Which steps are averaged, and how much of the average stays.

  Attributes:
    due: number of a step, from 0, int32 `[]` -> whether its parameters are averaged.
    left: number of such a step -> weight of the average so far, from 0 to 1; that of
      the parameters is the rest.
  """

  due: Callable[[jax.Array], jax.Array]
  left: Callable[[jax.Array], jax.Array]


def exponential(decay: float) -> Rule:
  """The exponential moving average.

  Polyak and Juditsky, *Acceleration of Stochastic Approximation by Averaging*, 1992;
  the exponential form and its warm-up are those of TensorFlow and timm: the decay after
  n steps is at most (1 + n) / (10 + n), so that short runs forget their first
  parameters. After the first 100 steps not all are averaged, as that costs a few
  percent of a small one: at most every eighth is, and at least ten within
  1 / (1 - decay) steps, with the decay of all steps between them.

  Args:
    decay: of the average, in a step.

  Raises:
    ValueError: unless the decay is > 0 and < 1.
  """
  if not 0 < decay < 1:
    raise ValueError(f'average: must be > 0 and < 1, got {decay}')
  every = max(1, min(_EVERY, int(0.1 / (1 - decay) + 1e-6)))  # 5, not 4.99, of 0.98
  return Rule(
    lambda step: (step < _FIRST) | ((step + 1) % every == 0),
    lambda step: jnp.minimum(decay, (1 + step) / (10 + step)) ** jnp.where(
      step < _FIRST, 1, every))


def uniform(steps: int, *, start: float = 0.75, every: int = 1) -> Rule:
  """Stochastic weight averaging: the mean of the parameters from some step on.

  Izmailov et al., *Averaging Weights Leads to Wider Optima and Better Generalization*,
  2018; with `start=0` the average of Polyak and Juditsky. A learning rate that stays
  high, or restarts (`schedules.warm_restarts`), gives parameters that differ. Until
  `start` the average is the parameters themselves.

  Args:
    steps: length of the run, which supplies it.
    start: fraction of the run after which averaging begins, >= 0 and < 1.
    every: steps between two that are averaged, such as those of a cycle.

  Raises:
    ValueError: for a fraction or number out of range, or if fewer than `every` steps
      are left.
  """
  if not 0 <= start < 1:
    raise ValueError(f'average.start: must be >= 0 and < 1, got {start}')
  begin = round(start * steps)
  if not 1 <= every <= max(1, steps - begin):
    raise ValueError(f'average.every: must be 1 to {max(1, steps - begin)}, the steps '
                     f'after {start:g} of the run, got {every}')

  def left(step):
    # That are in the average; of the widest float, for that of the weight.
    count = jnp.asarray((step + 1 - begin) // every, float)
    return jnp.where(step < begin, 0.0, count / (count + 1))

  return Rule(lambda step: (step < begin) | ((step + 1 - begin) % every == 0), left)


def averaged(learner: Learner, rule: Rule) -> Learner:
  """A learner whose answers are those of an average of its parameters.

  The running statistics of batch normalization are averaged in the same way, as in
  timm: they are those of the parameters that are averaged, and need no further pass
  over the training split. Nothing else in `model_state` is averaged.

  `evaluate` gives the metrics of the average, and those of the parameters themselves as
  `raw/NAME`. `State.average` holds the average, laid out over devices as the parameters
  are.

  Args:
    learner: any learner.
    rule: `exponential` or `uniform`.
  """
  def init(key, batch):
    return restarted(learner.init(key, batch)._replace(average=()))

  def step(state, batch):
    new, metrics = learner.step(state, batch)
    left = rule.left(state.step)
    average = jax.lax.cond(
      rule.due(state.step),
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
