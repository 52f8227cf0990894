"""Where text comes from: records with a `name` and `read(split, context)`.

Nothing is read before it is asked for. A path is looked up as it is given and, where
nothing is there, under `--data_dir`.
"""

import csv
import dataclasses
import hashlib
import io
import os
import pathlib
import platform
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest
from bigmodels.data import builders, csv_dialects, origins, tfds, tfds_examples
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext


class Documents(NamedTuple):
  """Texts that have nothing to do with one another.

  Attributes:
    texts: none of them is empty.
    note: what was left out or mended, or ''.
    shapes_only: whether the texts stand in for those of the data; see `DataContext`.
    origin: where they come from, in characters of files or examples of datasets.
  """

  texts: list[str]
  note: str = ''
  shapes_only: bool = False
  origin: Origin | None = None


class Pairs(NamedTuple):
  """Texts in one language, and what they are in another, in the same order.

  Attributes:
    sources, targets: the texts.
    note: what was left out or mended, or ''.
    origin: where they come from, in lines of files.
  """

  sources: list[str]
  targets: list[str]
  note: str = ''
  origin: Origin | None = None


class Labelled(NamedTuple):
  """Texts with labels.

  Attributes:
    texts: none of them is empty.
    labels: as the file writes them.
    place: index -> where in which file it was.
    note: what should be known about them, or ''.
    shapes_only: as of `Documents`.
    origin: where they come from, in rows of files.
  """

  texts: list[str]
  labels: list[str]
  place: Callable[[int], str]
  note: str = ''
  shapes_only: bool = False
  origin: Origin | None = None


# --- texts ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class StandardLibrary:
  """The source files of the running Python's standard library, without its tests.

  Splits: 'train', and 'validation', a tenth of the files, chosen by their names. It
  differs from one Python version to the next.
  """

  @property
  def name(self) -> str:
    return f'the standard library of Python {platform.python_version()}'

  def read(self, split: str, context: DataContext) -> Documents:
    del context
    _check_split(self, split, ('train', 'validation'))
    root = pathlib.Path(sysconfig.get_path('stdlib'))
    # Tests aside: other packages, and what the build of this Python has written.
    other = {'test', 'tests', 'idle_test', 'site-packages', 'dist-packages',
             '__pycache__', 'lib-dynload'}
    names = []
    for folder, inside, found in os.walk(root):
      inside[:] = [n for n in inside if n not in other and not n.startswith('config-')]
      names += [(pathlib.Path(folder) / n).relative_to(root).as_posix() for n in found
                if n.endswith('.py') and not n.startswith('_sysconfigdata')]
    if not names:
      raise UserError(f'{root}: this Python has no source of its standard library')
    return _read_files(root, sorted(names), split)


@dataclasses.dataclass(frozen=True)
class TextFiles:
  """A text file, or the text files of a folder.

  Splits: 'train' and 'validation'. If no other path is given for validation, a file is
  cut after 90 % of its characters, and of a folder a tenth of the files is held out,
  chosen by their names. Hidden and binary files are left out.

  Attributes:
    path: a file or a folder.
    validation: a file or a folder, or None.
    pattern: of the files of a folder, as `pathlib.Path.glob` takes it.
  """

  path: str
  validation: str | None = None
  pattern: str = '**/*'

  def __post_init__(self):
    object.__setattr__(self, 'path', files.absolute(self.path, 'path'))
    if self.validation is not None:
      object.__setattr__(
        self, 'validation', files.absolute(self.validation, 'validation'))

  @property
  def name(self) -> str:
    return pathlib.Path(self.path).name

  def read(self, split: str, context: DataContext) -> Documents:
    _check_split(self, split, ('train', 'validation'))
    cut = self.validation is None
    given = self.path if cut or split == 'train' else self.validation
    root = files.find(given, context.data_dir)
    if root.is_dir():
      return _read_files(root, files.glob(root, self.pattern), split if cut else None)
    documents = _read_files(root.parent, [root.name], None)
    text = documents.texts[0]
    at = int(0.9 * len(text))
    part = slice(None)
    if cut:
      part = slice(at) if split == 'train' else slice(at, None)
    if not text[part]:
      raise UserError(f'{root}: {len(text)} characters are too few to cut')
    whole = origins.of_text(root, text, len(text))
    return documents._replace(texts=[text[part]], origin=Origin(
      {name: characters[part] for name, characters in whole.items()}))


# For text that is not here, and long enough for a batch.
_STAND_IN = ('to be or not to be ' * 2**16)[: 2**20]


@dataclasses.dataclass(frozen=True)
class TfdsText:
  """A text feature of a TFDS dataset; every example is a document.

  Splits: those of the dataset, as TFDS writes them; several may be joined:
  'validation+test'.

  Attributes:
    name: as TFDS names it; a version may be asked for.
    feature: the text.
  """

  name: str
  feature: str = 'text'

  def read(self, split: str, context: DataContext) -> Documents:
    if context.shapes_only:
      info, there = builders.described(self.name, context)
    else:
      info, there = builders.prepared(self.name, context).info, True
    features, splits = info.features, info.splits
    if self.feature not in features:
      raise UserError(f'{self.name} has no feature {self.feature!r}'
                      f'{nearest(self.feature, features)}')
    dtype = features[self.feature].np_dtype
    if isinstance(dtype, dict) or np.dtype(dtype).kind not in 'OSU':
      raise UserError(f'{self.name}: the feature {self.feature!r} must be a text, got '
                      f'{type(features[self.feature]).__name__}')
    if not there:
      return Documents([_STAND_IN], f'assumed: {info.full_name} is not prepared in '
                       f'{builders.root(context.data_dir)}, and its length is not '
                       'described', shapes_only=True)
    try:
      wanted = builders.import_tfds().core.ReadInstruction.from_spec(split)
      parts = wanted.to_absolute(splits)
    except Exception as error:
      base = split.partition('[')[0]
      raise UserError(f'{self.name} has no split {split!r}{nearest(base, splits)}'
                      ) from error
    root = str(builders.root(context.data_dir))
    texts, mended, empty, taken = [], 0, 0, {}
    for part in parts:
      rows = range(splits[part.splitname].num_examples)[part.from_ : part.to]
      name = f'{info.full_name} {part.splitname}'
      taken[name] = np.union1d(taken[name], rows) if name in taken else rows
      with builders.quiet():
        source = tfds_examples.data_source(self.name, root, part.splitname)
        values = [example[self.feature] for example in source.__getitems__([*rows])]
      for value in values:
        text, bad = (value, False) if isinstance(value, str) else files.decode(value)
        mended, empty = mended + bad, empty + (not text)
        texts += [text] if text else []
    if not texts:
      raise UserError(f'{self.name}: the split {split!r} has no text')
    return Documents(texts, _note({'not UTF-8, so read with replacements': mended,
                                   'empty, so left out': empty}, 'example'),
                     origin=Origin(taken))

  def download(self, context: DataContext) -> str:
    """Downloads and prepares the dataset; returns the folder it is in."""
    return tfds.Tfds(self.name).download(context)


# --- pairs and labels -----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ParallelFiles:
  """Translations: line N of one file says what line N of the other does.

  In 'train', pairs are left out where either line is empty; other splits are kept
  whole, so that scores are of the whole split.

  Attributes:
    folder: where the files are.
    languages: what the names of the files end in; from the first to the second.
    names: split -> what the names of its files begin with.
    urls: name of a file -> address, for --mode=download; unpacked if it is gzip.
  """

  folder: str
  languages: tuple[str, str] = ('en', 'de')
  names: Mapping[str, str] = dataclasses.field(default_factory=lambda: {
    'train': 'train', 'validation': 'val', 'test': 'test_2016_flickr'})
  urls: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    object.__setattr__(self, 'folder', files.absolute(self.folder, 'folder'))

  @property
  def name(self) -> str:
    return f'{pathlib.Path(self.folder).name} {"-".join(self.languages)}'

  def read(self, split: str, context: DataContext) -> Pairs:
    _check_split(self, split, self.names)
    lines, mended, taken = [], 0, {}
    for language in self.languages:
      path = files.find(f'{self.folder}/{self.names[split]}.{language}',
                        context.data_dir, fetched=bool(self.urls))
      text, bad = files.decode(files.read(path))
      text = text.removesuffix('\n')
      lines.append([line.removesuffix('\r') for line in text.split('\n')])
      if not text.strip():
        raise UserError(f'{path}: there is no text in it')
      mended += bad
      taken |= origins.of_text(path, text, len(lines[-1]))
    sources, targets = lines
    if len(sources) != len(targets):
      names = [f'{self.names[split]}.{language}' for language in self.languages]
      raise UserError(
        f'{path.parent}: {names[0]} has {len(sources):,} lines, {names[1]} has '
        f'{len(targets):,}; line N of one must translate line N of the other')
    empty = 0
    if split == 'train':
      pairs = [(s, t) for s, t in zip(sources, targets, strict=True)
               if s.strip() and t.strip()]
      empty = len(sources) - len(pairs)
      if not pairs:
        raise UserError(f'{path.parent}: no pair of lines of {split!r} has text on '
                        'both sides')
      sources, targets = map(list, zip(*pairs, strict=True))
    notes = (_note({'not UTF-8, so read with replacements': mended}, 'file'),
             _note({'empty, so left out': empty}, 'pair'))
    return Pairs(sources, targets, '; '.join(filter(None, notes)), Origin(taken))

  def download(self, context: DataContext) -> str:
    """Fetches the files that are not there; returns the folder they are in."""
    return files.download(self.folder, self.urls, context.data_dir)


@dataclasses.dataclass(frozen=True)
class LabelledCsv:
  """Texts with labels, a CSV file with a header for every split.

  Unlike in `Table`, a text is taken as it stands, 'NA' and white space included.

  Attributes:
    folder: where the files are.
    names: split -> name of its file.
    text: the column of texts.
    label: the column of labels.
    urls: name of a file -> address, for --mode=download; unpacked if it is gzip.
    convert: what is at an address -> the text of a file; None if it is that already.
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
    _check_split(self, split, self.names)
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
    """Fetches the files that are not there; returns the folder they are in."""
    return files.download(self.folder, self.urls, context.data_dir, self.convert)


def multi30k(folder: str = 'multi30k') -> ParallelFiles:
  """Captions of images in English and German (Elliott et al., 2016), 29,000 pairs."""
  base = ('https://raw.githubusercontent.com/multi30k/dataset/'
          'a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw')
  stems = ('train', 'val', 'test_2016_flickr')
  return ParallelFiles(folder, urls={
    f'{stem}.{language}': f'{base}/{stem}.{language}.gz'
    for stem in stems for language in ('en', 'de')})


def sst2(folder: str = 'sst2') -> LabelledCsv:
  """Sentences of film reviews, against (0) or for (1) (Socher et al., 2013).

  Whole sentences only, 6,920 of them for training; the test split has its labels.
  """
  base = ('https://raw.githubusercontent.com/AcademiaSinicaNLPLab/sentiment_dataset/'
          '23c72429de5fb3d2f3da87bf2efb5559c15b78f7/data')
  return LabelledCsv(folder, convert=label_first, urls={
    f'{name}.csv': f'{base}/stsa.binary.{name}' for name in ('train', 'dev', 'test')})


def label_first(text: str) -> str:
  """Lines `LABEL TEXT` -> CSV with the columns `text` and `label`."""
  output = io.StringIO()
  writer = csv.writer(output, lineterminator='\n')
  writer.writerow(('text', 'label'))
  for number, line in enumerate(text.removesuffix('\n').split('\n'), 1):
    label, space, rest = line.removesuffix('\r').partition(' ')
    if not space:
      raise ValueError(f'line {number}: wants LABEL TEXT, got {line[:40]!r}')
    writer.writerow((rest, label))
  return output.getvalue()


# --- reading --------------------------------------------------------------------


def _check_split(source, split: str, splits: Iterable[str]) -> None:
  if split not in splits:
    raise UserError(f'{source.name} has no split {split!r}{nearest(split, splits)}')


def _validates(name: str) -> bool:
  """Whether a file is of the tenth that is held out; the same on every machine."""
  return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10 == 0


def _read_files(root: pathlib.Path, names: list[str], split: str | None) -> Documents:
  """The text of files, of one split or of all."""
  if split is not None:
    chosen = [n for n in names if _validates(n) == (split == 'validation')]
    if not chosen:
      raise UserError(f'{root}: of {len(names)} files none falls to {split!r}, which '
                      'is chosen by name; give `validation` a path of its own')
    names = chosen
  texts, first, taken = [], '', {}
  found = {'not UTF-8, so read with replacements': 0, 'empty, so left out': 0,
           'binary, so left out': 0}
  for name in names:
    data = files.read(root / name)
    if b'\0' in data:
      found['binary, so left out'] += 1
      continue
    text, bad = files.decode(data)
    found['not UTF-8, so read with replacements'] += bad
    first = first or name * bad
    if text:
      texts.append(text)
      # By their places alone: two files may say the same without a mistake.
      taken[str((root / name).resolve())] = range(len(text))
    else:
      found['empty, so left out'] += 1
  note = _note(found, 'file', first)
  if not texts:
    where = root / names[0] if len(names) == 1 else root
    raise UserError(f'{where}: there is no text in it' + f' ({note})' * bool(note))
  return Documents(texts, note, origin=Origin(taken))


def _note(counts: Mapping[str, int], what: str, first: str = '') -> str:
  """'2 files not UTF-8 (a.txt and 1 more)'."""
  parts = []
  for found, count in counts.items():
    named = f' ({first})' if first and 'UTF-8' in found else ''
    parts += [f'{count:,} {what}{"s" * (count != 1)} {found}{named}'] * bool(count)
  return '; '.join(parts)
