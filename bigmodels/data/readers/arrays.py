"""Reads new arrays and images for runs of any source, by the shapes of its columns."""

import dataclasses
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.folders import image_files
from bigmodels.data.readers import tables
from bigmodels.data.readers.files import FileReader
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples
from bigmodels.data.sources import Columns, length_of
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.table_files import SUFFIXES as TABLES

SUFFIXES = ('.npy', '.npz')
_BYTES = 2**26  # of a chunk


@dataclasses.dataclass(frozen=True)
class ArrayReader:
  """Reads arrays: `.npy` and `.npz` files; images, if inputs are images; CSV files, if
  features have names.

  Attributes:
    run: name of the run, for errors.
    reads: columns that the run reads, besides labels.
    like: column -> one example of it, `[1, ...]`.
    tokenizer: of text; None for other data.
    features: names along the last axis of the inputs, or None.
    target: name of the label, or None.
    classes: the classes of the labels, or None.
    fit: (image, numpy.random.Generator) -> image of the shape of inputs; None resizes
      images of another size.
    reading: settings for reading CSV files; None if features have no names.
    say: prints a line.
  """

  run: str
  reads: Sequence[str]
  like: Columns
  tokenizer: Any = None
  features: Sequence[str] | None = None
  target: str | None = None
  classes: Sequence[str] | None = None
  fit: Callable | None = None
  reading: Reading | None = None
  say: Callable[[str], None] = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`."""
    return True

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns columns `[n, ...]`, checked against what the run reads.

    Lists and arrays of float64 become float32 where the run reads that. If features
    have names, `values` may have them, as a mapping or a DataFrame.

    Args:
      values: the column `inputs`, or None.
      others: name -> column.

    Raises:
      UserError: for columns that do not fit the run.
    """
    if self.features and not others and (
      isinstance(values, Mapping) or hasattr(values, 'columns')):
      return self._table.columns(values, others)
    if isinstance(values, str) and pathlib.Path(values).suffix:
      raise UserError(f'a file is given as pathlib.Path({values!r})')
    given = others if values is None else {'inputs': values, **others}
    unknown = [name for name in given if name not in self.reads]
    if unknown:
      raise UserError(f'{self.run} reads {", ".join(self.reads)}, not '
                      f'{", ".join(unknown)}')
    columns = {name: _array(name, column, self.like[name].dtype)
               for name, column in given.items()}
    if self.tokenizer is not None and 'inputs' in columns and not self._shape:
      self._add_segments(columns)
    missing = [name for name in self.reads if name not in columns]
    if missing:
      raise UserError(f'{self.run} needs the column{"s" * (len(missing) > 1)} '
                      f'{", ".join(missing)}: pass {"=..., ".join(missing)}=...')
    for name in columns:
      self._check(name, columns)
    if not len(columns[next(iter(columns))]):
      raise UserError(f'{next(iter(columns))}: must have >= 1 row, got 0')
    return columns

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the examples of files; see `Reader`.

    Raises:
      UserError: for files of another kind, or without what the run reads.
    """
    kinds = [(suffixes, of) for suffixes, of in (
      (SUFFIXES, self._of_arrays), (TABLES if self.features else (), (
        lambda paths, labels: self._table.examples(paths, labels=labels))),
      ((*image_files.SUFFIXES, '.csv') if self._shape else (), self._of_images)) if (
        suffixes)]
    first = None
    for path in paths:
      kind = next((of for suffixes, of in kinds if _has_suffix(path, suffixes)), None)
      if kind is None:
        legal = [suffix for suffixes, _ in kinds for suffix in sorted(suffixes)]
        raise UserError(f'{path}: {self.run} reads files that end in {listed(legal)}')
      first = first or kind
      if kind is not first:
        raise UserError(f'{paths[0]} and {path} are files of different kinds; give one '
                        'kind at a time')
    return first([*paths], labels)

  # --- arrays -------------------------------------------------------------------

  def _of_arrays(self, paths: list[pathlib.Path], labels: bool) -> Examples:
    names = [*self.reads, *(['labels'] if labels else [])]
    every = [file for path in paths for file in of_suffix(
      path, SUFFIXES, self.say)]
    files = [self._open(file, names) for file in every]
    lengths = [length_of(columns) for columns in files]
    total = sum(lengths)
    each = max(1, sum(column[:1].nbytes for column in files[0].values()))
    size = max(1, _BYTES // each)

    def chunks(first: int) -> Iterator[Chunk]:
      begin = 0
      for columns, length in zip(files, lengths, strict=True):
        for start in range(max(first - begin, 0), length, size):
          part = {name: np.asarray(column[start : start + size])
                  for name, column in columns.items()}
          given = part.pop('labels', None)
          faults, part = self._not_finite(part)
          count = length_of(part)
          yield Chunk(part, range(begin + start, begin + start + count),
                      (begin + start + count) / total, faults=faults, labels=given)
        begin += length

    return Examples(chunks, every, total)

  def _open(self, path: pathlib.Path, names: Sequence[str]) -> Columns:
    """The columns of a file, memory-mapped if it is `.npy`."""
    try:
      found = np.load(path, mmap_mode='r' if path.suffix == '.npy' else None,
                      allow_pickle=False)
      columns = {'inputs': found} if isinstance(found, np.ndarray) else {
        name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
      why = str(error).partition(' If you trust')[0]  # NumPy's advice to unpickle
      raise UserError(f'{path}: is not a NumPy array: {why}') from None
    for name in names:
      if name in columns and not columns[name].ndim:
        raise UserError(f'{path}: {name}: must be {self._shape_of(name)}, got one '
                        'number')
    for name in names:
      if name not in columns and name != 'segments':
        hint = '' if path.suffix == '.npz' else '; an .npz file holds several columns'
        raise UserError(f'{path}: no column {name!r}{nearest(name, columns)}{hint}')
    extra = [name for name in columns if name not in (*names, 'labels')]
    if extra:
      self.say(f'{path}: columns that are not read: {listed(extra)}')
    read = {name: columns[name] for name in names if name in columns}
    labels = read.pop('labels', None)
    for name, column in read.items():
      like = self.like[name]
      fits = column.dtype == like.dtype or (
        column.dtype == np.float64 and like.dtype == np.float32) or (
          self.tokenizer is not None and column.dtype.kind in 'iu')
      if column.shape[1:] != like.shape[1:] or not fits:
        raise UserError(f'{path}: {name}: must be {self._shape_of(name)}, got '
                        f'{[*column.shape]} {column.dtype}')
    try:
      some = {name: column[:1] for name, column in read.items()}
      if not length_of(read):
        raise UserError('must have >= 1 row, got 0')
      self.columns(some.pop('inputs', None), some)
    except (UserError, ValueError) as error:
      raise UserError(f'{path}: {error}') from None
    read = {name: column.astype(self.like[name].dtype) if (
      column.dtype == np.float64) else column for name, column in read.items()}
    if labels is None:
      return read
    like = self.like['labels']
    if labels.shape[1:] != like.shape[1:] or (
      labels.dtype.kind in 'iub') != (like.dtype.kind in 'iu'):
      raise UserError(f'{path}: labels: must be {self._shape_of("labels")}, got '
                      f'{[*labels.shape]} {labels.dtype}')
    if len(labels) != length_of(read):
      raise UserError(f'{path}: labels: must have as many rows as {next(iter(read))}, '
                      f'{length_of(read)}, got {len(labels)}')
    return {**read, 'labels': labels.astype(like.dtype)}

  def _not_finite(self, columns: Columns) -> tuple[dict[int, str], Columns]:
    """Why rows have no prediction; and the columns, with zeros there."""
    faults = {}
    for name, column in columns.items():
      if column.dtype.kind == 'f':
        finite = np.isfinite(column).all(tuple(range(1, column.ndim)))
        faults |= dict.fromkeys(np.flatnonzero(~finite).tolist(),
                                f'{name} has values that are not finite')
    if faults:
      rows = [*faults]
      columns = {name: column.copy() for name, column in columns.items()}
      for column in columns.values():
        column[rows] = 0
    return faults, columns

  # --- images and tables --------------------------------------------------------

  @property
  def _shape(self) -> tuple[int, ...] | None:
    """The shape of an image, if that is what the run reads."""
    if [*self.reads] != ['inputs']:
      return None
    like = self.like['inputs']
    shape = like.shape[1:]
    return shape if like.dtype == np.uint8 and len(shape) == 3 and (
      shape[-1] in (1, 3)) else None

  def _of_images(self, paths: list[pathlib.Path], labels: bool) -> Examples:
    height, width, channels = self._shape
    reading = image_files.ImageReading(
      channels, None if self.fit else (height, width), None if self.fit else 'crop',
      self.fit, notes_changes=True)
    reader = FileReader(reading, image_files.SUFFIXES, self.classes, say=self.say)
    if 'labels' in self.like and self.like['labels'].ndim > 1:  # such as masks
      reader = dataclasses.replace(reader, unlabelled=(
        f'{self.run}: labels must be {self._shape_of("labels")}, which files of images '
        'do not have; an .npz file of inputs and labels has them'))
    return reader.examples(paths, labels=labels)

  @property
  def _table(self) -> tables.TableReader:
    return tables.of_features(self.features, self.target, self.classes, self.reading,
                              self.say)

  # --- checks -------------------------------------------------------------------

  def _add_segments(self, columns: Columns) -> None:
    """Checks tokens, and marks those that are no padding."""
    like, size = self.like['inputs'], self.tokenizer.size
    inputs = columns['inputs']
    if inputs.dtype.kind not in 'iu' or inputs.shape[1:] != like.shape[1:]:
      raise self._misfit('inputs', inputs, 'integers')
    wrong = (inputs < 0) | (inputs >= size)
    if wrong.any():
      row, position = np.argwhere(wrong)[0]
      raise UserError(f'inputs: the token {inputs[row, position]} of row {row} is not '
                      f'in the vocabulary, 0 to {size - 1}')
    columns['inputs'] = inputs.astype(like.dtype)
    pad = self.tokenizer.special.get('pad')
    if 'segments' in self.reads and 'segments' not in columns and pad is not None:
      later = np.cumsum((columns['inputs'] != pad)[:, ::-1], 1)[:, ::-1]
      columns['segments'] = (later > 0).astype(self.like['segments'].dtype)

  def _check(self, name: str, columns: Columns) -> None:
    array, like, first = columns[name], self.like[name], next(iter(columns))
    if array.shape[1:] != like.shape[1:] or array.dtype != like.dtype or not array.ndim:
      raise self._misfit(name, array, like.dtype)
    if len(array) != len(columns[first]):
      raise UserError(f'{name}: must have as many rows as {first}, '
                      f'{len(columns[first])}, got {len(array)}')
    if array.dtype.kind == 'f':
      wrong = ~np.isfinite(array).all(tuple(range(1, array.ndim)))
      if wrong.any():
        raise UserError(f'{name}: {wrong.sum():,} of {len(array):,} rows have values '
                        f'that are not finite in {array.dtype}, the first is row '
                        f'{wrong.argmax()}')

  def _shape_of(self, name: str, kind: Any = None) -> str:
    like = self.like[name]
    shape = ', '.join(map(str, ('n', *like.shape[1:])))
    return f'[{shape}] {kind or like.dtype}'

  def _misfit(self, name: str, array: np.ndarray, kind: Any) -> UserError:
    return UserError(f'{self.run}: {name}: must be {self._shape_of(name, kind)}, got '
                     f'{[*array.shape]} {array.dtype}')


def _has_suffix(path: pathlib.Path, suffixes: Sequence[str]) -> bool:
  """Whether a file, or a file in a folder, ends in a suffix."""
  if not path.is_dir():
    return path.name.lower().endswith(tuple(suffixes))
  try:
    return bool(of_suffix(path, suffixes))
  except UserError:
    return False


def _array(name: str, column: Any, dtype: np.dtype) -> np.ndarray:
  if isinstance(column, Mapping) or hasattr(column, 'columns'):
    raise UserError(f'{name}: must be an array, got {type(column).__name__}')
  if np.ma.is_masked(column):
    raise UserError(f'{name}: must be an array without masked values, got '
                    f'{np.ma.count_masked(column):,} of them')
  try:
    array = np.asarray(column)
  except ValueError as error:  # a ragged list
    raise UserError(
      f'{name}: must be an array of rows of one shape ({error})') from None
  if array.dtype == np.float64 and dtype == np.float32:
    with np.errstate(over='ignore'):  # an infinity is refused below
      return array.astype(dtype)
  return array
