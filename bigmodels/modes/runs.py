"""--mode=runs: lists the runs below --workdir, as a table and as a page with curves."""

import os
import pathlib
import shutil
import sys

from bigmodels.cli.request import Request
from bigmodels.core import paths
from bigmodels.core.errors import UserError
from bigmodels.logs import run_table, runs_page
from bigmodels.storage import listing

USES_CACHE = USES_JAX = False


def run(request: Request, *, sort: str | None = None, where: str | None = None,
        columns: str | None = None, curves: str | None = None,
        output: str | None = None) -> None:
  """Prints a table of runs, and writes a page.

  Args:
    request: the flags of every mode.
    sort: column to sort by, -COLUMN for the largest first; the oldest run is first if
      left out.
    where: conditions such as 'test/accuracy>0.9 and experiment=cifar_cnn', of columns;
      the operators are =, !=, <, <=, >, >=.
    columns: columns with commas, instead of the usual ones; run, experiment, state,
      step, time, the name of a metric, a knob, or a path of the config.
    curves: metrics with commas, to draw instead of those in the table.
    output: path of the page; index.html in --workdir if left out.

  Raises:
    UserError: if there is no such folder or no run in it, or for a column that no run
      has.
  """
  if request.workdir is None:
    raise UserError('--mode=runs: name the folder of the runs, --workdir=runs')
  root = paths.expanded(request.workdir, strict=True)
  page = root / 'index.html' if output is None else paths.output(
    output, ('.html', '.htm'))
  if not root.is_dir():
    raise UserError(f'--workdir={root}: there is no such folder')
  runs = listing.find(root, _say)
  if not runs:
    raise UserError(f'--workdir={root}: there is no run below this folder')
  every = runs
  if where is not None:
    runs = run_table.where(where, runs)
  if sort is not None:
    runs = run_table.ordered(runs, sort)
  found = run_table.columns(runs)
  names, settings = [*run_table.FIXED], found.settings
  names[3:3] = found.metrics
  if columns is not None:
    names = [run_table.check(name.strip(), every, '--columns')
             for name in columns.split(',')]
    settings = []
  drawn = [*found.metrics, *(['train/loss'] if any(
    'train/loss' in run.metrics for run in runs) else [])]
  if curves is not None:
    drawn = [run_table.check(name.strip(), every, '--curves')
             for name in curves.split(',')]
  width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
  for line in run_table.table(runs, names, settings, width):
    print(line)
  for each in runs:
    if each.problem:
      print(f'{each.name} is damaged: {each.problem}')
  print(f'{len(runs):,} of {len(every):,} runs' if len(runs) < len(every) else
        f'{len(runs):,} runs')
  if output is None and not os.access(root, os.W_OK):
    _say(f'{root} cannot be written: no page; --output=FILE.html writes one')
    return
  _write(page, root, runs, [*names, *settings], drawn)


def _write(page: pathlib.Path, root, runs, columns, drawn):
  try:
    runs_page.write(page, f'Runs in {root}', runs, columns, drawn, _say)
  except OSError as error:
    raise UserError(f'--output={page}: {error.strerror}') from error
  print(f'page: {page}')


def _say(line: str) -> None:
  print(line, file=sys.stderr)
