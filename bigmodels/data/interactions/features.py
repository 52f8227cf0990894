"""Features of users and items, from tables of their own."""

import dataclasses

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.frames import is_text, missing
from bigmodels.data.interactions.log import Log, shown
from bigmodels.data.tables import table_files
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.settings import names_of


@dataclasses.dataclass(frozen=True)
class Features:
  """A table with a row for each user, or for each item.

  Columns of numbers are standardized, and 0 where a value is missing; others are
  categories.

  Attributes:
    path: a file, a pattern, or several.
    id: the column that names the user or item.
    columns: the columns to use, `a,b` or `('a', 'b')`; none means all but `id`.
    header: names of the columns of a file without a header.
    delimiter, encoding: see `csv_dialects.Reading`.
  """

  path: str | tuple[str, ...]
  id: str
  columns: str | tuple[str, ...] = ()
  _: dataclasses.KW_ONLY
  header: tuple[str, ...] | None = None
  delimiter: str | None = None
  encoding: str | None = None

  def __post_init__(self):
    object.__setattr__(self, 'path', files.absolute(self.path, 'path') if isinstance(
      self.path, str) else tuple(files.absolute(each, 'path') for each in self.path))
    object.__setattr__(self, 'columns', names_of(self.columns))


def joined(users: Features | None, items: Features | None, log: Log,
           data_dir: str | None) -> tuple[dict[str, np.ndarray], int, list[str]]:
  """Returns `Catalog.features`, the number of categories, and lines about them.

  The features are `[users, k]` or `[items, k]`.

  Args:
    users, items: the tables, or None.
    log: has the names of the users and items.
    data_dir: the folder `--data_dir`, or None.

  Raises:
    UserError: if a table is missing, lacks a column, has two rows of one name, or none
      of a name of the log.
  """
  found, lines, count = {}, [], 0
  for what, table, names in (('user', users, log.users), ('item', items, log.items)):
    if table is None:
      continue
    try:
      numbers, categories, count, more = _of(table, names, count, data_dir)
    except UserError as error:
      raise UserError(f'{what}_features: {shown(table.path)}: {error}') from error
    found |= {f'{what}_{kind}': array for kind, array in (
      ('numbers', numbers), ('categories', categories)) if array.shape[1]}
    lines += [f'{shown(table.path)}: {line}' for line in more]
  return found, count, lines


def _of(table: Features, names: tuple[str, ...], first: int, data_dir: str | None
        ) -> tuple[np.ndarray, np.ndarray, int, list[str]]:
  """Numbers and categories `[names, k]`, the next category, and lines."""
  file = table_files.read(table_files.found(table.path, data_dir), Reading(
    table.delimiter, encoding=table.encoding, text=(table.id,), header=table.header))
  wanted = table.columns or tuple(n for n in file.frame if n != table.id)
  if table.id in wanted:
    raise UserError(f'columns: {table.id!r} is the id, which is no feature')
  for name in (table.id, *wanted):
    if name not in file.frame:
      raise UserError(f'no column {name!r}{nearest(name, file.frame)}')
    if name in file.refused:
      raise UserError(file.refused[name])
  if not wanted:
    raise UserError(f'has no column beside {table.id!r}')
  place: dict[str, int] = {}
  for row, name in enumerate(file.frame[table.id].tolist()):
    if not name:
      raise UserError(f'{file.where(row)}, column {table.id!r}: has no value')
    if name in place:
      raise UserError(f'{file.where(row)}: {table.id} {name!r} has two rows')
    place[name] = row
  rows = np.array([place.get(name, -1) for name in names])
  there, numbers, categories, kinds = rows >= 0, [], [], []
  if not there.any():
    raise UserError(f'column {table.id!r}: no name is one of the interactions: they '
                    f'have such as {names[0]!r}, this {next(iter(place))!r}')
  for name in wanted:
    column = file.frame[name]
    gone = int(missing(column).sum())
    none = f', {gone:,} missing' if gone else ''
    if is_text(column):
      values = sorted({*column[~missing(column)].tolist()})
      index = {value: first + 1 + i for i, value in enumerate(values)}
      codes = np.array([index.get(value, first) for value in column.tolist()], np.int32)
      categories.append(np.where(there, codes[rows], first))
      kinds.append(f'{name} ({len(values):,} categories{none})')
      first += len(values) + 1  # the first one is a missing value
    else:
      spread = np.nanstd(column) if not np.isnan(column).all() else 0.0
      if not spread > 0:
        kinds.append(f'{name} (constant: not used)')
        continue
      scaled = (column - np.nanmean(column)) / spread
      numbers.append(np.where(there, np.nan_to_num(scaled)[rows], 0.0))
      kinds.append(f'{name} (number{none})')

  def stacked(columns, dtype):
    return np.stack(columns, 1).astype(dtype) if columns else (
      np.zeros((len(names), 0), dtype))

  lost = int((~there).sum())
  line = listed(kinds, 40) + (
    f'; {lost:,} of {len(names):,} have no row, and missing values' if lost else '')
  return stacked(numbers, np.float32), stacked(categories, np.int32), first, [
    file.summary, *file.lines, line]
