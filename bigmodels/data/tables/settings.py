"""Settings of a table that name columns: what each column is used for."""

from collections.abc import Mapping
from typing import Any

from bigmodels.core.errors import UserError, nearest

KINDS = ('text', 'numbers')


def names_of(value: str | tuple[str, ...]) -> tuple[str, ...]:
  """Returns the names in a tuple, or in text separated by commas."""
  if not isinstance(value, str):
    return tuple(dict.fromkeys(map(str, value)))
  return tuple(dict.fromkeys(n.strip() for n in value.split(',') if n.strip()))


def types_of(value: str | Mapping[str, str]) -> dict[str, str]:
  """Returns column -> 'text' or 'numbers', from a mapping or `zip:text,age:numbers`.

  Raises:
    UserError: for another type.
  """
  if isinstance(value, str):
    pairs = [each.rpartition(':') for each in names_of(value)]
    value = {name.strip(): kind.strip() for name, _, kind in pairs}
  for name, kind in value.items():
    if kind not in KINDS or not name:
      raise UserError(f'types: must be COLUMN:text or COLUMN:numbers, got '
                      f'{f"{name}:{kind}".strip(":")!r}{nearest(str(kind), KINDS)}')
  return dict(value)


def texts(table: Any) -> tuple[str, ...]:
  """Returns the columns that a `Table` needs as they are written."""
  split = [table.splits] if isinstance(table.splits, str) else []
  return tuple(n for n in (*table.id, table.group, table.time, *split) if n)


def others(table: Any) -> tuple[str, ...]:
  """Returns the columns of a `Table` that are neither features nor the label."""
  return tuple(dict.fromkeys((*texts(table), *([table.weight] * bool(table.weight)))))


def check_roles(table: Any) -> None:
  """Refuses settings of a `Table` that contradict each other.

  Raises:
    UserError: naming the settings.
  """
  _check_label(table)
  fields = {'drop': table.drop, 'id': table.id, 'columns': table.columns,
            'weight': names(table.weight), 'group': names(table.group),
            'time': names(table.time),
            'splits': names(table.splits if isinstance(table.splits, str) else None)}
  for field, columns in fields.items():
    if table.label in columns:
      raise UserError(f'{field}: {table.label!r} is the label, which can have no other '
                      'role')
  for field in ('id', 'weight', 'group', 'time', 'splits'):
    for other in ('drop', 'columns'):
      if both := [name for name in fields[field] if name in fields[other]]:
        raise UserError(f'{field}: {both[0]!r} is in {other} too; ' + (
          'leave it out there' if other == 'drop' else f'{field} makes it no feature'))
  if both := [name for name in table.columns if name in table.drop]:
    raise UserError(f'drop: {both[0]!r} is in columns too')
  if table.weight and table.weight in texts(table):
    raise UserError(f'weight: {table.weight!r} has another use too')
  if table.types.get(table.weight) == 'text':
    raise UserError(f'types: {table.weight!r} is the weight, which is a number')
  column = isinstance(table.splits, str)
  for one, other, what in (
    (table.group, table.time, 'group and time'),
    (column, table.time, 'splits=COLUMN and time'),
    (column, table.test, 'splits=COLUMN and test'),
    (table.stratified, table.time, 'stratified and time'),
    (table.stratified, column, 'stratified and splits=COLUMN')):
    if one and other:
      raise UserError(f'{what}: both say which rows are in which split; set one')
  if table.stratified not in (None, True, False):
    raise UserError('stratified: must be True, False or None, got '
                    f'{table.stratified!r}')
  if table.stratified and (
    table.task != 'classification' or table.threshold == 'median'):
    raise UserError('stratified: needs classes in the file; not with '
                    + (f'task={table.task!r}' if table.task != 'classification' else
                       "threshold='median'"))
  if table.types.get(table.label) == 'text' and (
    table.task == 'regression' or table.threshold is not None):
    what = "task='regression'" if table.task == 'regression' else 'a threshold'
    raise UserError(f'types: the label {table.label!r} is text, whose values are not '
                    f'classes with {what}')


def _check_label(table: Any) -> None:
  """Refuses a label without a task, and a task or a threshold without a label."""
  tasks = ('classification', 'regression')
  if table.task is not None and table.task not in tasks:
    raise UserError(f'task: no task {table.task!r}{nearest(str(table.task), tasks)}')
  if table.label is None:
    for name in ('task', 'threshold'):
      if getattr(table, name) is not None:
        raise UserError(f'{name}: is for a label, which is not set')
  elif table.task is None:
    raise UserError(f'task: must be one of {", ".join(tasks)}, for the label '
                    f'{table.label!r}')


def names(value: str | None) -> tuple[str, ...]:
  """Returns one name or none."""
  return (value,) if value else ()


def features(table: Any, file: Any) -> list[str]:
  """Returns the columns of a file that become features, in its order.

  Args:
    table: a `Table`.
    file: a `table_files.File`.

  Raises:
    UserError: for a column that the file lacks, or whose values are neither numbers nor
      text.
  """
  there = file.frame
  for field in ('columns', 'drop', 'id', 'types'):
    for name in getattr(table, field):
      if name not in there:
        raise UserError(f'{field}: no column {name!r}{nearest(name, there)}')
  for field in ('weight', 'group', 'time', 'splits'):
    name = getattr(table, field)
    if isinstance(name, str) and name not in there:
      raise UserError(f'{field}: no column {name!r}{nearest(name, there)}')
  no_feature = {table.label, *table.drop, *others(table)}
  found = [name for name in there if name not in no_feature and (
    not table.columns or name in table.columns)]
  for name in (*found, table.label, *others(table)):
    if name in file.refused:
      why = file.refused[name]
      raise UserError(why if name in found else why.partition('; ')[0])
  return found
