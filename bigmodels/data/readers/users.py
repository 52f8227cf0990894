"""Reads the users to recommend to, for a run of interactions."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.frames import Frame, rows_of
from bigmodels.data.interactions.catalog import PARTS, Catalog, numbers_of
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples, are_texts
from bigmodels.data.sources import Columns
from bigmodels.data.tables import table_files
from bigmodels.data.tables.csv_dialects import Reading

_ROWS = 2**13  # of a chunk
NONE = -2  # in place of an item: none was given


@dataclasses.dataclass(frozen=True)
class UserReader:
  """Reads names of users from a column of tables; and of items, to predict ratings.

  A user or item that the run does not know has no prediction.

  Attributes:
    catalog: the users and items of the run.
    user: name of the column of users.
    item: name of the column of items, which is read if it is there; None for a run
      that predicts no ratings.
    reading: settings for reading tables, which have a header.
    history: numbers of users `[n]` -> further columns `[n, ...]`; None for none.
    say: prints a line.
  """

  catalog: Catalog
  user: str
  item: str | None
  reading: Reading
  history: Callable[[np.ndarray], Columns] | None = None
  say: Callable[[str], None] = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`."""
    return are_texts(values) or isinstance(values, Mapping)

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns the columns of users.

    Args:
      values: names of users; or a mapping of the column of users, and that of items for
        ratings, to names.
      others: must be empty.

    Raises:
      UserError: for anything else, or a user or item that is not known.
    """
    names = [name for name in (self.user, self.item) if name]
    given = values if isinstance(values, Mapping) else {self.user: values}
    frame = {name: np.array([column] if isinstance(column, str) else [
      str(each) for each in column], object) for name, column in given.items()}
    if others or not len(frame.get(self.user, ())) or not {*frame} <= {*names}:
      raise UserError(f'a run of interactions reads names of users, or a mapping with '
                      f'{" and ".join(map(repr, names))}, got {str(values)[:60]!r}')
    if len({len(column) for column in frame.values()}) > 1:
      raise UserError(f'{" and ".join(map(repr, names))}: must have as many names, got '
                      f'{" and ".join(str(len(frame[name])) for name in names)}')
    columns, faults = self._numbered(frame)
    for row, why in faults.items():
      raise UserError(f'row {row}: {why}')
    return columns

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the users of files; see `Reader`.

    Raises:
      UserError: for files without users, or if labels are asked for.
    """
    if labels:
      raise UserError('this run is evaluated on its own splits only: what a user has '
                      'must be known for that')
    files = [file for path in paths
             for file in of_suffix(path, table_files.SUFFIXES, self.say)]
    reading = dataclasses.replace(
      self.reading, text=tuple(n for n in (self.user, self.item) if n), numbers=(),
      header=None)
    frames = [self._frame(file, reading) for file in files]
    names = [name for name in (self.user, self.item) if name in frames[0]]
    for file, each in zip(files, frames, strict=True):
      if (self.item in each) != (self.item in names):
        has, lacks = (file, files[0]) if self.item in each else (files[0], file)
        raise UserError(f'{lacks}: no column {self.item!r}, which {has} has')
    if self.item is not None and self.item not in names:
      self.say(f'no column {self.item!r}: recommends to each user; with it, each pair '
               'gets a rating')
    frame = {name: np.concatenate([each[name] for each in frames]) for name in names}
    total = rows_of(frame)

    def chunks(first: int) -> Iterator[Chunk]:
      for start in range(first, total, _ROWS):
        part = {name: column[start : start + _ROWS] for name, column in frame.items()}
        columns, faults = self._numbered(part)
        end = start + rows_of(part)
        yield Chunk(columns, range(start, end), end / total, faults=faults, extra={
          name: column.tolist() for name, column in part.items()})

    return Examples(chunks, files, total)

  def _frame(self, path: pathlib.Path, reading: Reading) -> Frame:
    try:
      found = table_files.read([path], reading)
      if self.user not in found.frame:
        raise UserError(f'no column {self.user!r}{nearest(self.user, found.frame)}')
      if why := found.refused.get(self.user) or found.refused.get(self.item):
        raise UserError(why)
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
    return found.frame

  def _numbered(self, frame: Frame) -> tuple[Columns, dict[int, str]]:
    """The columns of names, and why rows have no prediction."""
    of_users, of_items = self.catalog.trained
    users, faults = self._found(frame, self.user, self.catalog.users, of_users)
    columns = {'users': users, 'seen': np.full(len(users), len(PARTS), np.int32)}
    if self.history is not None:
      return {**columns, **self.history(users)}, faults
    columns['items'] = np.full(len(users), NONE, np.int32)
    if self.item in frame:
      columns['items'], more = self._found(
        frame, self.item, self.catalog.items, of_items)
      faults = dict(sorted((more | faults).items()))
    return columns, faults

  def _found(self, frame: Frame, name: str, known: Sequence[str], trained: np.ndarray
             ) -> tuple[np.ndarray, dict[int, str]]:
    """The numbers of the names in a column, -1 for those with a fault.

    Args:
      frame: has the column.
      name: name of the column.
      known: all names, `[n]`.
      trained: which of them have an interaction in training, bool `[n]`.
    """
    numbers = numbers_of(frame[name].tolist(), known)
    faults = {row: f'the run does not know the {name} {frame[name][row]!r}'
              for row in np.flatnonzero(numbers < 0).tolist()}
    without = (numbers >= 0) & ~trained[numbers]
    faults |= {row: f'the {name} {frame[name][row]!r} has no interaction in training'
               for row in np.flatnonzero(without).tolist()}
    return np.where(without, -1, numbers).astype(np.int32), faults
