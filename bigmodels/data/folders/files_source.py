"""What sources of files have in common: their paths, labels, splits and cache."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data.cached import scratch
from bigmodels.data.folders import decoding, index, labels, listing, splitting
from bigmodels.data.folders.decoding import Reading
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import (
  FRACTIONS,
  DataContext,
  Dataset,
  check_fractions,
  zeros,
)

TASKS = ('classification', 'regression', None)


@dataclasses.dataclass(frozen=True)
class FilesSource:
  """Files with labels, of which each is an example.

  Attributes:
    path: a folder `CLASS/NAME`, or `SPLIT/CLASS/NAME`; a CSV file with a row for each
      file; a glob pattern; or several of these except CSV files.
    selected: the split that `open` returns; None for all files.
    task: 'classification', 'regression' (a CSV file with numbers), or None for files
      without labels.
    splits: split -> fraction of the files that no folder or column puts in a split; see
      `splitting.assign`. None is 0.8, 0.1 and 0.1 if no splits are given.
    divide: what splits divide: 'files', which have the same classes in every split; or
      'classes', which are then each in one split only, and numbered there. Fractions
      cut the classes by the SHA-256 of their names.
    duplicates: treatment of a file that is equal to one of another given split:
      'refuse', or 'drop', which leaves it out of training.
    file_column, label_column: columns of a CSV file.
    split_column: its column of splits; None for `split` if there is one, '' for none.
    folder: folder to which the names in a CSV file are relative; None for its own.
    cache: whether to keep decoded files on disk, in `--cache_dir`; otherwise they are
      decoded again.
  """

  path: str | tuple[str, ...]
  _: dataclasses.KW_ONLY
  selected: str | None = 'train'
  task: Literal['classification', 'regression'] | None = 'classification'
  splits: Mapping[str, float] | None = None
  divide: Literal['files', 'classes'] = 'files'
  duplicates: Literal['refuse', 'drop'] = 'refuse'
  file_column: str = 'file'
  label_column: str = 'label'
  split_column: str | None = None
  folder: str | None = None
  cache: bool = True

  def __post_init__(self):
    # Absolute, so that a run can be resumed from any folder.
    several = not isinstance(self.path, str)
    if several and not self.path:
      raise ValueError('path: must be at least one path, got none')
    object.__setattr__(self, 'path', tuple(
      files.absolute(path, 'path') for path in self.path) if several else
      files.absolute(self.path, 'path'))
    if self.folder is not None:
      object.__setattr__(self, 'folder', files.absolute(self.folder, 'folder'))
    if self.task not in TASKS:
      raise ValueError(
        f'task: no task {self.task!r}{nearest(str(self.task), TASKS[:2])}')
    if self.duplicates not in ('refuse', 'drop'):
      raise ValueError(f"duplicates: must be 'refuse' or 'drop', got "
                       f'{self.duplicates!r}')
    if self.divide not in ('files', 'classes'):
      raise ValueError(f"divide: must be 'files' or 'classes', got {self.divide!r}")
    if self.divide == 'classes' and self.task != 'classification':
      raise ValueError(f"divide: must be 'files' with task={self.task!r}")
    if self.splits is not None:
      check_fractions(self.splits)

  # What a kind of file defines.

  kind = 'file'
  suffixes = frozenset()

  def header(self, data: bytes) -> tuple[int, int, int]:
    """Returns what the header of a file says, as three integers."""
    raise NotImplementedError

  def reading(self, facts: Callable[[], np.ndarray], names: Sequence[str],
              context: DataContext) -> Reading:
    """Returns how files are read, the same for all files of a run.

    Args:
      facts: () -> headers of the files, int64 `[n, 3]`; -1 if damaged.
      names: names of the files; none for new ones, see `reader`.
      context: stores what was found in the first files, such as their channels.
    """
    raise NotImplementedError

  def split(self, name: str) -> 'FilesSource':
    return dataclasses.replace(self, selected=name)

  @property
  def name(self) -> str:
    """A name for lines: that of the first path."""
    first = self.path if isinstance(self.path, str) else self.path[0]
    return one_line(pathlib.Path(first).name or str(first))

  # Reading labelled files.

  def open(self, context: DataContext) -> Dataset:
    """Finds the files of a split and their labels; decodes nothing yet.

    Raises:
      UserError: if there are no files with labels, or equal files are in two splits.
    """
    try:
      return self._open(context)
    except UserError as error:
      raise UserError(one_line(f'{self.name}: {error}')) from error

  def _open(self, context: DataContext) -> Dataset:
    found = self._labelled(context)
    if context.shapes_only:
      return self._shapes(found, context)
    scratch.sweep(context.cache_dir / 'decoded', context.say)
    known = index.of_files(found.paths, self.header, kind=self.kind, name=self.name,
                           context=context)
    readable = known.readable
    if not readable.any():
      raise UserError(f'none of {len(readable):,} {self.kind}s can be read, such as '
                      f'{found.names[0]}')
    apart = self.divide == 'classes'
    groups = found.labels if self.task == 'classification' else None
    split, lines = splitting.assign_classes(
      found.labels, found.classes, found.splits, self.splits, found.source
    ) if apart else splitting.assign(
      known.digests, groups, found.splits, self.splits, found.source)
    kept, equal = splitting.settle_equal(
      split, known.digests, readable, found.labels, found.names,
      drop=self.duplicates == 'drop')
    split[~kept] = ''
    reading = self.reading(lambda: known.facts, found.names, context)
    counts = splitting.counts(
      split[kept], None if found.labels is None else found.labels[kept], found.classes,
      self.kind, apart=apart)
    damaged = np.flatnonzero(~readable)
    if len(damaged):
      names = listed((found.names[row] for row in damaged), 3)
      counts.append(f'corrupt: {listing.counted(len(damaged), self.kind)} whose header '
                    f'cannot be read: {names}')
    for line in (
      f'{self.name}: {len(found.paths):,} {self.kind}s' + (
        f', {listing.counted(len(found.classes), "class")}' if found.classes else ''),
      *found.lines, *lines, *equal, *counts, *reading.lines(known.facts[readable])):
      start = '' if line.startswith((self.name, 'warning')) else '  '
      context.note(one_line(start + line))
    if self.selected is None:
      rows = np.flatnonzero(kept)
    else:
      rows = splitting.select(
        split, self.selected, found.source if found.splits else '',
        self.splits or FRACTIONS)
    if apart:
      found = found.numbered(rows)
    entry = decoding.entry(reading, self.name, found.paths, known, context.cache_dir
                           ) if self.cache and reading.fixed else None
    examples = decoding.Rows(reading, found.paths, found.names, found.labels, rows,
                             entry, context.say, known.contents if entry else ())
    ours = None if found.labels is None else found.labels[rows]
    names = [found.names[row] for row in rows]
    return Dataset(
      length=len(rows), nbytes=self._nbytes(reading, len(rows)), load=examples.load,
      read=examples.read, classes=found.classes,
      identity=f'{self.name} {self.selected or "all"}: {len(rows):,} {self.kind}s, '
               f'sha256 {index.identity(names, ours, known.take(rows))}',
      describe=examples.describe,
      labels=None if reading.fixed or ours is None else examples.labels,
      target=self.label_column if self.task == 'regression' else None,
      ids={'file': np.array(names, object)},
      origin=Origin({splitting.KEYS: splitting.content_codes(known.digests[rows])}, {
        f'splits of {self.path}': self.splits and dict(self.splits)}))

  def _labelled(self, context: DataContext) -> labels.FileLabels:
    """The files, with their labels and given splits."""
    paths = (self.path,) if isinstance(self.path, str) else self.path
    if any(pathlib.Path(path).suffix.lower() == '.csv' for path in paths):
      if len(paths) > 1:
        raise UserError('path: a CSV file must be the only path')
      path = files.find(paths[0], context.data_dir)
      folder = path.parent if self.folder is None else (
        files.find(self.folder, context.data_dir))
      return labels.of_csv(
        path, self.kind, folder=folder, file=self.file_column, split=self.split_column,
        label=None if self.task is None else self.label_column,
        numbers=self.task == 'regression')
    if self.task == 'regression':
      raise UserError("task: 'regression' needs a CSV file of numbers as the path")
    found = listing.find(paths, self.suffixes, what=self.kind,
                         data_dir=context.data_dir)
    if not found.files:
      raise UserError(f'there is no {self.kind} in {", ".join(paths)}' + (
        f' ({found.lines[0]})' if found.lines else ''))
    return labels.of_folders(found, self.kind, labelled=self.task is not None)

  def _nbytes(self, reading: Reading, length: int) -> int | None:
    if not reading.fixed:
      return None
    each = int(np.prod(reading.shape)) * np.dtype(reading.dtype).itemsize
    return length * (each + (0 if self.task is None else 4))

  def _shapes(self, found: labels.FileLabels, context: DataContext) -> Dataset:
    """The split with zeros for its examples; only the first headers are read."""
    first = [path for path in found.paths[:8]]
    reading = self.reading(lambda: index.read(first, self.header).facts,
                           found.names[:8], context)
    shape, dtype = reading.shape, reading.dtype
    if shape is None:
      example, *_ = decoding.examples(
        reading, first, np.zeros((len(first), 2), np.uint64))
      shape, dtype = example.shape[1:], example.dtype.name
    length = len(found.paths)
    if self.divide == 'classes' and self.selected is not None:
      split, _ = splitting.assign_classes(
        found.labels, found.classes, found.splits, self.splits, found.source)
      rows = splitting.select(
        split, self.selected, found.source if found.splits else '',
        self.splits or FRACTIONS)
      found, length = found.numbered(rows), len(rows)
    elif self.selected is not None and found.splits is not None and (
      self.selected in found.splits):
      length = found.splits.count(self.selected)
    elif self.selected is not None:
      fractions = self.splits or FRACTIONS
      if self.selected not in fractions:
        raise UserError(
          f'no split {self.selected!r}{nearest(self.selected, fractions)}')
      length = max(1, round(length * fractions[self.selected]))
    context.say(f'assumed: {self.name}: {length:,} {self.kind}s {dtype} {shape}')
    columns: dict[str, Any] = {'inputs': (dtype, shape)}
    if found.labels is not None:
      columns['labels'] = found.labels.dtype.name, ()
    return zeros(columns, length, found.classes, f'{self.name} {self.selected}',
                 nbytes=self._nbytes(reading, length))

  # Reading new files.

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new files, decoded as this source decodes; see `readers`."""
    from bigmodels.data.readers.files import FileReader

    def absent():
      raise UserError(f'this run does not say how its {self.kind}s were read: an older '
                      'version wrote it')

    kept = context.kept.get('train', {}).get('classes')
    return FileReader(self.reading(absent, (), context), self.suffixes, kept,
                      self.file_column, self.label_column, context.say)
