"""A folder of images and a folder of their masks, as a source."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed
from bigmodels.data import masks as padding
from bigmodels.data.arrays import are_names
from bigmodels.data.folders import image_files, mask_files
from bigmodels.data.folders.listing import File, counted
from bigmodels.data.masks import IGNORED
from bigmodels.data.sources import (
  FRACTIONS,
  DataContext,
  Dataset,
  check_fractions,
  held_out,
  in_memory,
)


@dataclasses.dataclass(frozen=True)
class MaskFolder:
  """Images of any size, and masks of their size with a class for each pixel.

    MaskFolder('photos', 'masks', classes=('background', 'cell'))
    MaskFolder('photos', 'masks', values=(0, 255), ignore=None)    # black and white

  A mask is a PNG file, grey or with a palette, whose values are classes; it has the
  name of its image, with any ending. Images of a split are padded to the largest, and
  kept in memory; see `data.masks.columns` for what is opened.

  Attributes:
    images: folder, files or pattern of images.
    masks: folder, files or pattern of masks.
    classes: names of the classes 0, 1, ...; None for numbers up to the largest value in
      the masks of training.
    values: what masks have for each class; None for 0, 1, ....
    ignore: what they have for pixels that do not count; None for no such pixels.
    suffix: what follows the name of an image in that of its mask, such as '_mask'.
    splits: name -> fraction, drawn at random.
    selected: the split that `open` gives; None for all images.
    channels: 1 for grey, 3 for RGB; None for 1 if all images of training are grey,
      otherwise 3.
  """

  images: str
  masks: str
  _: dataclasses.KW_ONLY
  classes: tuple[str, ...] | None = None
  values: tuple[int, ...] | None = None
  ignore: int | None = 255
  suffix: str = ''
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: FRACTIONS)
  selected: str | None = 'train'
  channels: Literal[1, 3] | None = None

  def __post_init__(self):
    for name in ('images', 'masks'):
      object.__setattr__(self, name, files.absolute(getattr(self, name), name))
    check_fractions(self.splits)
    if self.classes is not None and not (
      are_names(self.classes) and 2 <= len(self.classes) <= IGNORED):
      raise ValueError(f'classes: must be 2 to {IGNORED} distinct names, got '
                       f'{self.classes!r}')
    values = self.values
    if values is not None and not (
      2 <= len({*values}) == len(values) <= IGNORED and all(
        type(v) is int and v >= 0 for v in values)):
      raise ValueError(f'values: must be 2 to {IGNORED} distinct integers >= 0, got '
                       f'{values!r}')
    if values and self.classes and len(values) != len(self.classes):
      raise ValueError(f'values: must be one for each of {len(self.classes)} classes, '
                       f'got {values!r}')
    if self.ignore is not None and self.ignore < 0:
      raise ValueError('ignore: must be >= 0, or None for no pixels that do not '
                       f'count, got {self.ignore}')
    if self.ignore in (values or range(len(self.classes or ()))):
      raise ValueError(f'ignore: must be none of the values of classes, got '
                       f'{self.ignore}; None for no pixels that do not count')
    if self.channels not in (None, 1, 3):
      raise ValueError(f'channels: must be 1 or 3, got {self.channels!r}')

  def split(self, name: str) -> 'MaskFolder':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the images and masks of a split.

    Raises:
      UserError: if there are none, one is damaged or has no counterpart, their sizes
        differ, or a mask has another value.
    """
    found = mask_files.pairs(image_files.find(self.images, context),
                             image_files.find(self.masks, context, 'mask'), self.suffix)
    if self.selected is not None:
      rows = held_out(len(found), self.selected, self.splits)
      found = [found[row] for row in rows]
    ours, theirs = ([pair[side] for pair in found] for side in (0, 1))
    images = self._images(ours, context)
    values = [mask_files.read(file.path) for file in theirs]
    for image, mask, file, other in zip(
      images.arrays, values, ours, theirs, strict=True):
      if image.shape[:2] != mask.shape:
        turned = '' if image.shape[1::-1] != mask.shape else (
          '; an EXIF orientation turns an image, but not its mask')
        raise UserError(
          f'{file.path}: has {image_files.pixels(image.shape)}, and its mask '
          f'{other.path} {image_files.pixels(mask.shape)}; they must be the same'
          f'{turned}')
    table = self._table(values, context)
    masks = [mask_files.classes_of(mask, table, file.path)
             for mask, file in zip(values, theirs, strict=True)]
    names = images.names
    count = max((c for c in table.values() if c != IGNORED), default=0) + 1
    classes = self.classes or tuple(map(str, range(count)))
    dataset = in_memory(padding.columns(images.arrays, masks, names), classes)
    return dataset._replace(
      describe=lambda row: ours[row].path,
      words=lambda rows: [{'image': names[row]} for row in np.asarray(rows).tolist()],
      origin=images.origin())

  def _images(self, found: Sequence[File], context: DataContext
              ) -> image_files.Images:
    """Images of one number of channels; prints what was converted."""
    where = f'{self.images} {self.selected or ""}'.strip()
    images, lines = image_files.read_all(found, where, self.channels), []
    count, grey = len(images.arrays), images.grey
    channels = self.channels or context.keep(
      'image channels', lambda: 1 if grey == count else 3)
    if self.channels is None and channels == 1 and grey < count:
      images = image_files.read_all(found, where, 1)
    elif channels == 3 and grey:
      lines.append(f'{grey} of {counted(count, "image")} '
                   f'{"is" if grey == 1 else "are"} grey, and '
                   f'{"gets" if grey == 1 else "get"} three equal channels')
      images = images._replace(arrays=[
        image if image.shape[-1] == 3 else image.repeat(3, -1)
        for image in images.arrays])
    images.say(
      [*lines, f'{counted(count, "image")} with masks, of {images.sizes()}'], context)
    return images

  def _table(self, masks: Sequence[np.ndarray], context: DataContext
             ) -> dict[int, int]:
    """What masks have -> the class."""
    given = self.values
    if given is None and self.classes is not None:
      given = tuple(range(len(self.classes)))
    if given is None:
      seen = sorted({*np.concatenate([np.unique(mask) for mask in masks]).tolist()})
      if {*seen} == {0, 255}:
        raise UserError(
          f'{self.masks}: all masks are black and white, with the values 0 and 255: '
          'set values=(0, 255) and ignore=None for two classes')
      most = max((v for v in seen if v != self.ignore), default=0)
      if most >= IGNORED:
        raise UserError(f'{self.masks}: the largest value in masks is {most:,}, must '
                        f'be below {IGNORED}; values= says which stand for classes')
      if self.selected in ('train', None) and most < 1:
        raise UserError(f'{self.masks}: the masks of training have the '
                        f'{"values" if len(seen) > 1 else "value"} {listed(seen)}, and '
                        'no class but 0; two or more are needed')
      count = context.keep('mask classes', lambda: most + 1)
      context.note(f'{self.masks}: the classes are 0 to {count - 1}, the largest value '
                   'in the masks of training; classes= names them')
      given = tuple(range(count))
    table = {value: number for number, value in enumerate(given)}
    return table if self.ignore is None else {**table, self.ignore: IGNORED}
