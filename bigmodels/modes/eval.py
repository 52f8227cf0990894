"""--mode=eval: evaluates the best checkpoint of a workdir, on its data or on other."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodels.cli.request import Request
from bigmodels.config import config_file
from bigmodels.config.resolving import Resolved
from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, nearest
from bigmodels.logs import report
from bigmodels.storage.records import read_result
from bigmodels.storage.workdir import Workdir
from bigmodels.training import results
from bigmodels.training.folded import folded
from bigmodels.training.runs import Run


def run(request: Request, *, split: str | None = None, data: list[str] | None = None,
        output: str | None = None, overwrite: bool = False) -> None:
  """Evaluates the best checkpoint, and compares the result with `result.json`.

  Args:
    request: the flags of every mode.
    split: evaluate only this one.
    data: evaluate these files, in place of the data of the split: files, folders or
      patterns such as 'new/*.csv', with labels.
    output: write a report of the evaluation to this .html file.
    overwrite: replace the report if it exists.

  Raises:
    UserError: if there is no workdir, or its run cannot be opened.
  """
  request, reading = request.reading() if data else (request, {})
  workdir, resolved = request.recorded(with_data=not data)
  splits = _splits(resolved, split, data)
  given, skipped = request.matching(data, '--data') if data else ([], [])
  target = None if output is None else paths.output(output, ('.html', '.htm'))
  if target and files.exists(target) and not overwrite:
    raise UserError(f'--output={target}: exists; choose another, or replace it with '
                    '--overwrite')
  with request.opened(workdir, resolved, with_data=not given) as (group, run):
    say = group.say
    for line in skipped:
      say(line)
    metrics, outputs, evaluated = run.evaluated(*splits, data=given, **reading)
    for name, value in metrics.items():
      say(f'  {name}: {value!r}')
    if not given:
      _compare(workdir, resolved, run.step, metrics, say)
    if target and group.main:
      _report(target, evaluated, metrics, outputs, given, say)


def _splits(resolved: Resolved, split: str | None, data: list[str] | None
            ) -> tuple[str, ...]:
  """The splits to evaluate; none for all."""
  names = [*folded(resolved.experiment).evals]
  if split is not None and split not in names:
    raise UserError(f'--split={split}: no such split{nearest(split, names)}')
  if data and split is None and len(names) != 1:
    raise UserError('--data: set --split as well, to evaluate as the run evaluates '
                    f'{" or ".join(names)}')
  return tuple(names if split is None else [split]) if data or split else ()


def _report(path: pathlib.Path, run: Run, metrics: dict[str, Any],
            outputs: dict[str, dict[str, np.ndarray]], given: list[pathlib.Path],
            say: Callable[[str], None]) -> None:
  """Writes the plots and metrics of an evaluation."""
  more = {'threshold': run.threshold} if run.built.task.threshold else {}
  plots = {name: results.plots_of(run.built, name, found, say, **more)
           for name, found in outputs.items()}
  on = [f'evaluated on {path}' for path in given]
  report.write(
    path, title=f'Evaluation of {run.path}', records=(), plots=plots,
    config_text=config_file.to_text(run.resolved), classes=run.classes,
    result={'experiment': run.resolved.name, 'metrics': metrics, 'best_step': run.step,
            'versions': results.versions()},
    data=[*on, *run.built.data['kept'].get('notes', ())])
  say(f'report: {path}')


def _compare(workdir: Workdir, resolved: Resolved, step: int, found: dict[str, Any],
             say: Callable[[str], None]) -> None:
  """Prints whether metrics are those of `result.json`."""
  result = read_result(workdir, say) or {'metrics': {}}
  before = result['metrics']
  changed = [k for k, v in found.items() if k in before and before[k] != v]
  if changed:
    say('different from result.json: ' + ', '.join(
      f'{k} was {before[k]!r}' for k in changed))
    for line in _causes(result, resolved, step):
      say(f'  {line}')
  elif before:
    say('the same numbers as in result.json')


def _causes(result: dict, resolved: Resolved, step: int) -> list[str]:
  """Changes since a result was written that can change its numbers."""
  before, now = result.get('versions', {}), results.versions()
  gone = result['best_step'] not in (None, step)
  return [*resolved.notes, *[f'result.json is of step {result["best_step"]}, whose '
                             'checkpoint is missing'] * gone, *(
    f'{name} was {before[name]} when result.json was written, it is {now[name]} now'
    for name in now if name in before and before[name] != now[name])] or [
    'result.json was written with the same code and versions']
