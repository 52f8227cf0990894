"""Columns of a table of runs: values, conditions on them, and which ones differ."""

import collections
import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bigmodels.core import config_text
from bigmodels.core.errors import UserError, did_you_mean, listed, one_line
from bigmodels.logs.formats import duration
from bigmodels.storage.listing import RunSummary

FIXED: dict[str, Callable[[RunSummary], str | float | None]] = {
  'run': lambda run: run.name,
  'experiment': lambda run: run.experiment.rpartition('/')[2],
  'state': lambda run: run.state, 'step': lambda run: run.step,
  'time': lambda run: run.seconds}
_COMPARE = {
  '=': operator.eq, '!=': operator.ne, '<': operator.lt, '<=': operator.le,
  '>': operator.gt, '>=': operator.ge}
_CONDITION = re.compile(r'\s*([^\s=!<>]+)\s*(==?|!=|<=|>=|<|>)\s*'
                        r"('[^']*'|\"[^\"]*\"|[^\s'\"]+)\s*")
_NAMED = 200  # names that an error looks through for a near one


def value(run: RunSummary, column: str) -> str | float | None:
  """The value of a column for a run; None if it has none.

  Args:
    run: the run.
    column: one of `FIXED`, the name of a metric, a knob, or a path of the config.
  """
  if column in FIXED:
    return FIXED[column](run)
  if column in run.metrics:
    return run.metrics[column]
  text = run.config.get(column, run.config.get(f'knob.{column}'))
  return None if text is None else config_text.plain(text)


def check(column: str, runs: Sequence[RunSummary], flag: str) -> str:
  """Returns the name of a column.

  Args:
    column: the name.
    runs: all runs.
    flag: which names it, for the error.

  Raises:
    UserError: if no run has it; names a column that is close.
  """
  if column in FIXED or not runs or any(
    value(run, column) is not None for run in runs):
    return column
  names = collections.Counter(name.removeprefix('knob.') for run in runs
                              for name in (*run.metrics, *run.config))
  legal = [*FIXED, *(name for name, _ in names.most_common(_NAMED))]
  close = did_you_mean(column, legal) or (
    f'; must be one of {", ".join(FIXED)}, a metric, a knob, or a path of config.txt')
  raise UserError(f'{flag}: no run has {one_line(column)!r}{close}')


def where(text: str, runs: Sequence[RunSummary]) -> list[RunSummary]:
  """The runs for which all conditions hold.

  Args:
    text: conditions `COLUMN OPERATOR VALUE`, joined by `and`, such as
      `test/accuracy>0.9 and experiment=cifar_cnn`; operators are =, !=, <, <=, >, >=.
      Numbers are compared as numbers. A value with spaces is in quotes. A run without a
      value does not satisfy any condition on it.
    runs: all runs.

  Raises:
    UserError: for a text that is not as described, or a column that no run has.
  """
  position = 0
  while True:
    found = _CONDITION.match(text, position)
    if not found:
      raise UserError('--where: must be COLUMN OPERATOR VALUE, joined by `and`, such '
                      f'as test/accuracy>0.9; got {one_line(text[position:], 60)!r}')
    column, operator, wanted = found.groups()
    check(column, runs, '--where')
    quoted = wanted[0] in '\'"'
    wanted = wanted[1:-1] if quoted else config_text.plain(wanted)
    compare = _COMPARE['=' if operator == '==' else operator]
    runs = [run for run in runs if _holds(compare, value(run, column), wanted)]
    position = found.end()
    if position == len(text):
      return runs
    if not re.match(r'and\s', text[position:]):
      raise UserError('--where: conditions are joined by `and`, got '
                      f'{one_line(text[position:], 60)!r}')
    position += 3


def _holds(compare, found, wanted) -> bool:
  if found is None:
    return False
  if isinstance(found, str) or isinstance(wanted, str):
    found, wanted = str(found), str(wanted)
  return compare(found, wanted)


def ordered(runs: Sequence[RunSummary], column: str) -> list[RunSummary]:
  """Sorts runs by a column, `-COLUMN` for the largest first; those without it are last.

  Raises:
    UserError: if no run has it.
  """
  name = column.removeprefix('-')
  check(name, runs, '--sort')
  have = [run for run in runs if value(run, name) is not None]
  have.sort(key=lambda run: _rank(value(run, name)), reverse=column.startswith('-'))
  return have + [run for run in runs if value(run, name) is None]


def _rank(found):
  return (1, 0.0, found) if isinstance(found, str) else (0, found, '')


class Columns(NamedTuple):
  """The columns that describe a set of runs.

  Attributes:
    metrics: the monitored ones, or else the first evaluated, and the first of 'test'.
    settings: paths of the config whose values differ, knobs first. Of paths that always
      differ together, one is there.
  """

  metrics: list[str]
  settings: list[str]


def columns(runs: Sequence[RunSummary]) -> Columns:
  """Chooses the columns of runs."""
  counts = collections.Counter(filter(None, (run.monitor for run in runs)))
  for run in runs:
    first = next((name for name in run.metrics if name.count('/') == 1
                  and not name.startswith('train/')), None)
    test = next((name for name in run.metrics if name.count('/') == 1
                 and name.startswith('test/') and not name.endswith('/loss')), None)
    counts.update(filter(None, {None if run.monitor else first, test}))
  settings, seen = [], set()
  paths = dict.fromkeys(path for run in runs for path in run.config)
  for path in sorted(paths, key=lambda p: not p.startswith('knob.')):
    texts = [run.config.get(path) for run in runs]
    if path == 'experiment' or len({*texts} - {None}) < 2:
      continue
    first = {}
    groups = tuple(first.setdefault(text, len(first)) for text in texts)
    if groups not in seen:
      seen.add(groups)
      settings.append(path.removeprefix('knob.'))
  return Columns([name for name, _ in counts.most_common(3)], settings)


def shown(run: RunSummary, column: str) -> str:
  """The value of a column as text."""
  found = value(run, column)
  if found is None:
    return ''
  if column == 'time':
    return duration(found)
  if isinstance(found, bool | str):
    return one_line(str(found), 60)
  if isinstance(found, int):
    return f'{found:,}' if column == 'step' else str(found)
  return f'{found:.4f}' if column in run.metrics and 1e-3 <= abs(found) < 1e4 else (
    f'{found:.6g}')


def table(runs: Sequence[RunSummary], names: Sequence[str], settings: Sequence[str],
          width: int | None) -> list[str]:
  """The lines of a table.

  Args:
    runs: one a line.
    names: columns that are always there.
    settings: columns that are there as far as they fit.
    width: characters of a line; None for any number.
  """
  def made(column):
    cells = [column, *(shown(run, column) for run in runs)]
    most = max(map(len, cells))
    right = any(isinstance(value(run, column), int | float) for run in runs)
    return [f'{cell:>{most}}' if right else f'{cell:<{most}}' for cell in cells]

  found, left = [made(name) for name in names], []
  used = sum(len(cells[0]) + 2 for cells in found)
  for column in settings:
    cells = made(column)
    if width is None or used + len(cells[0]) <= width:
      found.append(cells)
      used += len(cells[0]) + 2
    else:
      left.append(column)
  lines = ['  '.join(row).rstrip() for row in zip(*found, strict=True)]
  if left:
    lines.append(f'{len(left)} more settings differ: {listed(left)} (--columns shows '
                 'them, and so does the page)')
  return lines
