"""Pairs of examples, to test whether embeddings tell who is who."""

import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest, one_line
from bigmodels.core.paths import reason
from bigmodels.data.folders.labels import normalized
from bigmodels.data.folders.listing import counted
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import DataContext, Dataset, zeros
from bigmodels.data.subset import known_labels
from bigmodels.data.tables import csv_dialects

_TRUE, _FALSE = ('1', 'true', 'yes', 'same'), ('0', 'false', 'no', 'different')
_TRIES = 50  # for each pair that is drawn


class Listed(NamedTuple):
  """A row of a file of pairs.

  Attributes:
    line: its number.
    first, second: names of two files.
    same: whether they are of one identity.
  """

  line: int
  first: str
  second: str
  same: bool


@dataclasses.dataclass(frozen=True)
class Pairs:
  """The examples of a split, each once, and pairs of them.

  Its labels are numbers of identities, which need not be those of training: those of
  the classes of this split. Examples are sorted by identity.

  Opened, it has the columns of the split, and `partners` int32 `[n, most]`: the rows
  that each example is compared with, -1 for none; each pair is in it once.

  Attributes:
    source: a split of files with classes; all its labels are read.
    path: a CSV file of pairs, whose rows name two files and whether they are of one
      identity (1 or 0). None draws pairs as Huang et al., *Labeled Faces in the Wild*,
      2007: of one identity by drawing that, then two of its examples; of two by drawing
      both, then an example of each.
    count: number of pairs that are drawn, half of them of one identity; fewer if there
      are not as many. They are a function of the split, not of a seed.
    columns: the two names and whether they are the same, in the file.
  """

  source: Any
  path: str | None = None
  count: int = 1000
  columns: tuple[str, str, str] = ('a', 'b', 'same')

  def __post_init__(self):
    if self.count < 2:
      raise ValueError(f'count: must be >= 2, got {self.count}')
    if len({*self.columns}) != 3:
      raise ValueError(f'columns: must be three names, got {self.columns!r}')
    if self.path is not None:
      object.__setattr__(self, 'path', files.absolute(self.path, 'path'))

  @property
  def reader(self) -> Callable[[DataContext], Reader] | None:
    """Makes the other source's reader, of identities with any names, if it has one."""
    made = getattr(self.source, 'reader', None)
    return made and (lambda context: dataclasses.replace(
      made(context), any_class=True))

  def around(self, source: Any) -> 'Pairs':
    """Returns pairs that are drawn of the examples of another source."""
    return dataclasses.replace(self, source=source, path=None)

  def open(self, context: DataContext) -> Dataset:
    """Opens the other source, reads its labels, and reads or draws the pairs.

    Raises:
      UserError: if the data has no classes, no pairs of one identity or none of two
        can be drawn, or a row of the file names no file of the
        split or contradicts its labels.
    """
    whole = self.source.open(context)
    if whole.classes is None:
      raise UserError('Pairs: needs data with classes')
    if whole.shapes_only:
      columns = {name: (array.dtype.name, array.shape[1:])
                 for name, array in whole.read(np.zeros(1, int)).items()}
      return zeros({**columns, 'partners': ('int32', (1,))}, whole.length, None,
                   f'{whole.identity}, pairs', nbytes=whole.nbytes)
    labels = known_labels(whole, context, 'Pairs')
    order = np.argsort(labels, kind='stable')  # new row -> row of the split
    labels = labels[order]
    if self.path is None:
      found = drawn(labels, self.count)
      known = len(np.unique(labels[labels >= 0]))
      if len(found) < 2 or known < 2:
        split = getattr(self.source, 'selected', None)
        raise UserError(
          f'Pairs{f" of {split}" if split else ""}: '
          f'{counted(whole.length, "example")} of {counted(known, "identity")}; pairs '
          'of one and of two are drawn of two identities or more, one of them with '
          'two examples or more')
    else:
      place = np.argsort(order)
      found = [(int(place[a]), int(place[b])) for a, b in self._listed(
        whole, labels, place, context)]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    context.note(f'{len(pairs):,} pairs, {np.count_nonzero(same):,} of them of one '
                 f'identity, of {whole.length:,} examples of {len(whole.classes):,}'
                 + (', drawn' if self.path is None else ''))
    partners = _partners(pairs, whole.length)

    def read(rows, seeds=None):
      return {**whole.read(order[rows], seeds), 'partners': partners[rows]}

    def load():
      return {**{name: array[order] for name, array in whole.load().items()},
              'partners': partners}

    names = whole.ids.get('file')

    def words(rows):
      return [{'file': '' if names is None else str(names[order[row]]),
               'identity': whole.classes[labels[row]]} for row in rows]

    return whole._replace(
      load=load, read=read, classes=None, labels=None, compact=None, words=words,
      nbytes=None if whole.compact else whole.nbytes,
      identity=f'{whole.identity}, {len(pairs)} pairs '
               f'{zlib.crc32(np.ascontiguousarray(pairs).tobytes()):08x}',
      describe=whole.describe and (lambda row: whole.describe(int(order[row]))),
      origin=whole.origin and whole.origin.take(order, whole.length),
      ids={name: column[order] for name, column in whole.ids.items()})

  def _listed(self, whole: Dataset, labels: np.ndarray, place: np.ndarray,
              context: DataContext) -> list[tuple[int, int]]:
    """The pairs of the file, as rows of the split."""
    path = files.find(self.path, context.data_dir)
    if 'file' not in whole.ids:
      raise UserError(f'{path}: names files, but the data is not of files')
    row_of = {normalized(name): row for row, name in enumerate(whole.ids['file'])}
    found, absent = [], []
    for each in _read(path, self.columns, context):
      rows = []
      for name in (each.first, each.second):
        row = row_of.get(normalized(name), row_of.get(
          normalized(name).replace('\\', '/')))
        if row is None:
          absent.append((each.line, name))
        rows.append(row)
      if None in rows:
        continue
      a, b = rows
      one = labels[place[a]] == labels[place[b]]
      if min(labels[place[a]], labels[place[b]]) >= 0 and one != each.same:
        raise UserError(
          f'{path}: line {each.line}: {each.first} and {each.second} are '
          f'{"the same" if each.same else "different"}, but by their labels '
          f'{"different" if each.same else "the same"}: '
          f'{_names(whole, labels[place[a]], labels[place[b]])}')
      if a == b:
        raise UserError(f'{path}: line {each.line}: {each.first} is paired with itself')
      found.append((a, b))
    if absent:
      line, name = absent[0]
      raise UserError(
        f'{path}: {len(absent):,} names are of no file of this split, such as '
        f'{one_line(name, 80)!r} (line {line}){nearest(name, row_of)}')
    if not found:
      raise UserError(f'{path}: has no pair')
    return found


def _names(whole: Dataset, one: int, other: int) -> str:
  """The names of two classes, once if they are equal."""
  return ' and '.join(dict.fromkeys(whole.classes[number] for number in (one, other)))


def _read(path: pathlib.Path, columns: tuple[str, str, str], context: DataContext
          ) -> list[Listed]:
  """The rows of a file of pairs."""
  try:
    table = csv_dialects.content(path, csv_dialects.Reading())
    for note in table.notes:
      context.note(f'{path.name}: {note}')
    return _rows(table.records(), columns)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except OSError as error:
    raise UserError(f'{path}: cannot be read: {reason(error)}') from None


def _rows(records: Iterator[tuple[int, list[str]]], columns: tuple[str, str, str]
          ) -> list[Listed]:
  _, header = next(records, (1, []))
  header = [name.strip() for name in header]
  for name in columns:
    if header.count(name) != 1:
      how = 'several columns are' if name in header else 'no column is'
      raise UserError(f'{how} called {name!r} (columns= sets the three)' + (
        '' if name in header else nearest(name, header)))
  places = [header.index(name) for name in columns]
  found = []
  for line, values in records:
    if len(values) != len(header):
      raise UserError(f'line {line} has {len(values)} values, the header has '
                      f'{len(header)}')
    first, second, same = (values[place].strip() for place in places)
    if same.lower() not in (*_TRUE, *_FALSE):
      raise UserError(f'line {line}: {columns[2]} must be 1 or 0, got '
                      f'{one_line(same, 40)!r}')
    found.append(Listed(line, first, second, same.lower() in _TRUE))
  return found


def drawn(labels: np.ndarray, count: int) -> list[tuple[int, int]]:
  """Returns distinct pairs of rows, half of one identity and half of two.

  Args:
    labels: the identity of each row, int `[n]`, sorted; -1 for rows that are left out.
    count: number of pairs.
  """
  members = [np.flatnonzero(labels == number) for number in np.unique(labels)
             if number >= 0]
  several = [rows for rows in members if len(rows) > 1]
  # A bit generator's raw stream is stable across NumPy releases.
  stream = np.random.Philox(key=[len(labels), count])

  def below(limit: int) -> int:
    return int(stream.random_raw() % np.uint64(limit))

  def two_of_one() -> tuple[int, int]:
    rows = several[below(len(several))]
    a, b = below(len(rows)), below(len(rows) - 1)
    return rows[a], rows[b + (b >= a)]

  def one_of_two() -> tuple[int, int]:
    a, b = below(len(members)), below(len(members) - 1)
    one, other = members[a], members[b + (b >= a)]
    return one[below(len(one))], other[below(len(other))]

  same = _distinct(two_of_one, count // 2) if several else []
  return same + (_distinct(one_of_two, len(same)) if len(members) > 1 else [])


def _distinct(draw: Callable[[], tuple[int, int]], count: int
              ) -> list[tuple[int, int]]:
  """Distinct pairs of those that are drawn, at most `count`."""
  found: dict[tuple[int, int], None] = {}
  for _ in range(_TRIES * count):
    if len(found) == count:
      break
    a, b = draw()
    found[int(min(a, b)), int(max(a, b))] = None
  return [*found]


def _partners(pairs: np.ndarray, length: int) -> np.ndarray:
  """The partners of each row, int32 `[length, most]`, -1 for none."""
  order = np.argsort(pairs[:, 0], kind='stable')
  first, second = pairs[order].T
  counts = np.bincount(first, minlength=length)
  starts = np.cumsum(counts) - counts
  partners = np.full((length, max(1, counts.max(initial=0))), -1, np.int32)
  partners[first, np.arange(len(first)) - starts[first]] = second
  return partners
