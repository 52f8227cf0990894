"""Evaluation of a split: every example exactly once."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import optim
from bigmodels.config import Experiment
from bigmodels.core.errors import UserError, as_user_error, listed, nearest
from bigmodels.data.batches import Loader
from bigmodels.learners.learner import Metrics
from bigmodels.training.build import Built
from bigmodels.training.compile import Programs, data_keys


def values_of(metrics: Metrics) -> dict[str, Any]:
  """Flat name -> value of metrics, a number or nested lists of numbers.

  A metric that gives a dict becomes `name/key`; one that counted nothing is left out.

  Raises:
    UserError: for a metric that cannot be computed, or is not numbers.
  """
  found: dict[str, Any] = {}
  for name, metric in metrics.items():
    with as_user_error(f'the metric {name!r} has no value'):
      found |= _flat(name, metric.compute())
  return found


def _flat(name: str, value: Any) -> dict[str, Any]:
  """Flat name -> number, or nested lists of numbers."""
  if isinstance(value, Mapping):
    return {k: v for key, each in value.items()
            for k, v in _flat(f'{name}/{key}', each).items()}
  return {} if value is None else {name: np.asarray(value, np.float64).tolist()}


def number_of_batches(loader: Loader) -> int:
  """Batches of an evaluation."""
  return math.ceil(loader.order.length / loader.order.batch_size)


def evaluate(built: Built, programs: Programs, name: str, state: Any,
             most: int | None = None, threshold: float | None = None,
             temperature: float | None = None
             ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Evaluates every example of a split exactly once.

  Args:
    built: the experiment.
    programs: compiled from it.
    name: of the split.
    state: to evaluate.
    most: batches to look at; None for all.
    threshold: of the run, for metrics of its predictions; None for one that the
      experiment sets, if any.
    temperature: of the run's probabilities, which those metrics are of that come from
      the outputs; None if they are not calibrated.

  Returns:
    flat name -> value, such as `test/accuracy`; and the outputs of all examples that
    are not masked, `[n, ...]`, with `row`, int `[n]`, which of the split each is.
  """
  return of_parts(built, name, parts_of(built, programs, name, state, most),
                  threshold, temperature)


def parts_of(built: Built, programs: Programs, name: str, state: Any,
             most: int | None = None) -> list[Any]:
  """What each batch of an evaluation gives: metrics and outputs, on the host.

  Args:
    built, programs, name, state, most: see `evaluate`; of a population, all members.
  """
  loader = built.evals[name]
  batches = min(number_of_batches(loader), most or math.inf)
  return jax.device_get([
    programs.evaluate(name, state, loader.host_batch(i, 1)) for i in range(batches)])


def of_parts(built: Built, name: str, parts: Sequence[Any],
             threshold: float | None = None, temperature: float | None = None
             ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """The metrics and outputs of an evaluation; see `evaluate`.

  Args:
    built, name, threshold, temperature: see `evaluate`.
    parts: of one run; see `parts_of`.

  Returns:
    flat name -> value; name -> outputs `[n, ...]`.
  """
  metrics = functools.reduce(
    functools.partial(jax.tree.map, np.add),
    (jax.tree.map(np.float64, part) for part, _ in parts))
  outputs = {key: np.concatenate([part[key] for _, part in parts])
             for key in parts[0][1]}
  rows = np.flatnonzero(outputs.pop('mask') > 0)  # evaluation goes in order
  outputs = {key: values[rows] for key, values in outputs.items()}
  if temperature is not None:
    outputs = built.task.calibration.apply(outputs, temperature)
  # The summary comes first: the report shows the first metrics as headlines.
  summary: dict[str, Any] = {}
  with as_user_error(f'{name}: the outputs cannot be summarized by the task'):
    for key, value in (built.task.summarize(outputs) if built.task.summarize else {}
                       ).items():
      summary |= _flat(key, value)
    if threshold is None and built.task.threshold and (
      not isinstance(built.task.threshold.by, str)):
      threshold = built.task.threshold.by
    if threshold is not None:
      summary |= built.task.threshold.summarize(outputs, threshold)
  found = summary | values_of(metrics) | summary
  return {f'{name}/{key}': value for key, value in found.items()}, (
    {**outputs, 'row': rows})


# --- the monitored metric -------------------------------------------------------


def check_monitor(built: Built, programs: Programs, state: Any) -> None:
  """Refuses a monitor of what no evaluation gives, before anything is trained.

  Args:
    built: the experiment.
    programs: compiled from it.
    state: a fresh one, to evaluate.

  Raises:
    UserError: also for an optimizer that follows a monitor where there is none.
  """
  monitor = built.experiment.monitor
  if monitor:
    # The first batch gives most metrics; some need an example of every class.
    for most in (1, None):
      record, _ = evaluate(
        built, programs, monitor.metric.partition('/')[0], state, most)
      if monitor.metric in record:
        return
    monitored(built.experiment, record)
  elif optim.needs_monitor(state.opt_state):
    raise UserError('optim.reduce_on_plateau follows an evaluation metric: set monitor '
                    'in the experiment')


def monitored(experiment: Experiment, record: Mapping[str, Any]) -> np.ndarray | None:
  """The value of the monitored metric, float64 `[...]`; None without a monitor.

  Raises:
    UserError: if an evaluation did not give it.
  """
  if experiment.monitor is None:
    return None
  name = experiment.monitor.metric
  if name not in record:
    raise UserError(f'--config.monitor.metric: no metric {name!r}'
                    f'{nearest(name, record)}')
  return np.asarray(record[name], np.float64)


def lacks_monitor(experiment: Experiment, name: str, record: Mapping[str, Any]
                  ) -> bool:
  """Returns whether an evaluation of a split did not give the monitored metric.

  Args:
    experiment: with the monitor, if any.
    name: of the split.
    record: flat name -> value, what the evaluation gave.
  """
  monitor = experiment.monitor
  return bool(monitor) and monitor.metric not in record and (
    monitor.metric.partition('/')[0] == name)


def score(value: np.ndarray | None) -> float | None:
  """What picks the best checkpoint: the value `[...]`, or its mean over members."""
  return None if value is None else float(np.mean(value))


# --- values that are not finite -------------------------------------------------


def not_finite_inputs(built: Built, name: str, state: Any, index: int) -> str:
  """Which inputs of a batch its transforms made not finite, in a sentence, or ''.

  Args:
    built: the experiment.
    name: of the split, or 'train'.
    state: of the learner before that batch.
    index: which batch.
  """
  experiment = built.experiment
  loader, source = (built.train, experiment.train) if name == 'train' else (
    built.evals[name], experiment.evals[name])
  batch = jax.jit(loader.batch)(
    loader.resident, loader.host_batch(index, 1), 0,
    data_keys(state, loader, built.layout))
  rows = np.asarray(batch['row'])
  good = np.ones(rows.shape, bool)
  for column in built.task.inputs:
    if column in batch and jnp.issubdtype(batch[column].dtype, jnp.floating):
      values = np.asarray(batch[column], np.float32)
      good &= np.isfinite(values).reshape(*rows.shape, -1).all(-1)
  bad = rows[~good & (np.asarray(batch['mask']) > 0)]
  if not bad.size:
    return ''
  transforms = ', '.join(getattr(getattr(each, 'func', each), '__name__', repr(each))
                         for each in source.transforms)
  return (f'The inputs of {name!r} are finite as they are read, but not after its '
          f'transforms ({transforms}): rows {listed(bad.tolist())}')
