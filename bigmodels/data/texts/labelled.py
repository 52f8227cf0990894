"""Texts with labels: tables with a text column and a label column."""

import csv
import dataclasses
import functools
import io
import pathlib
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError
from bigmodels.data.origins import Origin
from bigmodels.data.sources import FRACTIONS, DataContext, held_out
from bigmodels.data.tables import table_files, table_splits, text_columns
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.texts.reading import check_split


class Labelled(NamedTuple):
  """Texts with labels.

  Attributes:
    texts: the texts, none of them empty.
    labels: labels as written in the file.
    location: index -> the file and the line.
    note: a note to print, or ''.
    shapes_only: as in `Documents`.
    origin: source rows of the texts: rows of files.
  """

  texts: list[str]
  labels: list[str]
  location: Callable[[int], str]
  note: str = ''
  shapes_only: bool = False
  origin: Origin | None = None


@dataclasses.dataclass(frozen=True)
class LabelledTexts:
  """Texts with labels: CSV, JSON lines or Parquet, perhaps compressed.

  Unlike in `Table`, texts are read unchanged, including 'NA' and white space. Either a
  folder has a file for each split, or files are split: at random with the fraction of
  each label in every split and equal texts in one, or by a column.

  Attributes:
    path: a file, a pattern such as 'data/*.csv', or several; with `names`, the folder
      of the files.
    names: split -> name of its file.
    text: name of the text column.
    label: name of the label column.
    splits: name -> fraction, or the name of a column with the split of each text, where
      `val`, `valid` and `dev` name 'validation'; not used with `names`.
    duplicates: equal texts: 'keep' splits them like others, 'drop' keeps the first.
      None keeps them in one split, and refuses those that a column puts into two.
    delimiter: delimiter of CSV; this and the next are inferred if they are None.
    encoding: Python name of the encoding.
    urls: name of a file -> URL, for --mode=download; gzip is unpacked.
    convert: downloaded text -> text of the file; None for no change.
  """

  path: str | tuple[str, ...]
  names: Mapping[str, str] | None = None
  text: str = 'text'
  label: str = 'label'
  splits: str | Mapping[str, float] = dataclasses.field(
    default_factory=lambda: FRACTIONS)
  duplicates: Literal['keep', 'drop'] | None = None
  delimiter: str | None = None
  encoding: str | None = None
  urls: Mapping[str, str] = dataclasses.field(default_factory=dict)
  convert: Callable[[str], str] | None = None

  def __post_init__(self):
    path = self.path
    object.__setattr__(
      self, 'path', files.absolute(path, 'path') if isinstance(path, str) else (
        tuple(files.absolute(each, 'path') for each in path)))
    Reading(self.delimiter, encoding=self.encoding)  # refuses invalid settings
    if self.duplicates not in (None, 'keep', 'drop'):
      raise UserError('duplicates: must be keep, drop or None, got '
                      f'{self.duplicates!r}')
    if self.text == self.label:
      raise UserError(f'label: {self.label!r} is the text')

  @property
  def name(self) -> str:
    if isinstance(self.path, str):
      return pathlib.Path(self.path).name
    return table_files.listed_names([*map(pathlib.Path, self.path)])

  def read(self, split: str, context: DataContext) -> Labelled:
    """Reads the texts and labels of a split.

    Raises:
      UserError: for another split, a missing file, or a file that is not such a table,
        with the line.
    """
    if self.names is not None:
      check_split(self.name, split, self.names)
      paths = [files.find(f'{self.path}/{self.names[split]}', context.data_dir,
                          fetched=bool(self.urls))]
      return self._labelled(self._whole(paths), None)
    whole = self._whole([*table_files.found(self.path, context.data_dir)])
    try:
      rows, note = self._split(whole)
      table_splits.check_selected(split, rows)
    except UserError as error:
      raise UserError(f'{self.name}: {error}') from None
    return self._labelled(whole, rows[split], note, {
      'splits': self.splits if isinstance(self.splits, str) else dict(self.splits),
      'duplicates': self.duplicates, 'label': self.label, 'text': self.text})

  def _whole(self, paths: list[pathlib.Path]) -> '_Whole':
    for path in paths:
      files.require_file(path)
    try:
      stats = tuple(table_files.require(path) for path in paths)
    except UserError as error:
      hint = '; names= says which of its files is which split' * (self.names is None)
      raise UserError(f'{paths[0]}: {error}{hint}') from None
    names = [self.text, self.label]
    if self.names is None and isinstance(self.splits, str):
      names.append(self.splits)
    return _read(tuple(paths), tuple(names), stats,
                 Reading(self.delimiter, encoding=self.encoding))

  def _split(self, whole: '_Whole') -> tuple[dict[str, np.ndarray], str]:
    """The rows of every split, and a note."""
    texts = np.array(whole.columns[self.text], object)
    labels = np.unique(whole.columns[self.label], return_inverse=True)[1]
    groups = np.unique(texts.astype(str), return_inverse=True)[1]
    firsts = np.unique(groups, return_index=True)[1]
    equal, note = len(texts) - len(firsts), ''
    kept = np.sort(firsts) if self.duplicates == 'drop' else np.arange(len(texts))
    if equal:
      note = f'; {equal:,} of {len(texts):,} texts equal an earlier one and ' + {
        'drop': 'are dropped', 'keep': 'are split like others',
        None: 'are in the same split (duplicates=keep or drop changes that)'}[
          self.duplicates]
    if isinstance(self.splits, str):
      column = np.array(whole.columns[self.splits], object)[kept]
      if (column == '').any():
        row = int(kept[np.argmax(column == '')])
        raise UserError(f'splits: column {self.splits!r} has no value in '
                        f'{whole.place(row)}')
      parts, renamed = table_splits.column_names(self.splits, column)
      found = {name: kept[part] for name, part in parts.items()}
      if equal and self.duplicates is None:
        _refuse_shared(found, groups)
        note = ''
      return found, '; '.join([f'by the column {self.splits}{note}', *renamed])
    apart = groups[kept] if self.duplicates is None and equal else None
    found = {name: kept[held_out(len(kept), name, self.splits, apart, labels[kept])]
             for name in self.splits}
    return found, f'stratified by {self.label}{note}'

  def _labelled(self, whole: '_Whole', rows: np.ndarray | None, note: str = '',
                settings: Mapping[str, object] | None = None) -> Labelled:
    texts, labels = (whole.columns[name] for name in (self.text, self.label))
    index = range(len(texts)) if rows is None else rows.tolist()
    found, start = {}, 0
    for path, digest, count in whole.parts:
      inside = range(count) if rows is None else (
        rows[(rows >= start) & (rows < start + count)] - start)
      found |= {str(path.resolve()): inside, f'the text {digest}': inside}
      start += count
    return Labelled(
      [texts[i] for i in index], [labels[i].strip() for i in index],
      lambda row: whole.place(index[row]),
      '; '.join(filter(None, [*whole.notes, note])),
      origin=Origin(found, {f'{key} of {name}': value for name in found
                            for key, value in (settings or {}).items()}))

  def download(self, context: DataContext) -> str:
    """Downloads the files that are missing; returns their folder."""
    return files.download(str(self.path), self.urls, context.data_dir, self.convert)


class _Whole(NamedTuple):
  """The columns of all files, the files with digests and rows, notes, and places."""

  columns: dict[str, list[str]]
  parts: list[tuple[pathlib.Path, str, int]]
  notes: list[str]
  place: Callable[[int], str]


@functools.lru_cache(maxsize=4)  # the splits of files are read one by one
def _read(paths: tuple[pathlib.Path, ...], names: tuple[str, ...], stats: tuple,
          reading: Reading) -> _Whole:
  del stats  # they change when a file does
  columns: dict[str, list[str]] = {name: [] for name in names}
  parts, notes, lines = [], [], []
  for path in paths:
    try:
      one = text_columns.read(path, names, reading)
      for name in names[:2]:
        row = next((i for i, v in enumerate(one.columns[name]) if not v.strip()), None)
        if row is not None:
          raise UserError(f'line {one.line(row)}, column {name!r}: is empty')
      if any(one.digest == digest for _, digest, _ in parts):
        raise UserError('is a copy of another of these files')
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
    except OSError as error:
      raise UserError(f'{path}: cannot be read: {error.strerror}') from None
    for name in names:
      columns[name] += one.columns[name]
    parts.append((path, one.digest, len(one.columns[names[0]])))
    notes += [f'{path.name}: {note}' * (len(paths) > 1) or note for note in one.notes]
    lines.append(one.line)
  starts = np.cumsum([0, *(count for *_, count in parts)])

  def place(row: int) -> str:
    which = int(np.searchsorted(starts, row, 'right')) - 1
    return f'{paths[which]}, line {lines[which](int(row - starts[which]))}'

  return _Whole(columns, parts, notes, place)


def _refuse_shared(found: Mapping[str, np.ndarray], groups: np.ndarray) -> None:
  earlier = np.zeros(0, groups.dtype)
  for name, part in found.items():
    again = np.isin(groups[part], earlier)
    if again.any():
      raise UserError(
        f'{int(again.sum()):,} of {len(part):,} texts of {name} equal one of an '
        f'earlier split, which makes scores on {name} meaningless: duplicates=drop '
        'drops them, duplicates=keep keeps them')
    earlier = np.concatenate([earlier, groups[part]])


def sst2(folder: str = 'sst2') -> LabelledTexts:
  """Returns SST-2: sentences of film reviews, negative (0) or positive (1).

  Socher et al., *Recursive deep models for semantic compositionality over a sentiment
  treebank*, 2013. Only whole sentences, 6,920 of them for training; the test split has
  labels.
  """
  base = ('https://raw.githubusercontent.com/AcademiaSinicaNLPLab/sentiment_dataset/'
          '23c72429de5fb3d2f3da87bf2efb5559c15b78f7/data')
  return LabelledTexts(
    folder, {'train': 'train.csv', 'validation': 'dev.csv', 'test': 'test.csv'},
    convert=label_first, urls={
      f'{name}.csv': f'{base}/stsa.binary.{name}' for name in ('train', 'dev', 'test')})


def label_first(text: str) -> str:
  """Converts lines `LABEL TEXT` to CSV with the columns `text` and `label`.

  Raises:
    ValueError: for a line without a space.
  """
  output = io.StringIO()
  writer = csv.writer(output, lineterminator='\n')
  writer.writerow(('text', 'label'))
  for number, line in enumerate(text.removesuffix('\n').split('\n'), 1):
    label, space, rest = line.removesuffix('\r').partition(' ')
    if not space:
      raise ValueError(f'line {number}: must be LABEL TEXT, got {line[:40]!r}')
    writer.writerow((rest, label))
  return output.getvalue()
