"""NumPy files as a source: `.npy`, memory-mapped if they are large, and `.npz`."""

import dataclasses
import functools
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest
from bigmodels.core.paths import resolved
from bigmodels.data import columns as checks
from bigmodels.data.arrays import Arrays
from bigmodels.data.origins import Origin
from bigmodels.data.sources import Columns, DataContext, Dataset, held_out, length_of

_LARGE = 2**31  # bytes: more is not read whole
_SAMPLE = 1024  # rows that identify a large file, and that are checked at first


@dataclasses.dataclass(frozen=True)
class ArrayFiles:
  """Arrays in NumPy files as a source, one for each column.

    ArrayFiles('images.npy', 'labels.npy')
    ArrayFiles('mnist.npz:x_train', 'mnist.npz:y_train', selected=None)

  A column is a `.npy` file, or FILE.npz:NAME. Values are checked as those of `Arrays`.
  Of more than 2 GB, `.npy` files are memory-mapped: batches are read from the disk, a
  sample of rows identifies the data, and values are checked when they are read.

  Attributes:
    inputs: file of `[length, ...]`, the column that models with one input read.
    labels: file of `[length, ...]`; integers and bools are classes, floats are targets.
      None for data without labels.
    splits: name -> fraction.
    selected: the split that `open` returns, or None for all.
    classes: names of the classes 0, 1, ...; see `Arrays`.
    columns: name -> file, instead of `inputs` or in addition.
  """

  inputs: str | None = None
  labels: str | None = None
  splits: Mapping[str, float] = dataclasses.field(
    default_factory=lambda: {'train': 0.8, 'test': 0.2})
  selected: str | None = None
  classes: tuple[str, ...] | None = None
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for name in ('inputs', 'labels'):
      if getattr(self, name) is not None:
        object.__setattr__(self, name, _absolute(getattr(self, name), name))
    object.__setattr__(self, 'columns', {
      name: _absolute(path, f'columns.{name}') for name, path in self.columns.items()})
    if not self._paths():
      raise ValueError('inputs: must be the path of a file, got none')

  def split(self, name: str) -> 'ArrayFiles':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the arrays, or maps them if they are large.

    Raises:
      UserError: if a file is missing or none of NumPy, arrays differ in length, or
        values cannot be represented; see `Arrays`.
    """
    arrays = {name: _opened(name, path) for name, path in self._paths().items()}
    for name, array in arrays.items():
      if not array.ndim or not len(array):
        raise UserError(f'ArrayFiles: {name} must have at least one row, is '
                        f'{array.shape}')
    try:
      length = length_of(arrays)
    except ValueError as error:
      raise UserError(f'ArrayFiles: {error}') from None
    rows = None if self.selected is None else held_out(
      length, self.selected, self.splits)
    if sum(array.nbytes for array in arrays.values()) > _LARGE:
      dataset = self._mapped(arrays, length, rows, context)
    else:
      try:
        dataset = Arrays(arrays.pop('inputs', None), arrays.pop('labels', None),
                         self.splits, self.selected, self.classes, arrays).open(context)
      except ValueError as error:
        raise UserError(f'ArrayFiles: {error}') from None
    found = Origin({}) if dataset.origin is None else dataset.origin
    inside = range(length) if rows is None else rows
    names = [path for name, path in self._paths().items() if name != 'labels']
    return dataset._replace(
      describe=lambda row: f'row {int(inside[row])} of the arrays',
      origin=Origin({**found.rows, **dict.fromkeys(names, inside)}, {
        **found.settings, **({} if rows is None else {
          f'splits of {name}': dict(self.splits) for name in names})}))

  def _paths(self) -> dict[str, str]:
    given = {'inputs': self.inputs, 'labels': self.labels}
    return {name: p for name, p in given.items() if p is not None} | {**self.columns}

  def _mapped(self, arrays: Mapping[str, np.ndarray], length: int,
              rows: np.ndarray | None, context: DataContext) -> Dataset:
    _map.cache_clear()  # a file may have changed
    sample = np.unique(np.linspace(0, length - 1, _SAMPLE).astype(int))
    crc = 0
    for name, array in sorted(arrays.items()):
      part = np.ascontiguousarray(array[sample])
      crc = zlib.crc32(part.tobytes(), zlib.crc32(
        f'{name} {array.dtype} {array.shape}'.encode(), crc))
      if name != 'labels':
        checks.numeric(name, part, None)
    labels = classes = None
    if 'labels' in arrays:
      labels, classes = checks.labels(np.asarray(arrays['labels']), self.classes, None)
      labels = labels if rows is None else labels[rows]
    size = sum(array.nbytes for array in arrays.values())
    context.note(f'{size / 1e9:,.1f} GB of arrays are mapped: {len(sample):,} rows '
                 'identify them, and values are checked when they are read')
    paths = {name: p for name, p in self._paths().items() if name != 'labels'}
    read = functools.partial(_read, paths, labels, rows)
    count = length if rows is None else len(rows)
    return Dataset(
      length=count, nbytes=size * count // length,
      load=lambda: read(np.arange(count)), read=read, classes=classes,
      identity=f'{count:,} of {length:,} rows, crc32 of {len(sample):,} rows {crc:08x}',
      labels=None if labels is None or labels.ndim > 1 else lambda: labels)


def _absolute(path: str, field: str) -> str:
  if not path:
    raise ValueError(f'{field}: must be the path of a file, got {path!r}')
  file, colon, name = _parts(path)
  return f'{resolved(file, field)}{colon}{name}'


def _parts(path: str) -> tuple[str, str, str]:
  """The file, ':' or '', and the name of an array in it."""
  before, colon, name = path.rpartition(':')
  return (before, colon, name) if before.endswith('.npz') else (path, '', '')


@functools.lru_cache(maxsize=16)  # a process reads many batches of a file
def _map(path: str) -> np.ndarray:
  return _opened('ArrayFiles', path)


def _opened(field: str, path: str) -> np.ndarray:
  """The array of a file; `.npy` is mapped.

  Raises:
    UserError: if it is missing, or none of NumPy.
  """
  file, _, name = _parts(path)
  where = pathlib.Path(file)
  if not where.exists():
    beside = [p.name for p in where.parent.glob('*.np[yz]')]
    raise UserError(f'{field}: there is no {file}{nearest(where.name, beside)}')
  files.require_file(where)
  if where.is_dir():
    raise UserError(f'{field}: {file} is a folder; must be a file')
  try:
    found = np.load(file, mmap_mode='r', allow_pickle=False)
    if isinstance(found, np.ndarray):
      return found
    with found:
      names = found.files
      if not name and len(names) == 1:
        return found[names[0]]
      if name in names:
        return found[name]
  except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    objects = 'pickle' in str(error) or 'Python objects' in str(error)
    reason = 'it has Python objects' if objects else str(error)
    raise UserError(f'{field}: {file} is not a NumPy array: {reason}') from None
  raise UserError(f'{field}: {file} has several arrays: set {file}:NAME'
                  f'{nearest(name, names)}')


def _read(paths: Mapping[str, str], labels: np.ndarray | None, rows: np.ndarray | None,
          index: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
  """Rows of mapped files; the files are opened in whatever process this runs in."""
  del seeds
  which = index if rows is None else rows[index]
  order = np.argsort(which, kind='stable')  # in the order of the disk
  back = np.argsort(order, kind='stable')
  found: dict[str, Any] = {}
  for name, path in paths.items():
    part = np.asarray(_map(path)[which[order]])[back]
    found[name] = checks.numeric(name, part, None)
  if labels is not None:
    found['labels'] = labels[index]
  return found
