"""Pairs of texts: parallel files in two languages."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from bigmodels.core import files
from bigmodels.core.errors import UserError
from bigmodels.data import origins
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext
from bigmodels.data.texts.reading import NOT_UTF8, check_split, note


class Pairs(NamedTuple):
  """Texts in one language and their translations, in the same order.

  Attributes:
    sources, targets: the texts.
    note: what was skipped or replaced, or ''.
    origin: source rows of the texts: lines of files.
  """

  sources: list[str]
  targets: list[str]
  note: str = ''
  origin: Origin | None = None


@dataclasses.dataclass(frozen=True)
class ParallelFiles:
  """Translations: line N of one file translates line N of the other.

  In 'train', pairs with an empty line are skipped. Other splits are complete, so that
  scores are comparable.

  Attributes:
    folder: folder of the files.
    languages: suffixes of the files; the first language is translated to the second.
    names: split -> stem of its files.
    urls: name of a file -> URL, for --mode=download; gzip is unpacked.
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
    """Reads the lines of both files of a split.

    Raises:
      UserError: for another split, or files that are missing, empty, or differ in
        length.
    """
    check_split(self.name, split, self.names)
    lines, replaced, taken = [], 0, {}
    for language in self.languages:
      path = files.find(f'{self.folder}/{self.names[split]}.{language}',
                        context.data_dir, fetched=bool(self.urls))
      text, bad = files.decode(files.read(path))
      text = text.removesuffix('\n')
      lines.append([line.removesuffix('\r') for line in text.split('\n')])
      if not text.strip():
        raise UserError(f'{path}: there is no text in it')
      replaced += bad
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
    notes = (note({NOT_UTF8: replaced}, 'file'),
             note({'empty, so skipped': empty}, 'pair'))
    return Pairs(sources, targets, '; '.join(filter(None, notes)), Origin(taken))

  def download(self, context: DataContext) -> str:
    """Downloads the files that are missing; returns their folder."""
    return files.download(self.folder, self.urls, context.data_dir)


def multi30k(folder: str = 'multi30k') -> ParallelFiles:
  """Returns Multi30k: 29,000 captions of images in English and German.

  Elliott et al., *Multi30K: Multilingual English-German image descriptions*, 2016.
  """
  base = ('https://raw.githubusercontent.com/multi30k/dataset/'
          'a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw')
  stems = ('train', 'val', 'test_2016_flickr')
  return ParallelFiles(folder, urls={
    f'{stem}.{language}': f'{base}/{stem}.{language}.gz'
    for stem in stems for language in ('en', 'de')})
