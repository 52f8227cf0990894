"""Cross-validation: the runs of all folds, and the results of all of them together."""

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.config import config_file
from bigmodels.config.resolving import Resolved
from bigmodels.core import console, digests
from bigmodels.data.folds import HELD_OUT, ROW
from bigmodels.data.readers.reader import Chunk
from bigmodels.data.sources import Columns, Dataset
from bigmodels.distributed.processes import ProcessGroup
from bigmodels.logs import report
from bigmodels.storage.predictions import PredictionsFile
from bigmodels.storage.records import read_metrics
from bigmodels.storage.workdir import Workdir
from bigmodels.training import evaluation, inference, member_runs, results
from bigmodels.training.build import Built
from bigmodels.training.compile import compile_traced
from bigmodels.training.member_runs import MemberRun, together
from bigmodels.training.runs import Run
from bigmodels.training.stop import Stop

_SECONDS = ('train_seconds', 'evaluate_seconds', 'checkpoint_seconds',
            'compile_seconds')


def train(resolved: Resolved, workdir: Workdir, group: ProcessGroup, stop: Stop, *,
          train_run: Callable[[MemberRun, Callable[[dict], None]], None],
          open_run: Callable[[MemberRun], Run]) -> None:
  """Trains the runs of all folds one after another, and writes their results.

  Each is resumed where it was; those that are finished stay as they are.

  Args:
    resolved: the experiment.
    workdir: in which each run has a folder.
    group: the processes of the run.
    stop: asked between the runs.
    train_run: (run, store) -> None; trains it. It calls `store` with `Built.data` when
      the run can begin.
    open_run: opens a finished run with its data.

  Raises:
    UserError: if a run cannot be built, resumed or written.
  """
  runs, say = member_runs.runs_of(resolved, workdir), group.say

  def store(data):
    if group.main:
      workdir.store(resolved, {**data, 'kept': {}})

  for number, run in enumerate(runs):
    with contextlib.ExitStack() as stack:
      if group.main:
        stack.enter_context(run.workdir.lock())
        stack.callback(run.workdir.remove_if_unused)
      if not _finished(run, group):
        say(f'fold {number} of {len(runs)}: {run.workdir.path}')
        train_run(run, store)
    if stop.name:
      break
  done = [run for run in runs if _finished(run, group)]
  found = None
  if len(done) == len(runs):
    opened = [open_run(run) for run in runs]
    found = pooled(opened)
    for run in opened:
      run.built.close()
  if not group.main:
    return
  result = write(workdir, resolved, done, found, say) if done else None
  if found is None:
    say(f'{stop.name}: {len(done)} of {len(runs)} folds are finished; to resume: '
        f'{console.COMMAND} --workdir={workdir.path}')
    return
  monitor = resolved.experiment.monitor
  say(results.headline(result, monitor and monitor.metric))
  say(f'report: {workdir.report}')


def _finished(run: MemberRun, group: ProcessGroup) -> bool:
  """Whether a run is finished, the same in every process."""
  return json.loads(group.broadcast(json.dumps(
    results.finished(run.workdir, group.say) is not None) if group.main else None))


class OutOfFold(NamedTuple):
  """What the runs of all folds give for the examples that each held out.

  Attributes:
    metrics: flat name -> value, of all these examples.
    outputs: name -> `[n, ...]`, of the fold 0, then of fold 1, ...; `row` numbers them.
    folds: the fold of each, int `[n]`.
    built: the first run, with all these examples as its split `held_out`.
    overlap: examples held out for each that is trained on, the mean of folds.
  """

  metrics: dict[str, Any]
  outputs: dict[str, np.ndarray]
  folds: np.ndarray
  built: Built
  overlap: float


def pooled(runs: Sequence[Run]) -> OutOfFold:
  """Evaluates the run of each fold on what it held out, and pools the outputs.

  The probabilities of each are those of its own temperature. The metrics do not depend
  on thresholds that a run has chosen, of which each fold has its own.

  Args:
    runs: of all folds, in order, with their data.
  """
  parts, folds, rows, datasets = [], [], [], []
  for number, run in enumerate(runs):
    programs = compile_traced(run.traced, only=(HELD_OUT,))
    mine = evaluation.parts_of(run.built, programs, HELD_OUT, run.state)
    if run.temperature is not None:
      apply = run.built.task.calibration.apply
      mine = [(metrics, apply(outputs, run.temperature)) for metrics, outputs in mine]
    there = np.flatnonzero(np.concatenate([out['mask'] for _, out in mine]) > 0)
    start = sum(dataset.length for dataset in datasets)
    datasets.append(run.built.evals[HELD_OUT].dataset)
    rows.append(start + there)
    folds.append(np.full(len(there), number))
    parts += mine
  built = runs[0].built
  metrics, outputs = evaluation.of_parts(built, HELD_OUT, parts)
  loader = built.evals[HELD_OUT]
  return OutOfFold(
    metrics, {**outputs, 'row': np.concatenate(rows)}, np.concatenate(folds),
    built._replace(evals={HELD_OUT: loader._replace(dataset=_joined(datasets))}),
    float(np.mean([each.length / run.built.train.dataset.length
                   for each, run in zip(datasets, runs, strict=True)])))


def _joined(datasets: Sequence[Dataset]) -> Dataset:
  """The examples of several splits, one after the other; they are only read."""
  starts = np.cumsum([0, *(dataset.length for dataset in datasets)])

  def each(index, of):
    """What `of` gives for examples, in their order."""
    found = [None] * len(index)
    number = np.searchsorted(starts, index, 'right') - 1
    for split in np.unique(number):
      at = np.flatnonzero(number == split)
      for place, value in zip(at, of(datasets[split], index[at] - starts[split]),
                              strict=True):
        found[place] = value
    return found

  def read(index: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
    del seeds

    def rows(dataset, index):
      columns = dataset.read(index)
      return [{name: values[i] for name, values in columns.items()}
              for i in range(len(index))]

    found = each(np.asarray(index), rows)
    return {name: np.stack([row[name] for row in found]) for name in found[0]}

  first = datasets[0]
  return first._replace(
    length=int(starts[-1]), read=read, origin=None, labels=None, compact=None,
    ids={name: np.concatenate([dataset.ids[name] for dataset in datasets])
         for name in first.ids},
    words=first.words and (lambda index: each(
      np.asarray(index), lambda dataset, rows: dataset.words(rows))))


def write(workdir: Workdir, resolved: Resolved, runs: Sequence[MemberRun],
          found: OutOfFold | None, say: Callable[[str], None]) -> dict[str, Any]:
  """Writes the results of a cross-validation: JSON, the report, and predictions.

  Args:
    workdir: of the cross-validation.
    resolved: its experiment.
    runs: of the folds that have a result.
    found: what all folds give; None if it was stopped.
    say: prints a line.

  Returns:
    what `result.json` holds.
  """
  every = [run.workdir.read_json(run.workdir.result) for run in runs]
  metrics = together([result['metrics'] for result in every])
  if len(runs) == 1:
    metrics = {name: [value] for name, value in metrics.items()}
  result = {
    **{name: every[0][name] for name in (
      'experiment', 'mesh', 'precision', 'parameters', 'device', 'versions')},
    'status': 'stopped' if found is None else 'finished',
    'stopped_by': None if found is None else 'folds',
    'step': max(each['step'] for each in every),
    'steps': max(each['steps'] for each in every),
    'best_step': None,
    'best_steps': [each['best_step'] for each in every],
    'metrics': metrics,
    'folds': [run.resolved.experiment.fold for run in runs],
    'statistics': {} if found is None else results.statistics(metrics, found.overlap),
    'pooled': {} if found is None else found.metrics,
    'threshold': None,
    'temperature': None,
    **{name: sum(each[name] for each in every) for name in _SECONDS},
  }
  result['examples_per_second'] = _rate(every)
  result['utilization'] = {'train_fraction': result['train_seconds'] / max(
    sum(result[name] for name in _SECONDS), 1e-9)}
  records = _records([read_metrics(run.workdir) for run in runs])
  workdir.write(workdir.metrics, ''.join(json.dumps(r) + '\n' for r in records))
  plots = {}
  if found is not None:
    if found.built.task.predictions:
      _write_predictions(workdir, found, say)
    plots[HELD_OUT] = results.plots_of(found.built, HELD_OUT, found.outputs, say)
  with workdir.writing():
    report.write(
      workdir.report, title=resolved.name, config_text=config_file.to_text(resolved),
      records=records, result=result, plots=plots,
      monitor=resolved.experiment.monitor and resolved.experiment.monitor.metric,
      classes=found and found.built.train.dataset.classes,
      data=runs[0].workdir.stored_data().kept.get('notes', ()))
  workdir.write_json(workdir.result, {**result, 'digest': digests.of_json(result)})
  return result


def _rate(every: Sequence[dict[str, Any]]) -> float:
  """Examples a second of all runs: of each its own, weighted by its time."""
  seconds = [each['train_seconds'] for each in every]
  return sum(each['examples_per_second'] * part for each, part in zip(
    every, seconds, strict=True)) / max(sum(seconds), 1e-9)


def _records(logs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
  """The logs of several runs as one, with a list for each metric."""
  by_step = [{record['step']: record for record in log} for log in logs]
  found = []
  for step in sorted({step for log in by_step for step in log}):
    each = [log.get(step) for log in by_step]
    values = together(each) if len(each) > 1 else {
      name: [value] for name, value in each[0].items()}
    found.append({**values, 'step': step})
  return found


def _write_predictions(workdir: Workdir, found: OutOfFold, say: Callable[[str], None]
                       ) -> None:
  """Writes the out-of-fold predictions, in the order of the training split."""
  built, rows = found.built, found.outputs['row']
  every = built.evals[HELD_OUT].dataset.ids
  ids = {name: column[rows] for name, column in every.items()}
  numbers = ids.pop(ROW).astype(int)
  order = np.argsort(numbers, kind='stable')
  extra = {**{name: column[order] for name, column in ids.items()},
           'fold': found.folds[order]}
  labels, classes = found.outputs.get('labels'), built.train.dataset.classes
  if np.ndim(labels) == 1:
    labels = labels[order]
    extra['label'] = np.array(classes, object)[labels] if (
      classes and labels.dtype.kind in 'iu') else labels
  outputs = {name: found.outputs[name][order] for name in built.task.predictions}
  chunk = Chunk({}, numbers[order], 1.0, extra=extra)
  path = workdir.path / 'out_of_fold.csv'
  file = PredictionsFile(path, None, overwrite=True)
  file.write(inference.table(built, [inference.Predicted(chunk, outputs)]))
  file.finish()
  say(f'out-of-fold predictions: {path}')
