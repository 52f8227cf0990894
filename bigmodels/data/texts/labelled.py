"""Texts with labels: CSV files with a text column and a label column."""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest
from bigmodels.data import origins
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext
from bigmodels.data.tables import csv_dialects
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
class LabelledCsv:
  """Texts with labels: a CSV file with a header for every split.

  Unlike in `Table`, texts are read unchanged, including 'NA' and white space.

  Attributes:
    folder: folder of the files.
    names: split -> name of its file.
    text: name of the text column.
    label: name of the label column.
    urls: name of a file -> URL, for --mode=download; gzip is unpacked.
    convert: downloaded text -> text of the file; None for no change.
  """

  folder: str
  names: Mapping[str, str] = dataclasses.field(default_factory=lambda: {
    'train': 'train.csv', 'validation': 'dev.csv', 'test': 'test.csv'})
  text: str = 'text'
  label: str = 'label'
  urls: Mapping[str, str] = dataclasses.field(default_factory=dict)
  convert: Callable[[str], str] | None = None

  def __post_init__(self):
    object.__setattr__(self, 'folder', files.absolute(self.folder, 'folder'))

  @property
  def name(self) -> str:
    return pathlib.Path(self.folder).name

  def read(self, split: str, context: DataContext) -> Labelled:
    """Reads the texts and labels of a split.

    Raises:
      UserError: for another split, a missing file, or a file that is not such a CSV
        file, with the line.
    """
    check_split(self.name, split, self.names)
    path = files.find(f'{self.folder}/{self.names[split]}', context.data_dir,
                      fetched=bool(self.urls))
    try:
      return self._read(path)
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
    except OSError as error:
      raise UserError(f'{path}: cannot be read: {error.strerror}') from None

  def _read(self, path: pathlib.Path) -> Labelled:
    content = csv_dialects.content(path, csv_dialects.Reading())
    records = content.records()
    _, header = next(records, (1, ()))
    if not header:
      raise UserError('the file is empty')
    for column in (self.text, self.label):
      if column not in header:
        raise UserError(f'no column {column!r}{nearest(column, header)}')
      if header.count(column) > 1:
        raise UserError(f'several columns are called {column!r}')
    texts, labels, lines = [], [], []
    for line, values in records:
      if len(values) != len(header):
        raise UserError(f'line {line} has {len(values)} values, the header has '
                        f'{len(header)}')
      row = dict(zip(header, values, strict=True))
      for column in (self.text, self.label):
        if not row[column].strip():
          raise UserError(f'line {line}, column {column!r}: is empty')
      texts.append(row[self.text])
      labels.append(row[self.label].strip())
      lines.append(line)
    if not texts:
      raise UserError('the file has a header and no rows')
    return Labelled(texts, labels, lambda index: f'{path}, line {lines[index]}',
                    '; '.join(content.notes), origin=Origin(
                      origins.of_text(path, content.text, len(texts))))

  def download(self, context: DataContext) -> str:
    """Downloads the files that are missing; returns their folder."""
    return files.download(self.folder, self.urls, context.data_dir, self.convert)


def sst2(folder: str = 'sst2') -> LabelledCsv:
  """Returns SST-2: sentences of film reviews, negative (0) or positive (1).

  Socher et al., *Recursive deep models for semantic compositionality over a sentiment
  treebank*, 2013. Only whole sentences, 6,920 of them for training; the test split has
  labels.
  """
  base = ('https://raw.githubusercontent.com/AcademiaSinicaNLPLab/sentiment_dataset/'
          '23c72429de5fb3d2f3da87bf2efb5559c15b78f7/data')
  return LabelledCsv(folder, convert=label_first, urls={
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
