"""Reads interactions of users with items from files, in the order of time."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.frames import is_text, missing, numbers_of
from bigmodels.data.tables import csv_numbers, table_files, times
from bigmodels.data.tables.csv_dialects import Reading

# What `Interactions.splits` is for the last interactions of each user.
LAST = 'leave_last_out'


class Log(NamedTuple):
  """Interactions, by user and in the order of time.

  Attributes:
    users, items: their names, sorted.
    user, item: of each interaction, int32 `[n]`.
    rating: float32 `[n]`, or None.
    row: its row in the files, int `[n]`.
    of_test: whether it is of the file of the split 'test', bool `[n]`.
    column: the name of its split in the files, `object` `[n]` of `str`, or None.
    time: float64 `[n]`, to compare; or None.
    digest: digest of the files.
    where: row of the files -> its place, such as 'line 5'.
    lines: what was found, inferred and dropped.
  """

  users: tuple[str, ...]
  items: tuple[str, ...]
  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray | None
  row: np.ndarray
  of_test: np.ndarray
  column: np.ndarray | None
  time: np.ndarray | None
  digest: str
  where: Callable[[int], str]
  lines: tuple[str, ...]

  def take(self, index: np.ndarray, *lines: str) -> 'Log':
    """Returns some interactions, `[k]`, and more lines; all names are kept."""
    def some(column):
      return None if column is None else column[index]

    return self._replace(
      user=some(self.user), item=some(self.item), rating=some(self.rating),
      row=some(self.row), of_test=some(self.of_test), column=some(self.column),
      time=some(self.time), lines=(*self.lines, *lines))


def read(source: Any, data_dir: str | None) -> Log:
  """Reads the files of a source; the last ones are cached in memory.

  Args:
    source: an `Interactions`.
    data_dir: the folder `--data_dir`, or None.

  Raises:
    UserError: if a file is missing or no such table, or for a value that is missing or
      not as it must be, with its line.
  """
  paths = table_files.found(source.path, data_dir)
  of_test = table_files.found(source.test, data_dir) if source.test else ()
  stats = tuple(table_files.require(path) for path in (*paths, *of_test))
  column = None if source.splits == LAST or not isinstance(
    source.splits, str) else source.splits
  return _read(paths, of_test, stats, source.reading(),
               (source.user, source.item, source.rating, source.time, column))


@functools.lru_cache(maxsize=2)  # the splits are opened one by one
def _read(paths: tuple[pathlib.Path, ...], of_test: tuple[pathlib.Path, ...],
          stats: tuple, reading: Reading, names: tuple[str | None, ...]) -> Log:
  del stats  # they change when a file does
  file = table_files.read((*paths, *of_test), reading)
  fields = ('user', 'item', 'rating', 'time', 'splits')
  for field, name in zip(fields, names, strict=True):
    if name is None:
      continue
    if name not in file.frame:
      raise UserError(f'{field}: no column {name!r}{nearest(name, file.frame)}')
    if name in file.refused:
      raise UserError(file.refused[name])
    empty = missing(file.frame[name])
    if empty.any():
      what = 'no value' if is_text(file.frame[name]) else 'no finite float32 number'
      raise UserError(f'{file.where(int(np.argmax(empty)))}, column {name!r}: has '
                      f'{what}; {int(empty.sum()):,} rows have none')
  user, item, rating, time, split = (
    None if name is None else file.frame[name] for name in names)
  if rating is not None and is_text(rating):
    row = csv_numbers.text_row(rating)
    raise UserError(f'{file.where(row)}, column {names[2]!r}: {rating[row]!r} is not a '
                    'number')
  users, user = _numbered(user)
  items, item = _numbered(item)
  lines = [file.summary, *file.lines]
  if time is None:
    order = np.argsort(user, kind='stable')
    lines.append('no time is set: the rows of a user are in the order of the file')
  else:
    time = times.parsed(names[3], time, file.where)
    order = np.lexsort((time, user))  # equal times are in the order of the file
  return Log(
    users, items, user[order], item[order],
    None if rating is None else rating[order].astype(np.float32), order,
    order >= sum(count for _, count in file.parts[: len(paths)]),
    None if split is None else split[order], None if time is None else time[order],
    file.digest, file.where,
    tuple(lines))


def _numbered(column: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
  """The distinct names, sorted: as numbers if all are; and the number of each row."""
  names = sorted({*column.tolist()})
  if all(name.isascii() and name.isdecimal() for name in names):
    names.sort(key=lambda name: (len(name.lstrip('0')), name.lstrip('0')))
  return tuple(names), numbers_of(column, names).astype(np.int32)


def without_repeats(log: Log, keep: str | None, fixed: bool) -> Log:
  """Returns the last interaction of each user with each item.

  Args:
    log: the interactions.
    keep: 'last'; 'keep' for all of them; None for 'last', but not across `fixed`
      splits.
    fixed: whether the files say which split an interaction is of.

  Raises:
    UserError: if None, and an interaction is in two splits of the files.
  """
  pair = log.user.astype(np.int64) * len(log.items) + log.item
  order = np.argsort(pair, kind='stable')
  again = np.append(pair[order][1:] == pair[order][:-1], False)
  count = int(again.sum())
  if not count or keep == 'keep':
    line = f'{count:,} interactions are repeated by the same user; all are kept'
    return log.take(slice(None), *([line] if count else []))
  if keep is None and fixed:
    split = log.of_test if log.column is None else log.column
    across = again[:-1] & (split[order][:-1] != split[order][1:])
    if across.any():
      at = int(np.argmax(across))
      first, second = order[at], order[at + 1]
      raise UserError(
        f'{int(across.sum()):,} interactions are in two splits, such as that of user '
        f'{log.users[log.user[first]]!r} with item {log.items[log.item[first]]!r} in '
        f'{log.where(int(log.row[first]))} and {log.where(int(log.row[second]))}; this '
        'makes scores meaningless; duplicates=last keeps the last of them')
  kept = np.sort(order[~again])
  return log.take(kept, f'{count:,} of {len(pair):,} interactions are repeated later, '
                  'by the same user with the same item, and dropped (duplicates=keep '
                  'keeps them)')


def check_ratings(log: Log, name: str, scale: tuple[float, float] | None,
                  train: np.ndarray) -> tuple[float, float]:
  """Returns the lowest and the highest rating.

  Args:
    log: with ratings.
    name: name of their column.
    scale: the lowest and the highest one that is legal; None for those of `train`.
    train: which interactions are of the split 'train', bool `[n]`.

  Raises:
    UserError: for a rating outside of the scale, with its line; or if all are equal.
  """
  of_train = log.rating[train]
  low, high = scale or (float(of_train.min()), float(of_train.max()))
  wrong = (log.rating < low) | (log.rating > high)
  if wrong.any():
    index = int(np.argmax(wrong))
    raise UserError(
      f'{log.where(int(log.row[index]))}, column {name!r}: the rating '
      f'{log.rating[index]:g} is not on the scale {low:g} to {high:g}' + (
        '' if scale else ' of the training split') + '; scale=LOW,HIGH sets another')
  if low == high:
    raise UserError(f'column {name!r}: every rating of the training split is {low:g}')
  return low, high


def parts_by_last(log: Log) -> tuple[np.ndarray, list[str]]:
  """Returns the split of each interaction, int8 `[n]`, and lines about it.

  The last interaction of a user is of 'test', 2, the one before it of 'validation', 1,
  and all others of 'train', 0. Users with fewer than 3 have no test.

  Raises:
    UserError: if no user has 3.
  """
  count = np.bincount(log.user, minlength=len(log.users))
  last = np.cumsum(count) - 1
  enough = count >= 3
  if not enough.any():
    raise UserError('no user has >= 3 interactions, one each to train, to validate and '
                    'to test; split by fractions, such as '
                    "{'train': 0.8, 'validation': 0.1, 'test': 0.1}")
  parts = np.zeros(len(log.user), np.int8)
  parts[last[enough]], parts[last[enough] - 1] = 2, 1
  few = int(((count > 0) & ~enough).sum())
  ends = last[enough]
  tied = 0 if log.time is None else int((np.diff(log.time[
    ends[:, None] - [2, 1, 0]]) == 0).any(1).sum())
  return parts, [
    f'the last interaction of each of {int(enough.sum()):,} users is to test, the one '
    'before it to validate',
    *([f'{few:,} users with fewer than 3 interactions are only trained on'] if few
      else []),
    *([f'{tied:,} users have equal times among their last interactions, which are in '
       'the order of the file'] if tied else [])]


def shown(paths: str | Sequence[str]) -> str:
  """Returns the names of files, for messages."""
  each = [paths] if isinstance(paths, str) else paths
  return table_files.listed_names([*map(pathlib.Path, each)])
