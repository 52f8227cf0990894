"""Documents: the files of a folder, of Python's library, or a TFDS dataset of text."""

import dataclasses
import hashlib
import os
import pathlib
import platform
import sysconfig
from typing import NamedTuple

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest
from bigmodels.data import origins
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext
from bigmodels.data.texts.reading import NOT_UTF8, check_split, note
from bigmodels.data.tfds import builders, tfds, tfds_examples


class Documents(NamedTuple):
  """Independent texts.

  Attributes:
    texts: the texts, none of them empty.
    note: what was skipped or replaced, or ''.
    shapes_only: whether the texts are placeholders; see `DataContext`.
    origin: source rows of the texts: characters of files, or examples of datasets.
  """

  texts: list[str]
  note: str = ''
  shapes_only: bool = False
  origin: Origin | None = None


@dataclasses.dataclass(frozen=True)
class StandardLibrary:
  """The source files of the running Python's standard library, without its tests.

  Splits: 'train', and 'validation', a tenth of the files, selected by name. The files
  differ between versions of Python.
  """

  @property
  def name(self) -> str:
    return f'the standard library of Python {platform.python_version()}'

  def read(self, split: str, context: DataContext) -> Documents:
    """Reads the files of a split, sorted by name.

    Raises:
      UserError: for another split, or a Python without its source files.
    """
    del context
    check_split(self.name, split, ('train', 'validation'))
    root = pathlib.Path(sysconfig.get_path('stdlib'))
    # In addition to tests: other packages, and files that the build of Python wrote.
    other = {'test', 'tests', 'idle_test', 'site-packages', 'dist-packages',
             '__pycache__', 'lib-dynload'}
    names = []
    for folder, inside, found in os.walk(root):
      inside[:] = [n for n in inside if n not in other and not n.startswith('config-')]
      names += [(pathlib.Path(folder) / n).relative_to(root).as_posix() for n in found
                if n.endswith('.py') and not n.startswith('_sysconfigdata')]
    if not names:
      raise UserError(f'{root}: this Python has no source files of its standard '
                      'library')
    return _read_files(root, sorted(names), split)


@dataclasses.dataclass(frozen=True)
class TextFiles:
  """A text file, or the text files of a folder.

  Splits: 'train' and 'validation'. Without a path for validation, the last 10 % of the
  characters of a file are held out, or a tenth of the files of a folder, selected by
  name. Hidden and binary files are skipped.

  Attributes:
    path: a file or a folder.
    validation: a file or a folder, or None.
    pattern: pattern of the files of a folder, as for `pathlib.Path.glob`.
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
    """Reads a file, or the files of a split, sorted by name.

    Raises:
      UserError: for another split, or files that are missing, not readable, or empty.
    """
    check_split(self.name, split, ('train', 'validation'))
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


# Placeholder for missing text; long enough for a batch.
_PLACEHOLDER = ('to be or not to be ' * 2**16)[: 2**20]


@dataclasses.dataclass(frozen=True)
class TfdsText:
  """A text feature of a TFDS dataset; every example is a document.

  Splits: those of the dataset, in the notation of TFDS; several may be joined, as in
  'validation+test'.

  Attributes:
    name: name of the dataset in TFDS; a version may be given.
    feature: name of the text feature.
  """

  name: str
  feature: str = 'text'

  def read(self, split: str, context: DataContext) -> Documents:
    """Reads the examples of a split, in order.

    Raises:
      UserError: if the dataset is not prepared, or has no such split, feature or text.
    """
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
      return Documents([_PLACEHOLDER], f'assumed: {info.full_name} is not prepared in '
                       f'{builders.root(context.data_dir)}, and its length is not '
                       'described', shapes_only=True)
    try:
      instruction = builders.import_tfds().core.ReadInstruction.from_spec(split)
      parts = instruction.to_absolute(splits)
    except Exception as error:
      base = split.partition('[')[0]
      raise UserError(f'{self.name} has no split {split!r}{nearest(base, splits)}'
                      ) from error
    root = str(builders.root(context.data_dir))
    texts, replaced, empty, taken = [], 0, 0, {}
    for part in parts:
      rows = range(splits[part.splitname].num_examples)[part.from_ : part.to]
      name = f'{info.full_name} {part.splitname}'
      taken[name] = np.union1d(taken[name], rows) if name in taken else rows
      with builders.quiet():
        source = tfds_examples.data_source(self.name, root, part.splitname)
        values = [example[self.feature] for example in source.__getitems__([*rows])]
      for value in values:
        text, bad = (value, False) if isinstance(value, str) else files.decode(value)
        replaced, empty = replaced + bad, empty + (not text)
        texts += [text] if text else []
    if not texts:
      raise UserError(f'{self.name}: the split {split!r} has no text')
    found = note({NOT_UTF8: replaced, 'empty, so skipped': empty}, 'example')
    return Documents(texts, found, origin=Origin(taken))

  def download(self, context: DataContext) -> str:
    """Downloads and prepares the dataset; returns its folder."""
    return tfds.Tfds(self.name).download(context)


def _validates(name: str) -> bool:
  """Whether a file is in the tenth that is held out, on every machine."""
  return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10 == 0


def _read_files(root: pathlib.Path, names: list[str], split: str | None) -> Documents:
  """The texts of files, of one split or of all."""
  if split is not None:
    chosen = [n for n in names if _validates(n) == (split == 'validation')]
    if not chosen:
      raise UserError(f'{root}: none of {len(names)} files is in {split!r}, which '
                      'is selected by name; set `validation` to another path')
    names = chosen
  texts, first, taken = [], '', {}
  found = {NOT_UTF8: 0, 'empty, so skipped': 0, 'binary, so skipped': 0}
  for name in names:
    data = files.read(root / name)
    if b'\0' in data:
      found['binary, so skipped'] += 1
      continue
    text, bad = files.decode(data)
    found[NOT_UTF8] += bad
    first = first or name * bad
    if text:
      texts.append(text)
      # Only by their paths, since two files may have the same text.
      taken[str((root / name).resolve())] = range(len(text))
    else:
      found['empty, so skipped'] += 1
  noted = note(found, 'file', first)
  if not texts:
    where = root / names[0] if len(names) == 1 else root
    raise UserError(f'{where}: there is no text in it' + f' ({noted})' * bool(noted))
  return Documents(texts, noted, origin=Origin(taken))
