"""A subset of another source."""

import dataclasses
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.arrays import are_names
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset, intact, zeros


@dataclasses.dataclass(frozen=True)
class Subset:
  """Some classes of a split of another source, or a few examples of each.

  Attributes:
    source: a split with classes; all its labels are read.
    classes: names of the classes to keep, which become 0, 1, ... in this order; None
      keeps all.
    each: maximum number of examples of each class, the same examples on every machine;
      None keeps all.
  """

  source: Any
  classes: tuple[str, ...] | None = None
  each: int | None = None

  def __post_init__(self):
    if self.each is not None and (not isinstance(self.each, numbers.Integral)
                                  or self.each < 1):
      raise ValueError(f'each: must be an integer >= 1, got {self.each!r}')
    if self.classes is not None and not are_names(self.classes):
      raise ValueError('classes: must be distinct names, got '
                       f'{self.classes!r}')

  @property
  def reader(self) -> Callable[[DataContext], Reader] | None:
    """Makes the other source's reader of new examples, if it has one."""
    return getattr(self.source, 'reader', None)

  def open(self, context: DataContext) -> Dataset:
    """Opens the other source and reads its labels.

    Raises:
      UserError: if it has no classes, one of these or its examples are missing, or a
        label is not a class.
    """
    whole = self.source.open(context)
    if whole.classes is None:
      raise UserError('Subset: needs data with classes')
    names = self.classes or whole.classes
    for name in names:
      if whole.named and name not in whole.classes:
        raise UserError(f'Subset: there is no class {name!r}'
                        f'{nearest(name, whole.classes)}')
    if whole.shapes_only:
      return self._shapes(whole, names, context)
    labels = known_labels(whole, context, 'Subset')
    found = []
    for name in names:
      of_class, = np.nonzero(labels == whole.classes.index(name))
      if not len(of_class):
        raise UserError(f'Subset: the class {name!r} has no example')
      if self.each is not None:
        order = np.random.Philox(key=len(labels)).random_raw(len(labels))[of_class]
        of_class = of_class[np.argsort(order, kind='stable')[: self.each]]
      found.append(of_class)
    return of_rows(whole, np.sort(np.concatenate(found)), names)

  def _shapes(self, whole: Dataset, names: tuple[str, ...], context: DataContext
              ) -> Dataset:
    """The dataset if all classes had the same number of examples."""
    count = len(whole.classes)
    if len(names) > count:
      raise UserError(f'Subset: {len(names)} classes of a dataset with {count}')
    each = whole.length // count
    each = each if self.each is None else min(each, self.each)
    length = each * len(names)
    context.say(f'assumed: a subset of {whole.identity} has {each:,} examples of each '
                f'of {len(names)} classes')
    return shapes(whole, length, names,
                  f'{whole.identity}: {length} rows of {", ".join(names)}')


def of_rows(whole: Dataset, rows: np.ndarray, names: Sequence[str]) -> Dataset:
  """Returns some rows of a split, whose labels are numbered anew.

  Args:
    whole: a split with classes.
    rows: int `[n]`, of the classes that are kept.
    names: the classes that are kept, which become 0, 1, ... in this order.
  """
  number = np.full(len(whole.classes), -1, np.int32)
  number[[whole.classes.index(name) for name in names]] = np.arange(len(names))
  found = taken(whole, rows, f'of {", ".join(names)}')

  def numbered(columns: Columns) -> Columns:
    return {**columns, 'labels': number[columns['labels']]}

  return found._replace(
    load=lambda: numbered(found.load()),
    read=lambda index, seeds=None: numbered(found.read(index, seeds)),
    labels=None, classes=tuple(names))


def taken(whole: Dataset, rows: np.ndarray, what: str) -> Dataset:
  """Returns some rows of a split.

  Args:
    whole: the split, of examples that are kept as their columns.
    rows: int `[n]`.
    what: which rows they are, for the identity.
  """
  identity = f'{whole.identity}: {len(rows)} rows {what}'
  if whole.shapes_only:
    return shapes(whole, len(rows), whole.classes, identity)
  buckets, composition = whole.buckets, whole.composition
  return whole._replace(
    length=len(rows), identity=identity,
    load=lambda: {name: array[rows] for name, array in whole.load().items()},
    read=lambda index, seeds=None: whole.read(rows[index], seeds),
    labels=whole.labels and (lambda: np.asarray(whole.labels())[rows]),
    compact=None, nbytes=None if whole.compact else (
      whole.nbytes and whole.nbytes * len(rows) // whole.length),
    buckets=buckets and dataclasses.replace(buckets, of=buckets.of[rows]),
    composition=composition and dataclasses.replace(
      composition, of=np.unique(composition.of[rows], return_inverse=True)[1]),
    describe=whole.describe and (lambda row: whole.describe(int(rows[row]))),
    words=whole.words and (lambda index: whole.words(rows[index])),
    origin=whole.origin and whole.origin.take(rows, whole.length),
    ids={name: column[rows] for name, column in whole.ids.items()})


def shapes(whole: Dataset, length: int, names: Sequence[str] | None, identity: str
           ) -> Dataset:
  """Returns the shapes of some rows of a split of which only shapes are known.

  Args:
    whole: the split.
    length: number of rows.
    names: their classes.
    identity: of the dataset.
  """
  return zeros(
    {name: (array.dtype, array.shape[1:])
     for name, array in whole.read(np.zeros(1, int)).items()},
    length, names, identity, nbytes=whole.nbytes and (
      whole.nbytes * length // whole.length), provides=whole.provides)


def known_labels(dataset: Dataset, context: DataContext, name: str) -> np.ndarray:
  """Returns the class of every row, int `[length]`, -1 where it cannot be read.

  Args:
    dataset: a split with classes.
    context: prints which rows cannot be read.
    name: what reads the labels, for the line.

  Raises:
    UserError: for a label that is not a class.
  """
  if dataset.labels:
    labels = np.asarray(dataset.labels())
  else:
    columns = dataset.load()
    labels = np.full(dataset.length, -1, np.int32)
    rows = intact(columns)
    labels[rows] = columns['labels'][rows]
    wrong = rows[(labels[rows] < 0) | (labels[rows] >= len(dataset.classes))]
    if len(wrong):
      raise UserError(f'{name}: the label of row {wrong[0]} is {labels[wrong[0]]}, '
                      f'must be 0 to {len(dataset.classes) - 1}')
  lost, = np.nonzero(labels < 0)
  if len(lost):
    context.say(f'{name}: {len(lost)} of {dataset.length:,} examples are corrupt and '
                f'skipped: rows {", ".join(map(str, lost[:20]))}')
  return labels
