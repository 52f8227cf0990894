"""Captions of images: a table that names the image of each."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from bigmodels.core import files
from bigmodels.core.errors import UserError, did_you_mean, nearest, one_line
from bigmodels.core.paths import reason
from bigmodels.data.folders import image_files, listing
from bigmodels.data.folders.labels import normalized
from bigmodels.data.sources import (
  FRACTIONS,
  DataContext,
  canonical,
  check_fractions,
  held_out,
)
from bigmodels.data.tables import csv_dialects


class Captions(NamedTuple):
  """Images with their captions.

  Attributes:
    images: the files, sorted by name.
    captions: of each image, at least one.
    notes: what was left out, to print.
  """

  images: list[listing.File]
  captions: list[list[str]]
  notes: list[str]


@dataclasses.dataclass(frozen=True)
class CaptionFile:
  """A CSV file with a row for each caption: the file of its image, and the text.

  An image may have several captions, in rows that need not follow each other. Its
  column of splits may be absent: images are then divided at random.

  Attributes:
    path: the CSV file.
    images: the folder of the images.
    file_column, caption_column, split_column: names of the columns.
    splits: name -> fraction, without a column of splits.
  """

  path: str
  images: str
  _: dataclasses.KW_ONLY
  file_column: str = 'file'
  caption_column: str = 'caption'
  split_column: str = 'split'
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: FRACTIONS)

  def __post_init__(self):
    for name in ('path', 'images'):
      object.__setattr__(self, name, files.absolute(getattr(self, name), name))
    if len({self.file_column, self.caption_column, self.split_column}) < 3:
      raise ValueError('file_column, caption_column and split_column: must differ')
    check_fractions(self.splits)

  @property
  def name(self) -> str:
    return pathlib.Path(self.path).name

  def read(self, split: str, context: DataContext) -> Captions:
    """Finds the images of a split, and reads their captions.

    Raises:
      UserError: for another split, a file that is no such table, an image that does not
        exist, is in two splits, or has no caption.
    """
    path, whole = files.find(self.path, context.data_dir), image_files.find(
      self.images, context)
    found = {normalized(file.name): file for file in whole}
    texts, split_of, notes, lines, empty = collections.defaultdict(list), {}, [], {}, 0
    for line, name, of, caption in self._rows(path, context):
      key = normalized(name).replace('\\', '/')
      if key not in found:
        raise UserError(f'{path}: line {line}: there is no image '
                        f'{one_line(name, 80)!r} in {self.images}'
                        f'{did_you_mean(key, found)}')
      before, first = split_of.setdefault(key, of), lines.setdefault(key, line)
      if of != before:
        raise UserError(f'{path}: {name} is in the splits {before} (line {first}) and '
                        f'{of} (line {line})')
      texts[key] += [caption] if caption else []
      empty += not caption
    without = [key for key in lines if not texts[key]]
    if without:
      raise UserError(f'{path}: {listing.counted(len(without), "image")} without a '
                      f'caption, such as {one_line(without[0], 80)!r} (line '
                      f'{lines[without[0]]})')
    names = self._selected(split, path, split_of)
    if empty:
      notes.append(f'{listing.counted(empty, "empty caption")} left out')
    unnamed = [key for key in found if key not in lines]
    if unnamed:
      notes.append(f'{listing.counted(len(unnamed), "image")} of {self.images} without '
                   f'a row, so left out, such as {one_line(unnamed[0], 80)!r}')
    return Captions([found[name] for name in names], [texts[name] for name in names],
                    notes)

  def _selected(self, split: str, path: pathlib.Path, split_of: Mapping[str, str | None]
                ) -> list[str]:
    """The names of the images of a split, sorted."""
    names, known = sorted(split_of), {*split_of.values()}
    if known == {None}:
      rows = held_out(len(names), split, self.splits)
      return [names[row] for row in rows]
    if split not in known:
      raise UserError(f'{path}: has no split {split!r}{nearest(split, known)}')
    return [name for name in names if split_of[name] == split]

  def _rows(self, path: pathlib.Path, context: DataContext):
    """Yields line, file, split or None, and caption of each row."""
    try:
      table = csv_dialects.content(path, csv_dialects.Reading())
      for note in table.notes:
        context.note(f'{path.name}: {note}')
      records = table.records()
      _, header = next(records, (1, []))
      header = [name.strip() for name in header]
      for name in (self.file_column, self.caption_column):
        if header.count(name) != 1:
          raise UserError(
            f'{"several columns are" if name in header else "no column is"} called '
            f'{name!r}' + ('' if name in header else nearest(name, header)))
      place, text = header.index(self.file_column), header.index(self.caption_column)
      splits = header.index(self.split_column) if self.split_column in header else None
      for line, values in records:
        if len(values) != len(header):
          raise UserError(f'line {line} has {len(values)} values, the header has '
                          f'{len(header)}')
        of = None if splits is None else canonical(values[splits])
        if of == '':
          raise UserError(f'line {line} has no split')
        yield line, values[place].strip(), of, ' '.join(values[text].split())
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
    except OSError as error:
      raise UserError(f'{path}: cannot be read: {reason(error)}') from None


def flickr8k(folder: str = 'flickr8k') -> CaptionFile:
  """Returns Flickr8k: 8,000 photographs with five captions each.

  Hodosh et al., *Framing image description as a ranking task*, 2013.
  """
  return CaptionFile(f'{folder}/captions.csv', f'{folder}/images')
