"""The interface of data sources, and of their opened splits.

A source is a frozen record with `open(context) -> Dataset`; most have `split(name)`.
Nothing is read before it is opened. A split is a dictionary of columns with the same
length, by the names that the model and the task use. Models with one input read
`inputs`; the targets are `labels`. Rows are numbered from 0 within a split. A source
that knows its shapes reads no examples if `DataContext.shapes_only` is set.
"""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data.order import Buckets, Composition
from bigmodels.data.origins import Origin

Columns = dict[str, np.ndarray]

# The splits of data that is divided at random, and their fractions of it.
FRACTIONS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
# Names of splits, and other names for them in data.
SPLIT_NAMES = {'train': 'train', 'training': 'train',
               'validation': 'validation', 'valid': 'validation', 'val': 'validation',
               'dev': 'validation', 'test': 'test', 'testing': 'test'}


class Compact(NamedTuple):
  """Columns that are gathered from smaller arrays, such as windows of a series.

  Attributes:
    load: () -> arrays of any shape, which stay on the device if the split is resident.
      They are finite.
    gather: (these arrays, rows int `[...]`) -> these rows of every column,
      `[..., ...]`; traced.
  """

  load: Callable[[], Columns]
  gather: Callable[[Mapping[str, Any], Any], dict[str, Any]]


class Dataset(NamedTuple):
  """One opened split, with random access.

  Attributes:
    length: number of examples.
    nbytes: size of all columns in memory, or of the arrays of `compact`; None if
      examples differ in shape.
    load: () -> every column, `[length, ...]`; may be memory-mapped.
    read: (rows `[n]`, seeds uint64 `[n, 2]`) -> these rows of every column, `[n, ...]`,
      decoded. The seeds are for random numbers while reading, see `Order.seeds`; if
      omitted, they are zeros. A source with examples that may be damaged has a bool
      column `corrupt`: where it is True, the example could not be decoded, and its
      other columns are zeros. `load` has that column too.
    classes: names of the classes if `labels` are class indices, else None.
    identity: a text that changes when the data does.
    describe: row -> where the example comes from, and why it cannot be decoded if so;
      None if only the row is known.
    labels: () -> the column `labels`, `[length]`, -1 where it cannot be read, if it can
      be read without the other columns; None if `load` returns it.
    shapes_only: whether all examples are zeros, in place of the data.
    named: whether `classes` are names; a description may have only their number.
    features: names along the last axis of the inputs, or None.
    target: the name of the label, or None.
    words: rows, int `[k]` -> for each example name -> text for people, such as the
      text itself or the values of a row of a table; None for data without words.
    origin: the source rows of these examples, or None if unknown.
    ids: name -> `[length]`, `object` of `str`: columns that name the examples, which no
      model reads; predictions are written beside them.
    provides: name -> () -> a value that only this source knows, and that a run supplies
      to its config under that name: the `environment` of episodes; the `tokenizer` of
      text and its `vocabulary` size; the names of the `groups` of examples; the
      `rate` of sounds; the `scale` of images.
    compact: how the split is kept on a device, if not as its columns.
    buckets: the lengths to which training batches are padded, along the first axis of
      the inputs; each is a form of the step that is compiled. None for one length, to
      which evaluations are always padded.
    composition: of training batches, such as of a few examples of each of some classes;
      None for batches of any examples.
  """

  length: int
  nbytes: int | None
  load: Callable[[], Columns]
  read: Callable[..., Columns]
  classes: tuple[str, ...] | None
  identity: str
  describe: Callable[[int], str] | None = None
  labels: Callable[[], np.ndarray] | None = None
  shapes_only: bool = False
  named: bool = True
  features: tuple[str, ...] | None = None
  target: str | None = None
  words: Callable[[np.ndarray], list[dict[str, str]]] | None = None
  origin: Origin | None = None
  ids: Mapping[str, np.ndarray] = {}
  provides: Mapping[str, Callable[[], Any]] = {}
  compact: Compact | None = None
  buckets: Buckets | None = None
  composition: Composition | None = None

  @property
  def tokenizer(self) -> Any:
    """The tokenizer of text; None for other data."""
    return self.provides.get('tokenizer', lambda: None)()


@dataclasses.dataclass
class DataContext:
  """Information about a run for its sources, and what the run stores of its data.

  Attributes:
    data_dir: folder of TFDS datasets; None for TFDS's own default.
    cache_dir: folder in which decoded data is cached across runs.
    kept: what was fitted on training data, by name, as JSON. A resumed or evaluated run
      reads it from its workdir, so that nothing is fitted twice.
    say: prints a line for the user.
    open_run: path -> the finished run at that path, a `bigmodels.training.runs.Run`;
      UserError if there is none.
    shapes_only: whether only shapes are needed. A source may then return a dataset that
      is `shapes_only`, and prints what it assumes.
    trust: whether another run that is opened may execute whatever it names.
  """

  data_dir: str | None
  cache_dir: pathlib.Path
  kept: dict[str, Any]
  say: Callable[[str], None] = print
  open_run: Callable[[str], Any] | None = None
  shapes_only: bool = False
  trust: bool = False

  def keep(self, name: str, fit: Callable[[], Any]) -> Any:
    """Returns the value stored under a name; fits and stores it if there is none."""
    if name not in self.kept:
      self.kept[name] = fit()
    return self.kept[name]

  def note(self, line: str) -> None:
    """Prints a line about the data, once per run, and stores it for the report."""
    lines = self.keep('notes', list)
    if line not in lines:
      lines.append(line)
      self.say(line)

  def check(self, name: str, identity: str) -> None:
    """Refuses data that has changed since the run began.

    Raises:
      UserError: naming both identities.
    """
    before = self.keep(f'identity {name}', lambda: identity)
    if before != identity:
      raise UserError(
        f'the data of {name!r} has changed since this run began: it was {before}, '
        f'now {identity}; start a new run with another --workdir'
      )


# What batches say of their examples under these names.
RESERVED = ('epoch', 'epochs', 'mask', 'row', 'rows')


class Source(Protocol):
  """A split of a source of examples: a frozen record, which reads nothing when made.

  A source may have more:

  - `split(name)`: the source with another split selected.
  - `download(context)`: fetches what is missing, for --mode=download.
  - `reader(context)`: makes a reader of new examples; see `readers.reader`.
  - `around(source)`: itself with the examples of another source, such as labelled files
    that a run is evaluated on.
  - `fit`: (image, numpy.random.Generator) -> image of the shape of `inputs`.
  - `inherited(kept)`: what a run takes, with the parameters of another run, of what
    that keeps; and a line to print, or ''.
  - `environment`: what agents act in.
  - `recorded(kept)`: what its splits provide, of what a run keeps, without the data.
  """

  def open(self, context: DataContext) -> Dataset:
    """Opens the split.

    Args:
      context: of the run.

    Raises:
      UserError: if the data is missing, or not as the settings say.
    """


def in_lines(say: Callable[[str], None]) -> Callable[[str], None]:
  """Returns a `DataContext.say` that prints text from data on one line."""
  return lambda text: say(one_line(text))


def length_of(columns: Mapping[str, Any]) -> int:
  """Returns the number of rows of columns.

  Raises:
    ValueError: if there is no column, or two differ in length.
  """
  lengths = {name: len(column) for name, column in columns.items()}
  if not lengths:
    raise ValueError('a dataset needs at least one column')
  if len(set(lengths.values())) > 1:
    found = ', '.join(f'{name} {length:,}' for name, length in lengths.items())
    raise ValueError(f'columns differ in length: {found}')
  return next(iter(lengths.values()))


def in_memory(columns: Columns, classes: tuple[str, ...] | None) -> Dataset:
  """Returns a dataset of arrays that are in memory already.

  Args:
    columns: arrays of numbers `[length, ...]`, at least one, of at least one row.
    classes: names of the classes that `labels` are, or None.

  Raises:
    ValueError: if columns differ in length, or one has no rows, no numbers or a
      reserved name.
  """
  length, crc = length_of(columns), 0
  for name, array in sorted(columns.items()):
    if name in RESERVED:
      raise ValueError(f'columns: {name!r} is reserved, as are {listed(RESERVED)}')
    if not length or array.dtype.kind in 'OSUMm':
      raise ValueError(f'{name}: must be numbers, in at least one row, got '
                       f'{array.dtype} {array.shape}')
    name = f'{name} {array.dtype} {array.shape}'
    crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).ravel(),
                     zlib.crc32(name.encode(), crc))
  return Dataset(
    length=length,
    nbytes=sum(a.nbytes for a in columns.values()),
    load=lambda: columns,
    read=functools.partial(_take, columns),
    classes=classes,
    identity=f'{length} rows, crc32 {crc:08x}',
  )


def _take(columns: Columns, rows: np.ndarray, seeds: np.ndarray | None = None
          ) -> Columns:
  del seeds
  return {name: array[rows] for name, array in columns.items()}


def zeros(columns: Mapping[str, tuple[str, Sequence[int]]], length: int,
          classes: Sequence[str] | None, identity: str, **fields: Any) -> Dataset:
  """Returns a dataset of which only shapes are known; its columns take no memory.

  Args:
    columns: name -> dtype and shape of an example.
    length, classes, identity, **fields: of the `Dataset`.
  """
  def column(count: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
    return np.broadcast_to(np.zeros((), dtype), (count, *shape))

  def read(rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
    del seeds
    return {name: column(len(rows), *each) for name, each in columns.items()}

  return Dataset(
    length=length, load=lambda: read(range(length)), read=read,
    classes=None if classes is None else tuple(classes), identity=identity,
    shapes_only=True, **{'nbytes': None, **fields})


def intact(columns: Columns) -> np.ndarray:
  """Returns the rows that could be decoded, int `[n]`; see `Dataset.read`."""
  corrupt = columns.get('corrupt')
  return np.arange(length_of(columns)) if corrupt is None else np.flatnonzero(~corrupt)


def canonical(name: str) -> str:
  """Returns the name of a split: `validation` for `val`, `valid` or `dev`, ..."""
  return SPLIT_NAMES.get(name.strip().lower(), name.strip())


def renamed_splits(names: Sequence[str], what: str) -> list[str]:
  """Returns lines about the names that `canonical` changes.

  Args:
    names: as they are in the data.
    what: what has these names, such as 'the folder'.
  """
  return [f'{what} {name} is the split {canonical(name)}'
          for name in sorted({*names}) if name != canonical(name)]


def check_fractions(splits: Mapping[str, float]) -> None:
  """Refuses fractions of splits that are not positive, or do not add up to 1.

  Raises:
    UserError: naming them.
  """
  for name, each in splits.items():
    if not isinstance(each, int | float) or not 0 < each <= 1:
      raise UserError(f'splits: the fraction of {name!r} must be > 0 and <= 1, got '
                      f'{each!r}')
  if not np.isclose(total := sum(splits.values()), 1.0):
    raise UserError(f'splits: the fractions must add up to 1, got {total:g}')


def held_out(length: int, split: str, splits: Mapping[str, float],
             groups: np.ndarray | None = None, classes: np.ndarray | None = None
             ) -> np.ndarray:
  """Returns the rows of one of several random, disjoint splits, int `[n]`, sorted.

  The order is fixed: it does not depend on the seed of an experiment, so that different
  seeds are tested on the same examples.

  Args:
    length: total number of rows.
    split: name of the split.
    splits: name -> fraction; they add up to 1.
    groups: the group number of each row, int `[length]`; rows of a group are in the
      same split. The size of a split then matches its fraction up to half a group at
      either end. None: each row is its own group.
    classes: the class of each row, int >= 0 `[length]`, to stratify by: every split has
      its fraction of each class, up to one row or group. None: not stratified.

  Raises:
    UserError: if there is no such split, it has no rows, or for fractions that
      `check_fractions` refuses.
  """
  if split not in splits:
    raise UserError(f'no split {split!r}{nearest(split, splits)}')
  check_fractions(splits)
  # A bit generator's raw stream is stable across NumPy releases; shuffles are not.
  order = np.argsort(np.random.Philox(key=length).random_raw(length), kind='stable')
  names, cuts = list(splits), np.cumsum([0.0, *splits.values()])
  edges = np.round(cuts * length).astype(int)
  index = names.index(split)
  if groups is None and classes is None:
    rows = order[edges[index] : edges[index + 1]]
  else:
    _, firsts, group, sizes = np.unique(
      order if groups is None else groups[order], return_index=True,
      return_inverse=True, return_counts=True)
    by_first = np.argsort(firsts, kind='stable')  # groups by their first rows
    if classes is not None:
      by_first = by_first[_interleaved(classes[order], group, sizes, by_first)]
    ends = np.cumsum(sizes[by_first])
    middles = np.empty(len(sizes))
    middles[by_first] = ends - sizes[by_first] / 2
    inside = (middles > edges[index]) & (middles <= edges[index + 1])
    rows = order[inside[group]]
  if not len(rows):
    raise UserError(f'the split {split!r} of {length} rows is empty: {dict(splits)}' + (
      '' if groups is None else f'; rows stay together in {len(sizes)} groups'))
  return np.sort(rows)


def _interleaved(classes: np.ndarray, group: np.ndarray, sizes: np.ndarray,
                 order: np.ndarray) -> np.ndarray:
  """The order in which any part of the groups has its fraction of each class.

  Args:
    classes: the class of each row, `[rows]`.
    group: the group of each row, `[rows]`.
    sizes: rows of each group, `[groups]`.
    order: the groups in random order, `[groups]`.

  Returns:
    Indices into `order`: by the fraction of a class that comes before a group's middle.
  """
  # The class of a group is the rarest that it has: a common one has other groups.
  counts = np.bincount(classes)
  by_count = np.lexsort((counts[classes], group))
  firsts = np.cumsum([0, *sizes])[:-1]
  of_group = classes[by_count][firsts][order]
  position = np.empty(len(order))
  for each in np.unique(of_group):
    members = np.flatnonzero(of_group == each)
    ends = np.cumsum(sizes[order[members]])
    position[members] = (ends - sizes[order[members]] / 2) / ends[-1]
  return np.argsort(position, kind='stable')
