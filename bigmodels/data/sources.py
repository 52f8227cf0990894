"""What a source of examples is, once opened; and the sources that live in memory.

A source is a frozen record with `split(name)` and `open(context) -> Dataset`. Nothing
is read before it is opened. `inputs` and `labels` are the names of the columns
everywhere; `rows` counts examples of a split from 0. A source that knows its shapes
without its examples reads none where `DataContext.shapes_only` asks for no more.
"""

import dataclasses
import numbers
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, in_a_line, nearest
from bigmodels.data import columns as checks
from bigmodels.data import origins
from bigmodels.data.origins import Origin

Columns = dict[str, np.ndarray]


class Dataset(NamedTuple):
  """One opened split, with random access.

  Attributes:
    length: number of examples.
    nbytes: size of all columns in memory, or None if examples differ in shape.
    load: () -> every column, `[length, ...]`; may be memory-mapped.
    read: (rows `[n]`, seeds uint64 `[n, 2]`) -> these rows of every column, `[n, ...]`,
      decoded. The seeds are for what is drawn on the way, see `Order.seeds`; left out,
      they are zeros. The column `corrupt`, bool, of a source that has one, tells what
      could not be decoded and is zeros; so it does in `load`.
    classes: their names where labels are class indices, else None.
    identity: a text that changes when the data does.
    tokenizer: what made the tokens of text, or None.
    describe: row -> where the example comes from, and what is wrong with it if it
      cannot be decoded; None if there is no more to say than the row.
    labels: () -> that column, `[length]`, -1 where it cannot be read, if it can be had
      without the others; None if it is `load` that gives it.
    shapes_only: whether every example is zeros, in place of those of the data.
    named: whether `classes` are their names: a description may only have their number.
    features: names of what stands along the last axis of the inputs, or None.
    target: the name of what the labels are of, or None.
    origin: which rows of which source these are, or None if that is not known.
  """

  length: int
  nbytes: int | None
  load: Callable[[], Columns]
  read: Callable[..., Columns]
  classes: tuple[str, ...] | None
  identity: str
  tokenizer: Any = None
  describe: Callable[[int], str] | None = None
  labels: Callable[[], np.ndarray] | None = None
  shapes_only: bool = False
  named: bool = True
  features: tuple[str, ...] | None = None
  target: str | None = None
  origin: Origin | None = None


@dataclasses.dataclass
class DataContext:
  """What sources need of the world, and what is kept with the run.

  Attributes:
    data_dir: where TFDS datasets are; None for TFDS's own default.
    cache_dir: where decoded data may be kept from run to run.
    kept: what was fitted on training data, by name; JSON. A resumed or evaluated run
      gets it from its workdir, so nothing is ever fitted twice.
    say: prints a line for the user.
    open_run: path -> the finished run there, a `training.runs.Run`; UserError if there
      is none.
    shapes_only: whether nothing is going to be run: a source may then give a dataset
      that is `shapes_only`, and says what it assumes.
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
    """What is kept under a name, fitted now if nothing is."""
    if name not in self.kept:
      self.kept[name] = fit()
    return self.kept[name]

  def note(self, line: str) -> None:
    """Prints a line about the data, once a run, and keeps it for the report."""
    lines = self.keep('notes', list)
    if line not in lines:
      lines.append(line)
      self.say(line)

  def check(self, name: str, identity: str) -> None:
    """Refuses data that is not what the run began with."""
    before = self.keep(f'identity {name}', lambda: identity)
    if before != identity:
      raise UserError(
        f'the data of {name!r} has changed since this run began: it was {before}, '
        f'now {identity}; start a new run with another --workdir'
      )


def in_lines(say: Callable[[str], None]) -> Callable[[str], None]:
  """For `DataContext.say`: what comes from data cannot make two lines of one."""
  return lambda text: say(in_a_line(text))


def in_memory(columns: Columns, classes: tuple[str, ...] | None) -> Dataset:
  """A dataset of arrays that are in memory already.

  Args:
    columns: arrays with the same first dimension.
    classes: names of the classes, or None.
  """
  crc = 0
  for name, array in sorted(columns.items()):
    name = f'{name} {array.dtype} {array.shape}'
    crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).ravel(),
                     zlib.crc32(name.encode(), crc))
  return Dataset(
    length=len(columns['inputs']),
    nbytes=sum(a.nbytes for a in columns.values()),
    load=lambda: columns,
    read=lambda rows, seeds=None: {
      name: array[rows] for name, array in columns.items()},
    classes=classes,
    identity=f'{len(columns["inputs"])} rows, crc32 {crc:08x}',
  )


def zeros(columns: Mapping[str, tuple[str, Sequence[int]]], length: int,
          classes: Sequence[str] | None, identity: str, **fields: Any) -> Dataset:
  """A dataset that is known by its shapes only; its columns take no memory.

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
  """The rows of columns that could be decoded; see `Dataset.read`."""
  corrupt = columns.get('corrupt', np.zeros(len(columns['inputs']), bool))
  return np.flatnonzero(~corrupt)


def held_out(length: int, split: str, splits: Mapping[str, float],
             groups: np.ndarray | None = None) -> np.ndarray:
  """The rows of one of several random, disjoint splits.

  The order is fixed: it does not depend on the seed of an experiment, so that two
  seeds are tested on the same examples.

  Args:
    length: rows in all.
    split: name of the one wanted.
    splits: name -> fraction; they add up to 1.
    groups: the number of the group that each row is in, int `[length]`: rows of one
      group stay in one split. A split then has as many rows as its fraction says, but
      for half a group at either end. None: each row is a group of its own.
  """
  if split not in splits:
    raise UserError(f'no split {split!r}{nearest(split, splits)}')
  # A bit generator's raw stream is stable across NumPy releases; shuffles are not.
  order = np.argsort(np.random.Philox(key=length).random_raw(length), kind='stable')
  names, cuts = list(splits), np.cumsum([0.0, *splits.values()])
  if not np.isclose(cuts[-1], 1.0):
    raise UserError(f'splits: the fractions add up to {cuts[-1]:g}, not 1')
  edges = np.round(cuts * length).astype(int)
  index = names.index(split)
  if groups is None:
    rows = order[edges[index] : edges[index + 1]]
  else:
    _, firsts, group, sizes = np.unique(
      groups[order], return_index=True, return_inverse=True, return_counts=True)
    by_place = np.argsort(firsts, kind='stable')  # groups, as their first rows come
    ends = np.cumsum(sizes[by_place])
    middles = np.empty(len(sizes))
    middles[by_place] = ends - sizes[by_place] / 2
    inside = (middles > edges[index]) & (middles <= edges[index + 1])
    rows = order[inside[group]]
  if not len(rows):
    raise UserError(f'the split {split!r} of {length} rows is empty: {dict(splits)}' + (
      '' if groups is None else f'; equal rows stay together, in {len(sizes)} groups'))
  return np.sort(rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
  """NumPy arrays as a source: `Arrays(inputs=..., labels=...)`.

  Anything that `numpy.asarray` makes real numbers of; what float32 cannot hold is
  refused with its place, what it rounds much is printed, see `columns`.

  Attributes:
    inputs: `[length, ...]`.
    labels: `[length, ...]`; integers and bools are classes, floats are targets.
    splits: name -> fraction.
    selected: the split that `open` gives, or None for all.
    classes: names of the classes 0, 1, ...; None numbers them up to the largest label,
      unless hardly any of these has an example.
  """

  inputs: np.ndarray
  labels: np.ndarray
  splits: Mapping[str, float] = dataclasses.field(
    default_factory=lambda: {'train': 0.8, 'test': 0.2})
  selected: str | None = None
  classes: tuple[str, ...] | None = None

  def __post_init__(self):
    lengths = []
    for name in ('inputs', 'labels'):
      try:
        lengths.append(len(getattr(self, name)))
      except TypeError:
        kind = type(getattr(self, name)).__name__
        raise ValueError(f'{name}: must be an array of rows, got {kind}') from None
    if lengths[0] != lengths[1]:
      raise ValueError(f'inputs and labels differ in length: {lengths[0]} and '
                       f'{lengths[1]}')
    if not lengths[0]:
      raise ValueError('inputs and labels are empty')
    if self.classes is not None and not _are_names(self.classes):
      raise ValueError('classes: must be names, each of them once, got '
                       f'{self.classes!r}')

  def split(self, name: str) -> 'Arrays':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Checks both arrays, and cuts the split out of them.

    Raises:
      UserError: for what is not numbers, is beyond float32, or no class.
    """
    say = context.say if self.selected in (None, 'train') else None  # once is enough
    inputs = checks.inputs(self.inputs, say)
    labels, classes = checks.labels(self.labels, self.classes, say)
    if not self.selected:
      return in_memory({'inputs': inputs, 'labels': labels}, classes)._replace(
        origin=self._origin(slice(None)))
    rows = held_out(len(inputs), self.selected, self.splits)
    dataset = in_memory({'inputs': inputs[rows], 'labels': labels[rows]}, classes)
    return dataset._replace(origin=self._origin(rows),
                            describe=lambda row: f'row {rows[row]} of the arrays')

  def _origin(self, rows: Any) -> Origin:
    whole = origins.of_array(self.inputs)
    return Origin({name: origins.some(found, rows) for name, found in whole.items()},
                  {f'splits of {name}': dict(self.splits) for name in whole}
                  if self.selected else {})


def _are_names(names: Any) -> bool:
  """Whether these are names, each of them once."""
  return not isinstance(names, str) and bool(names) and (
    all(isinstance(name, str) for name in names) and len(set(names)) == len(names))


def _labels(dataset: Dataset, context: DataContext) -> np.ndarray:
  """The class of every row, -1 where it cannot be read."""
  if dataset.labels:
    labels = np.asarray(dataset.labels())
  else:
    columns = dataset.load()
    labels = np.full(dataset.length, -1, np.int32)
    rows = intact(columns)
    labels[rows] = columns['labels'][rows]
    wrong = rows[(labels[rows] < 0) | (labels[rows] >= len(dataset.classes))]
    if len(wrong):
      raise UserError(f'Subset: the label of row {wrong[0]} is {labels[wrong[0]]}, '
                      f'wants 0 to {len(dataset.classes) - 1}')
  lost, = np.nonzero(labels < 0)
  if len(lost):
    context.say(f'Subset: {len(lost)} of {dataset.length:,} examples are corrupt, and '
                f'left out: rows {", ".join(map(str, lost[:20]))}')
  return labels


@dataclasses.dataclass(frozen=True)
class Subset:
  """Some classes of a split of another source, or a few examples of each.

  Attributes:
    source: the split, with classes, whose labels are all looked at.
    classes: their names; they become the classes 0, 1, ... in this order. None for all.
    each: examples of each class at most, the same ones on every machine; None for all.
  """

  source: Any
  classes: tuple[str, ...] | None = None
  each: int | None = None

  def __post_init__(self):
    if self.each is not None and (not isinstance(self.each, numbers.Integral)
                                  or self.each < 1):
      raise ValueError(f'each: wants a whole number, at least 1, got {self.each}')
    if self.classes is not None and not _are_names(self.classes):
      raise ValueError('classes: wants names, each of them once, got '
                       f'{self.classes!r}')

  def open(self, context: DataContext) -> Dataset:
    """Opens the other source and looks through its labels.

    Raises:
      UserError: if it has no classes, not these, no example of one of them, or a label
        that is none.
    """
    whole = self.source.open(context)
    if whole.classes is None:
      raise UserError('Subset: wants data with classes')
    names = self.classes or whole.classes
    for name in names:
      if whole.named and name not in whole.classes:
        raise UserError(f'Subset: there is no class {name!r}'
                        f'{nearest(name, whole.classes)}')
    if whole.shapes_only:
      return self._shapes(whole, names, context)
    labels = _labels(whole, context)
    found = []
    for name in names:
      of_class, = np.nonzero(labels == whole.classes.index(name))
      if not len(of_class):
        raise UserError(f'Subset: no example is of the class {name!r}')
      if self.each is not None:
        order = np.random.Philox(key=len(labels)).random_raw(len(labels))[of_class]
        of_class = of_class[np.argsort(order, kind='stable')[: self.each]]
      found.append(of_class)
    rows = np.sort(np.concatenate(found))
    number = np.full(len(whole.classes), -1, np.int32)
    number[[whole.classes.index(name) for name in names]] = np.arange(len(names))

    def read(index: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      columns = whole.read(rows[index], seeds)
      return {**columns, 'labels': number[columns['labels']]}

    def load() -> Columns:
      columns = {name: array[rows] for name, array in whole.load().items()}
      return {**columns, 'labels': number[columns['labels']]}

    return whole._replace(
      length=len(rows), load=load, read=read, classes=tuple(names), labels=None,
      nbytes=whole.nbytes and whole.nbytes * len(rows) // whole.length,
      identity=f'{whole.identity}: {len(rows)} rows of {", ".join(names)}',
      describe=whole.describe and (lambda row: whole.describe(int(rows[row]))),
      origin=whole.origin and whole.origin.take(rows, whole.length))

  def _shapes(self, whole: Dataset, names: tuple[str, ...], context: DataContext
              ) -> Dataset:
    """As if all classes had the same number of examples."""
    count = len(whole.classes)
    if len(names) > count:
      raise UserError(f'Subset: {len(names)} classes of a dataset that has {count}')
    each = whole.length // count
    each = each if self.each is None else min(each, self.each)
    length = each * len(names)
    context.say(f'assumed: a subset of {whole.identity} has {each:,} examples of each '
                f'of {len(names)} classes')
    return zeros(
      {name: (array.dtype, array.shape[1:])
       for name, array in whole.read(np.zeros(1, int)).items()},
      length, names, f'{whole.identity}: {length} rows of {", ".join(names)}',
      nbytes=whole.nbytes and whole.nbytes * length // whole.length)
