"""Interactions of users with items as a source: a row for each."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions import log as logs
from bigmodels.data.interactions.catalog import PARTS, Catalog
from bigmodels.data.interactions.features import Features, joined
from bigmodels.data.interactions.log import Log
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import (
  DataContext,
  Dataset,
  check_fractions,
  held_out,
  in_memory,
)
from bigmodels.data.tables import table_splits
from bigmodels.data.tables.csv_dialects import Reading

KEPT = 'catalog'  # name in `DataContext.kept`


@dataclasses.dataclass(frozen=True)
class Interactions:
  """Interactions of users with items, in files with a row for each.

  The files are CSV, Parquet or JSON lines, perhaps compressed. Names of users and items
  are text. All that are in the files are known to the run, which stores their names and
  interactions, so that it recommends without the files. Whatever is dropped, repeated
  or cannot be split is printed.

  Opened: `users` and `items` int32 `[n]`, numbers of `Catalog.users` and
  `Catalog.items`; `seen` int32 `[n]`, the last split whose interactions are known when
  this one is predicted; and `labels` float32 `[n]` if there is a `rating`.

  Attributes:
    path: a file, a pattern such as 'data/*.csv', or several.
    user, item: names of the columns.
    rating: name of the column of ratings; None to learn who has what.
    time: name of the column of times, numbers or ISO dates; None for the order of the
      file.
    splits: name -> fraction, or the name of a column with the split of each row, or
      'leave_last_out': the last interaction of each user is to test, the one before it
      to validate.
    test: files of the split 'test'; `splits` is then of the others.
    min_rating: the lowest rating of what counts as an interaction; others are dropped.
    scale: the lowest and the highest rating; None for those of 'train'.
    duplicates: 'last' keeps the last interaction of a user with an item, 'keep' all of
      them. None is 'last', but refuses those that are in two splits of files.
    user_features, item_features: tables about the users and the items, or None.
    selected: the split that `open` returns.
    header: names of the columns of a file without a header.
    delimiter, encoding: see `csv_dialects.Reading`.
  """

  path: str | tuple[str, ...]
  user: str = 'user'
  item: str = 'item'
  _: dataclasses.KW_ONLY
  rating: str | None = None
  time: str | None = None
  splits: str | Mapping[str, float] = 'leave_last_out'
  test: str | tuple[str, ...] | None = None
  min_rating: float | None = None
  scale: tuple[float, float] | None = None
  duplicates: Literal['last', 'keep'] | None = None
  user_features: Features | None = None
  item_features: Features | None = None
  selected: str = 'train'
  header: tuple[str, ...] | None = None
  delimiter: str | None = None
  encoding: str | None = None

  def __post_init__(self):
    for field in ('path', 'test'):  # absolute, so that a run resumes from any folder
      paths = getattr(self, field)
      if paths is not None:
        object.__setattr__(self, field, files.absolute(paths, field) if isinstance(
          paths, str) else tuple(files.absolute(each, field) for each in paths))
    names = [n for n in (self.user, self.item, self.rating, self.time) if n]
    if twice := [name for name in names if names.count(name) > 1]:
      raise UserError(f'user, item, rating, time: must be different columns, got '
                      f'{twice[0]!r} twice')
    if self.duplicates not in (None, 'last', 'keep'):
      raise UserError(f'duplicates: must be last, keep or None, got '
                      f'{self.duplicates!r}')
    for field in ('min_rating', 'scale'):
      if getattr(self, field) is not None and self.rating is None:
        raise UserError(f'{field}: is for ratings: set rating, the name of their '
                        'column')
    if self.scale is not None and not self.scale[0] < self.scale[1]:
      raise UserError(f'scale: must be (LOW, HIGH), got {self.scale}')
    if not isinstance(self.splits, str):
      check_fractions(self.splits)
      if unknown := [name for name in self.splits if name not in PARTS]:
        raise UserError(f'splits: no split {unknown[0]!r}{nearest(unknown[0], PARTS)}')
    if self.test is not None and (isinstance(self.splits, str) or (
      'test' in self.splits)):
      raise UserError("test: splits must be fractions without 'test', such as "
                      f"{{'train': 1.0}}, got {self.splits}")
    self.reading()  # refuses invalid settings

  @property
  def name(self) -> str:
    return logs.shown(self.path)

  @property
  def by_time(self) -> bool:
    """Whether the splits follow each other in time."""
    return self.splits == logs.LAST

  def reading(self) -> Reading:
    """Returns how the files are read."""
    column = None if self.by_time or not isinstance(self.splits, str) else self.splits
    texts = (self.user, self.item, self.time, column)
    return Reading(
      self.delimiter, missing=(), encoding=self.encoding,
      text=tuple(name for name in texts if name), header=self.header)

  def split(self, name: str) -> 'Interactions':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the files (once per process), and selects the split.

    Raises:
      UserError: if the files and the settings do not give interactions to train on.
    """
    log, parts, found = self.opened(context)
    mine = np.flatnonzero(parts == PARTS.index(self.selected))
    user, item = log.user[mine], log.item[mine]
    say_unseen(self, context, log, parts, mine)
    columns = {
      'users': user, 'items': item,
      'seen': np.full(len(mine), seen_before(self.selected), np.int32)}
    if not self.ranked:
      columns['labels'] = log.rating[mine]
    return dataset(self, log, mine, columns, found)._replace(
      target=self.rating, words=lambda rows: [
        {'user': log.users[user[row]], 'item': log.items[item[row]]}
        for row in np.asarray(rows).tolist()])

  @property
  def ranked(self) -> bool:
    """Whether it is learned who has what, rather than ratings."""
    return self.rating is None or self.min_rating is not None

  def opened(self, context: DataContext) -> tuple[Log, np.ndarray, Catalog]:
    """Returns the interactions, the split of each, int8 `[n]`, and the catalog.

    Raises:
      UserError: see `open`.
    """
    try:
      log, parts, lines, scale = self._split(logs.read(self, context.data_dir))
      present = [PARTS[part] for part in np.unique(parts)]
      table_splits.check_selected(self.selected, {
        name: np.flatnonzero(parts == PARTS.index(name)) for name in present})

      def fit():
        features, count, more = joined(
          self.user_features, self.item_features, log, context.data_dir)
        biases = None if self.ranked else catalogs.fit_biases(
          log.user[parts == 0], log.item[parts == 0], log.rating[parts == 0],
          (len(log.users), len(log.items)))
        for line in (*lines, *more):
          context.note(one_line(f'{self.name}: {line}'))
        return Catalog(log.users, log.items, log.user, log.item, parts, scale, biases,
                       features, count).kept()

      return log, parts, catalogs.of_kept(context.keep(KEPT, fit))
    except UserError as error:
      raise UserError(one_line(f'{self.name}: {error}')) from error

  def _split(self, log: Log
             ) -> tuple[Log, np.ndarray, list[str], tuple[float, float] | None]:
    if self.min_rating is not None:
      kept = np.flatnonzero(log.rating >= self.min_rating)
      if not len(kept):
        raise UserError(f'min_rating: no {self.rating} is >= {self.min_rating:g}')
      gone = len(log.user) - len(kept)
      log = log.take(kept, f'{gone:,} of {len(log.user):,} interactions with a '
                     f'{self.rating} below {self.min_rating:g} are dropped')
    fixed = self.test is not None or log.column is not None
    log = logs.without_repeats(log, self.duplicates, fixed)
    lines = []
    if self.by_time:
      parts, lines = logs.parts_by_last(log)
    elif log.column is not None:
      rows, lines = table_splits.column_names(self.splits, log.column)
      if unknown := [name for name in rows if name not in PARTS]:
        raise UserError(f'splits: column {self.splits!r} has the split {unknown[0]!r}; '
                        f'must be one of {listed(PARTS)}')
      parts = _numbered(len(log.user), rows)
    else:
      rest = np.flatnonzero(~log.of_test)
      if self.test is not None and len(rest) == len(log.user):
        raise UserError('test: none of its interactions is left')
      rows = {name: rest[held_out(len(rest), name, self.splits)]
              for name in self.splits}
      parts = _numbered(len(log.user), {**rows, 'test': np.flatnonzero(log.of_test)}
                        if self.test is not None else rows)
    if not (parts == 0).any():
      raise UserError("the split 'train' is empty")
    scale = None if self.ranked and self.scale is None else logs.check_ratings(
      log, self.rating, self.scale, parts == 0)
    counts = ', '.join(f'{name} {int((parts == index).sum()):,}'
                       for index, name in enumerate(PARTS) if (parts == index).any())
    summary = (f'{len(log.users):,} users, {len(log.items):,} items, '
               f'{len(log.user):,} interactions: {counts}') + (
      '' if scale is None else f'; {self.rating} from {scale[0]:g} to {scale[1]:g}')
    return log, parts, [*log.lines, *lines, summary], scale

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of the users to recommend to; see `readers`."""
    from bigmodels.data.readers.users import UserReader

    known = catalogs.of_kept(context.kept[KEPT])
    return UserReader(known, self.user, None if self.ranked else self.item,
                      Reading(missing=(), encoding=self.encoding), say=context.say)

  def recorded(self, kept: Mapping[str, Any]) -> Mapping[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    return catalogs.provided(catalogs.of_kept(kept[KEPT]))


def say_unseen(source: Any, context: DataContext, log: Log, parts: np.ndarray,
               mine: np.ndarray) -> None:
  """Prints how many interactions are with users or items that train does not have.

  And how many train has, too, if repeats are kept.

  Args:
    source: an `Interactions`.
    context: prints and keeps the lines.
    log: the interactions.
    parts: the split of each, int8 `[n]`.
    mine: the interactions of a split, int `[k]`.
  """
  for what, column in (('users', log.user), ('items', log.item)):
    unseen = int((~np.isin(column[mine], column[parts == 0])).sum())
    if unseen:
      context.note(one_line(
        f'{source.name}: {source.selected}: {unseen:,} of {len(mine):,} interactions '
        f'are with {what} that train does not have'))
  if source.duplicates == 'keep' and source.selected != 'train':
    pair = log.user.astype(np.int64) * len(log.items) + log.item
    if again := int(np.isin(pair[mine], pair[parts == 0]).sum()):
      context.note(one_line(
        f'{source.name}: {source.selected}: {again:,} of {len(mine):,} interactions '
        'are with an item that the user has in train, too (duplicates=keep)'))


def seen_before(split: str) -> int:
  """Returns the last split whose interactions are known when a split is predicted."""
  return max(0, PARTS.index(split) - 1)


def dataset(source: Any, log: Log, rows: np.ndarray, columns: dict[str, np.ndarray],
            catalog: Catalog) -> Dataset:
  """Returns the dataset of a split.

  Args:
    source: an `Interactions`, for its name and settings.
    log: the interactions.
    rows: those that the split has, int `[k]`.
    columns: of the dataset, `[n, ...]`.
    catalog: the catalog that it provides.
  """
  splits = source.splits if isinstance(source.splits, str) else dict(source.splits)
  origin, made = f'interactions {log.digest}', in_memory(columns, None)
  return made._replace(
    identity=f'{source.name} sha256 {log.digest}, split {source.selected!r} of '
             f'{splits}: {made.identity}',
    describe=lambda row: log.where(int(log.row[rows[row]])) if (
      len(rows) == made.length) else f'row {row}',
    origin=Origin({origin: log.row[rows]}, {f'splits of {origin}': splits}),
    provides=catalogs.provided(catalog))


def _numbered(count: int, rows: Mapping[str, np.ndarray]) -> np.ndarray:
  parts = np.zeros(count, np.int8)
  for name, each in rows.items():
    parts[each] = PARTS.index(name)
  return parts
