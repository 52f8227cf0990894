"""Splits the rows of a table: at random, by class, group, time, column or file."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data import folds
from bigmodels.data.frames import Frame, groups_of, is_text, missing
from bigmodels.data.sources import (
  FRACTIONS,
  canonical,
  check_fractions,
  held_out,
  renamed_splits,
)
from bigmodels.data.tables.times import parsed

FEW = 0.05  # of all rows; more equal rows are not taken as copies without evidence
_USUAL = (*FRACTIONS,)


class Rows(NamedTuple):
  """The rows of a table that are split.

  Attributes:
    features: the columns that become features, `[rows]`.
    label: the column to predict, `[rows]`, or None.
    others: other columns that the split needs, as text, `[rows]`.
    of_test: which rows are of a file of test rows, bool `[rows]`.
    where: row -> its place in the file.
  """

  features: Frame
  label: np.ndarray | None
  others: Frame
  of_test: np.ndarray
  where: Callable[[int], str]


class Splits(NamedTuple):
  """The splits of a table.

  Attributes:
    rows: name -> its rows, int `[n]`, sorted.
    how: how they were made, such as 'stratified by y', or ''.
    copies: whether equal rows count as copies, which no two splits may have.
    lines: lines to print.
  """

  rows: dict[str, np.ndarray]
  how: str
  copies: bool
  lines: list[str]


def assign(table: Any, rows: Rows) -> Splits:
  """Assigns every row to one split.

  Args:
    table: a `table.Table`, for its settings.
    rows: the rows.

  Raises:
    UserError: if a column does not give splits, or rows that belong together are in
      several splits.
  """
  if table.test is not None and not rows.of_test.any():
    raise UserError('test: no row of this file is left, as none has a label or all are '
                    'dropped')
  equal, lines = _equal_rows(table, rows)
  copies = equal is not None or (table.duplicates != 'keep' and not lines)
  groups, how = equal, []
  if table.group is not None:
    of_group = _complete(table.group, 'group', rows)
    codes = np.unique(of_group, return_inverse=True)[1]
    groups = codes if equal is None else folds.united(codes, equal)
    how.append(f'rows with the same {table.group} stay together, in '
               f'{codes.max() + 1:,} groups')
  if isinstance(table.splits, str):
    found, renamed = _by_column(table.splits, rows)
    lines += renamed
    how.append(f'by the column {table.splits}')
  elif table.time is not None:
    found, line = _by_time(table, rows)
    how.append(line)
  else:
    found, line = _by_fraction(table, rows, groups)
    how += [line] * bool(line)
  if rows.of_test.any():
    how.append('test is a file of its own')
  if table.group is not None:
    _check_groups(table.group, of_group, found)
  line = []
  if equal is not None:
    found, line = _apart(table, equal, found)
  if table.fold is not None and 'train' in found:
    found, cut = _in_fold(table, rows, groups, found)
    how.append(cut)
  return Splits(found, '; '.join(how), copies, [*lines, *line])


def by_fraction(length: int, splits: Mapping[str, float], groups: np.ndarray | None,
                classes: np.ndarray | None) -> dict[str, np.ndarray]:
  """Returns the rows of every split, int `[n]` each.

  Args:
    length, splits, groups, classes: see `held_out`.

  Raises:
    UserError: if a split has no rows.
  """
  return {name: held_out(length, name, splits, groups, classes) for name in splits}


def column_names(name: str, column: np.ndarray
                 ) -> tuple[dict[str, np.ndarray], list[str]]:
  """Returns the rows of every split that a column names, and lines about the names.

  Args:
    name: of the column.
    column: names of splits, or other names for these, `object` `[rows]` of `str`.
  """
  written = [*dict.fromkeys(column.tolist())]
  found = np.array([canonical(value) for value in column.tolist()], object)
  names = [*dict.fromkeys(map(canonical, written))]
  names.sort(key=lambda n: _USUAL.index(n) if n in _USUAL else len(_USUAL))
  return {each: np.flatnonzero(found == each) for each in names}, renamed_splits(
    written, f'in the column {name!r},')


# --- ways to split --------------------------------------------------------------


def _by_column(name: str, rows: Rows) -> tuple[dict[str, np.ndarray], list[str]]:
  found, lines = column_names(name, _complete(name, 'splits', rows))
  if len(found) > 20:
    raise UserError(f'splits: column {name!r} has {len(found):,} different values, '
                    f'which are not names of splits: {listed(found, 3)}')
  return found, lines


def _by_fraction(table: Any, rows: Rows, groups: np.ndarray | None
                 ) -> tuple[dict[str, np.ndarray], str]:
  """At random, stratified if that is set, or if a split would lack a class."""
  classes, choice, why = _classes(table, rows.label), table.stratified, ''
  rest = np.flatnonzero(~rows.of_test)
  splits = fractions(table)
  inside = None if groups is None else groups[rest]
  classes = None if classes is None else classes[rest]
  if choice is None and classes is not None and len(splits) > 1:
    found = by_fraction(len(rest), splits, inside, None)
    counts = np.bincount(classes)
    enough = (counts >= len(splits)) & (2 * counts < len(rest))
    missing_in = next((name for name, part in found.items() if (
      enough & (np.bincount(classes[part], minlength=len(counts)) == 0)).any()), None)
    choice = missing_in is not None and counts.max() < len(rest) and (
      len(counts) <= len(rest) // 2)
    why = f', since a random {missing_in} lacks a class (stratified=False changes that)'
  found = by_fraction(len(rest), splits, inside, classes if choice else None)
  found = {name: rest[part] for name, part in found.items()}
  if rows.of_test.any():
    found['test'] = np.flatnonzero(rows.of_test)
  return found, f'stratified by {table.label}{why}' * bool(choice)


def _in_fold(table: Any, rows: Rows, groups: np.ndarray | None,
             found: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
  """The splits with 'train' cut into what a fold trains on and what it holds out."""
  train = found['train']

  def some(column):
    return None if column is None else column[train]

  def column(name):
    columns = {**rows.features, **rows.others}
    if name not in columns:
      raise folds.no_column(name, [*columns])
    return some(columns[name])

  times = None if table.time is None else parsed(
    table.time, _complete(table.time, 'time', rows), rows.where)
  trained, held, line = table.fold.cut(folds.Rows(
    len(train), column, some(_classes(table, rows.label)), some(groups), some(times)))
  return {**found, 'train': train[trained], folds.HELD_OUT: train[held]}, line


def _classes(table: Any, label: np.ndarray | None) -> np.ndarray | None:
  """The class of every row, if the label has classes before anything is fitted."""
  if table.task != 'classification' or table.threshold == 'median':
    return None
  values = label if table.threshold is None else label > table.threshold
  return np.unique(values, return_inverse=True)[1]


def fractions(table: Any) -> dict[str, float]:
  """Returns the fractions of the rows that are not of a file of test rows.

  Raises:
    UserError: if no other split has any.
  """
  if table.test is None:
    return dict(table.splits)
  rest = {name: value for name, value in table.splits.items() if name != 'test'}
  if not sum(rest.values()):
    raise UserError('splits: has no split beside test, and test= is a file')
  return {name: value / sum(rest.values()) for name, value in rest.items()}


def _by_time(table: Any, rows: Rows) -> tuple[dict[str, np.ndarray], str]:
  """The earliest rows first; equal times are in one split."""
  text = _complete(table.time, 'time', rows)
  times = parsed(table.time, text, rows.where)
  rest = np.flatnonzero(~rows.of_test)
  splits = fractions(table)
  check_fractions(splits)
  cuts = np.cumsum([0.0, *splits.values()])
  _, moment, sizes = np.unique(times[rest], return_inverse=True, return_counts=True)
  ends = np.cumsum(sizes)
  edges = np.round(cuts * len(rest))
  split = np.searchsorted(edges[1:-1], ends - sizes / 2, 'left')[moment]
  found = {name: rest[split == i] for i, name in enumerate(splits)}
  if rows.of_test.any():
    found['test'] = np.flatnonzero(rows.of_test)
  spans, before = [], None
  for name, part in found.items():
    if not len(part):
      raise UserError(f'the split {name!r} of {len(times)} rows is empty: {splits}; '
                      f'rows with the same {table.time} stay together, at '
                      f'{len(sizes)} times')
    first, last = part[np.argmin(times[part])], part[np.argmax(times[part])]
    if before is not None and times[first] <= times[before[1]]:
      raise UserError(f'{rows.where(first)}: {table.time} {text[first]!r} of {name} is '
                      f'not after {text[before[1]]!r} of {before[0]}')
    spans.append(f'{name} {text[first]} to {text[last]}')
    before = name, last
  return found, f'chronological by {table.time}: {", ".join(spans)}'


def _complete(name: str, field: str, rows: Rows) -> np.ndarray:
  """A column of text, without missing values."""
  column = rows.others[name]
  gone = missing(column)
  if gone.any():
    raise UserError(
      f'{field}: column {name!r} has {int(gone.sum()):,} missing values, the first is '
      f'in {rows.where(int(np.argmax(gone)))}; fill them, or leave their rows out')
  return column


# --- rows that belong together ---------------------------------------------------


def _check_groups(name: str, groups: np.ndarray, found: Mapping[str, np.ndarray]
                  ) -> None:
  """Refuses a group with rows in two splits, which only fixed splits have."""
  of_split: dict[str, str] = {}
  torn = {}
  for split, part in found.items():
    for group in dict.fromkeys(groups[part].tolist()):
      if (other := of_split.setdefault(group, split)) != split:
        torn.setdefault(group, (other, split))
  if torn:
    group, (one, other) = next(iter(torn.items()))
    raise UserError(f'group: {group!r} of {name} is in {one} and in {other}, as are '
                    f'{len(torn):,} of {len(of_split):,} groups')


def _apart(table: Any, equal: np.ndarray, found: dict[str, np.ndarray]
           ) -> tuple[dict[str, np.ndarray], list[str]]:
  """Refuses or drops rows that equal one of an earlier split."""
  earlier, lines, result = np.zeros(0, equal.dtype), [], {}
  for name, part in found.items():
    again = np.isin(equal[part], earlier)
    if again.any() and table.duplicates != 'drop':
      raise UserError(
        f'{int(again.sum()):,} of {len(part):,} rows of {name} equal one of '
        f'{" or ".join(result)} in all features, which makes scores on {name} '
        'meaningless: duplicates=drop drops them, duplicates=keep keeps them as '
        'different cases')
    if again.any():
      lines.append(f'drop_duplicates: {int(again.sum()):,} of {len(part):,} rows of '
                   f'{name} dropped, equal to one of {" or ".join(result)}')
    result[name] = part[~again]
    earlier = np.concatenate([earlier, equal[part]])
    if not len(result[name]):
      raise UserError(f'all rows of {name} equal one of an earlier split')
  return result, lines


def _equal_rows(table: Any, rows: Rows) -> tuple[np.ndarray | None, list[str]]:
  """The group of equal rows of every row, or None, and a line about them."""
  features = rows.features
  groups = groups_of(features)
  count, firsts = len(groups), np.unique(groups, return_index=True)[1]
  if len(firsts) == count or not features:
    return None, []
  choice, found = table.duplicates, ''
  if choice not in ('keep', 'together'):
    few = count - len(firsts) <= FEW * count
    column = None if few else next((
      name for name, column in features.items()
      if len(set(column[firsts].tolist())) > max(9, len(firsts) // 2)), None)
    choice = 'keep' if column is None and not few else 'together'
    found = '' if few else (
      ', since no column has a different value in most rows, as in a table of codes'
      if column is None else f', since {column} has a different value in most rows, '
      'so that these are copies')
  result = {'keep': 'are split like other rows',
            'together': 'stay together in one split'}[choice]
  other = {'keep': 'together', 'together': 'keep'}[choice]
  line = (f'equal rows: {count - len(firsts):,} of {count:,} rows equal an earlier '
          f'one in all features; they {result}{found} '
          f'(duplicates={other} or drop changes that)')
  return (groups if choice == 'together' else None), [line]


def check_selected(name: str, rows: Mapping[str, np.ndarray]) -> None:
  """Refuses a split that a table does not have, or that has no rows.

  Args:
    name: name of the split.
    rows: split -> its rows, int `[n]`.

  Raises:
    UserError: naming the nearest one.
  """
  if name not in rows:
    raise UserError(f'no split {name!r}{nearest(name, rows)}')
  if not len(rows[name]):
    raise UserError(f'the split {name!r} is empty')


def weights(name: str, column: np.ndarray, train: np.ndarray,
            where: Callable[[int], str]) -> np.ndarray:
  """Returns the weights of rows, float32 `[rows]`.

  Args:
    name: name of their column.
    column: `[rows]`.
    train: rows of the split 'train'.
    where: row -> its place in the file.

  Raises:
    UserError: for a weight that is missing or negative, and if all of train are 0.
  """
  wrong = np.zeros(len(column), bool) if is_text(column) else ~(column >= 0)
  if is_text(column) or wrong.any():
    row = int(np.argmax(wrong))
    value = 'missing' if np.isnan(column[row]) else f'{column[row]:g}'
    raise UserError(f'{where(row)}, column {name!r}: a weight must be a number >= 0, '
                    f'is {value}')
  if not column[train].any():
    raise UserError(f'weight: all weights of train in {name!r} are 0')
  return column.astype(np.float32)
