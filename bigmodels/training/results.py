"""The results of a run: `result.json` for programs, the report for people."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax
import jax
import numpy as np
import optax

from bigmodels.config import config_file, resolving
from bigmodels.core import digests
from bigmodels.core.errors import message_of
from bigmodels.core.paths import CHECKOUT
from bigmodels.core.version import VERSION
from bigmodels.learners import State
from bigmodels.logs import report
from bigmodels.logs.values import line
from bigmodels.logs.values import members as members_of
from bigmodels.plots import Inputs, Table
from bigmodels.storage import snapshots
from bigmodels.storage.checkpoint import Damaged
from bigmodels.storage.records import read_metrics, read_result
from bigmodels.storage.workdir import Workdir
from bigmodels.techniques import averages
from bigmodels.training import temperatures, thresholds
from bigmodels.training.build import Built
from bigmodels.training.compile import Programs, compile_traced, trace
from bigmodels.training.loop import Loop
from bigmodels.training.member_runs import NOT_FINITE, Member, together
from bigmodels.training.progress import TrainingProgress


def finished(workdir: Workdir, say: Callable[[str], None]) -> dict[str, Any] | None:
  """The result of a finished run, or None."""
  result = read_result(workdir, say)
  return result if result and result['status'] == 'finished' else None


def write(workdir: Workdir, resolved: resolving.Resolved, loop: Loop, device: str
          ) -> None:
  """Writes `report.html` and `result.json`; every process takes part.

  Args:
    workdir: of the run, or of a population.
    resolved: its experiment.
    loop: the run, at its end or where it was stopped.
    device: what it ran on, in words.
  """
  if len(loop.members) == 1:
    _write_run(loop, loop.members[0], loop.programs, device)
    return
  built, programs = loop.built, loop.programs
  if any(member.finished for member in loop.members):
    programs = compile_traced(trace(
      built.learner, built.train._replace(others=()), built.evals, built.layout),
      tuple(built.evals))
  whole = [member for member in loop.members if member.progress.done != NOT_FINITE]
  for member in whole:
    _write_run(loop, member, programs, device)
  if not loop.group.main:
    return
  found = [member.run.workdir.read_json(member.run.workdir.result) for member in whole]
  metrics = together([result['metrics'] for result in found])
  result = _facts(resolved, loop, loop.progress, metrics, device) | {
    'best_step': None,
    'best_steps': [result['best_step'] for result in found],
    'seeds': [member.run.resolved.experiment.seed for member in whole],
    'not_finite': [member.run.resolved.experiment.seed for member in loop.members
                   if member not in whole],
    'statistics': statistics(metrics)}
  _write(workdir, resolved, loop, result, {})


def _write_run(loop: Loop, member: Member, programs: Programs, device: str) -> None:
  """Writes the results of one run; see `write`."""
  built, progress, main = loop.built, member.progress, loop.group.main
  _, resolved, workdir = member.run
  state = _best_state(loop, member)
  metrics, plots, chosen, fitted = dict(progress.metrics), {}, None, None
  if progress.done:
    given = built, programs, state, progress.best_step, loop.group.say
    fitted = temperatures.fit(*given)
    temperature = fitted and fitted['value']
    chosen = thresholds.choose(*given, temperature)
    threshold = chosen and chosen['value']
    for name in built.evals:
      found, outputs = loop.evaluate(
        name, programs, state, threshold, temperature)
      metrics |= found
      if main and built.task.plots:
        more = {} if built.task.snapshot is None else {'snapshots': snapshots.read(
          workdir, name, progress.step, loop.group.say)}
        if built.task.threshold:
          more['threshold'] = threshold
        plots[name] = plots_of(built, name, outputs, loop.group.say,
                               state if loop.group.count == 1 else None, **more)
  if main:
    result = _facts(resolved, loop, progress, metrics, device) | {
      'threshold': chosen, 'temperature': fitted}
    _write(workdir, resolved, loop, result, plots)


def _facts(resolved: resolving.Resolved, loop: Loop, progress: TrainingProgress,
           metrics: dict[str, Any], device: str) -> dict[str, Any]:
  """What `result.json` tells of any run."""
  built, seconds = loop.built, progress.seconds
  examples = progress.step * built.train.order.batch_size
  return {
    'experiment': resolved.name,
    'status': 'finished' if progress.done else 'stopped',
    'stopped_by': progress.done,
    'step': progress.step,
    'steps': built.steps,
    'epochs': examples / built.train.order.length,
    'best_step': progress.best_step,
    'metrics': metrics,
    'threshold': None,
    'temperature': None,
    'train_seconds': seconds['train'],
    'evaluate_seconds': seconds['evaluate'],
    'checkpoint_seconds': seconds['checkpoint'],
    'compile_seconds': seconds['compile'],
    'examples_per_second': examples / max(seconds['train'] + seconds['data'], 1e-9),
    'utilization': loop.throughput.summary(progress.step, seconds),
    'mesh': f'{built.layout.shape} ({built.layout.strategy})',
    'precision': built.precision,
    'parameters': sum(p.size for p in jax.tree.leaves(
      loop.programs.traced.carry.state.params)),
    'device': device,
    'versions': versions(),
  }


def statistics(metrics: Mapping[str, Any], overlap: float = 0.0
               ) -> dict[str, dict[str, Any]]:
  """Name of a metric -> its mean over runs, deviation, and interval of the mean.

  The interval is that of Student's t, at 95 %. Folds share training examples, so that
  their variance is too small; it is corrected (Nadeau and Bengio, 2003).

  Args:
    metrics: name -> a number of each run; one that a run lacks is left out.
    overlap: of folds, examples held out for each that is trained on.
  """
  from scipy import stats  # slow to import

  found = {}
  for name, values in metrics.items():
    array = members_of(values)
    if array is not None and array.ndim == 1 and len(array) > 1 and (
      np.isfinite(array).all()):
      mean, deviation = float(array.mean()), float(array.std(ddof=1))
      error = deviation * (1 / len(array) + overlap) ** 0.5
      half = float(stats.t.ppf(0.975, len(array) - 1)) * error
      found[name] = {'mean': mean, 'deviation': deviation,
                     'interval': [mean - half, mean + half]}
  return found


def _best_state(loop: Loop, member: Member) -> State:
  """The state of the best checkpoint, which is evaluated for the results."""
  progress, traced = member.progress, loop.programs.traced
  best = progress.best_step
  if len(loop.members) == 1 and (
    not progress.done or best in (None, progress.step)):
    return loop.carry.state
  if not progress.done:
    return traced.carry.state  # nothing is evaluated
  try:
    carry, _ = member.checkpoints.restore(
      progress.step if best is None else best, traced.carry)
  except Damaged as error:
    loop.group.say(f'the best checkpoint, of step {best}, is damaged ({error}): the '
                   f'results are those of step {progress.step}')
    progress.best_step = progress.step
    return traced.members.split(loop.carry, traced.carry)[
      loop.members.index(member)].state
  return carry.state


def _write(workdir: Workdir, resolved: resolving.Resolved, loop: Loop,
           result: dict[str, Any], plots: dict[str, Any]) -> None:
  """Writes the report and the result of a run, or of a population."""
  built = loop.built
  with workdir.writing():
    report.write(
      workdir.report, title=resolved.name, config_text=config_file.to_text(resolved),
      records=read_metrics(workdir), result=result, plots=plots,
      monitor=built.experiment.monitor and built.experiment.monitor.metric,
      classes=built.train.dataset.classes, data=built.data['kept'].get('notes', ()))
  # Last: a result that says finished has a report beside it.
  workdir.write_json(workdir.result, {**result, 'digest': digests.of_json(result)})


def plots_of(built: Built, name: str, outputs: dict[str, np.ndarray],
             say: Callable[[str], None], state: State | None = None, **more: Any
             ) -> dict[str, Any]:
  """Title -> figure of a split; none, and a warning, if they cannot be drawn.

  Args:
    built: the run.
    name: of the split.
    outputs: of all its examples, `[n, ...]`; see `evaluation.evaluate`.
    say: prints a line.
    state: for samples of what the model writes, or None for none.
    **more: further arguments of the task's plots.
  """
  found: dict[str, Any] = {}
  inputs = _inputs(built, name, outputs)
  with _reported('plots', name, say):
    found |= _figures(built, name, outputs, inputs, **more)
  with _reported('samples', name, say):
    found |= _samples(built, len(outputs['row']), inputs, state)
  return found


@contextlib.contextmanager
def _reported(what: str, name: str, say: Callable[[str], None]) -> Iterator[None]:
  """Turns an error into a warning: the numbers do not depend on it."""
  try:
    yield
  except Exception as error:
    say(f'warning: {name}: the report has no {what}: {message_of(error)}')


def _figures(built: Built, name: str, outputs: dict[str, np.ndarray], inputs: Inputs,
             **more: Any) -> dict[str, Any]:
  if built.task.plots is None:
    return {}
  figures = built.task.plots(
    outputs, inputs, built.evals[name].dataset.classes, **more)
  for title, figure in figures.items():
    if not isinstance(title, str) or not (
      hasattr(figure, 'savefig') or isinstance(figure, Table)):
      raise ValueError('plots: must be title -> figure or plots.Table, got '
                       f'{title!r}: {figure!r}')
  return figures


def _samples(built: Built, count: int, inputs: Inputs, state: State | None
             ) -> dict[str, Any]:
  """What the model writes; only on one device, where it is compiled in a moment."""
  if state is None or built.task.samples is None or built.layout.mesh.size > 1:
    return {}
  state = averages.evaluated(state)
  return built.task.samples(state.params, state.model_state, inputs, count)


def _inputs(built: Built, name: str, outputs: dict[str, np.ndarray]) -> Inputs:
  """The inputs of the examples that outputs are of."""
  dataset = built.evals[name].dataset

  def read(rows):
    columns = dataset.read(outputs['row'][rows])
    return columns[next(column for column in built.task.inputs if column in columns)]

  def words(rows):
    return dataset.words(outputs['row'][rows])

  return Inputs(read, dataset.words and words, dataset.features)


def versions() -> dict[str, str]:
  """The versions that results depend on."""
  return {'bigmodels': _own_version(), 'jax': jax.__version__,
          'flax': flax.__version__, 'optax': optax.__version__}


def _own_version() -> str:
  """The release and, in a checkout, the commit and whether it was changed."""
  if CHECKOUT is None:
    return VERSION
  command = ['git', '-C', str(CHECKOUT), 'describe', '--always', '--dirty',
             '--exclude=*']
  try:
    commit = subprocess.run(
      command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return VERSION
  return f'{VERSION}+{commit}' if commit else VERSION


def headline(result: dict[str, Any], monitor: str | None) -> str:
  """A result in a line; of several runs, means with half of their intervals.

  Of folds, the metrics of all that they held out follow.

  Args:
    result: as written to `result.json`.
    monitor: the monitored metric.
  """
  several = next((name for name in ('seeds', 'folds') if name in result), None)
  best = f'best {result["best_step"]:,}' if several is None else (
    f'{len(result[several])} {several}'.removesuffix('s' * (len(result[several]) == 1))
    + ''.join(f', seed {seed} not finite' for seed in result.get('not_finite', ())))
  pooled = result.get('pooled')
  spread = {name: each['interval'][1] - each['mean']
            for name, each in result.get('statistics', {}).items()}
  return (f'step {result["step"]:,}, {best}: '
          + line(result['metrics'], monitor, spread)
          + (f'; pooled: {line(pooled, monitor)}' if pooled else '')
          + f'; trained {result["train_seconds"]:.1f} s at '
          f'{result["examples_per_second"]:,.0f} examples/s, '
          f'{result["utilization"]["train_fraction"]:.0%} of the time')
