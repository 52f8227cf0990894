"""Annotated pictures as examples of one size, with padded boxes."""

import collections
import dataclasses
import functools
from typing import Any, Literal

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data import image_decoding
from bigmodels.data.boxes import annotations, pictures
from bigmodels.data.boxes.annotations import Annotations, Objects
from bigmodels.data.folders import decoding, image_files, index
from bigmodels.data.folders.listing import counted
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset, zeros

_ASSUMED = 100  # boxes of a picture, where no example is read; COCO has up to 93


@dataclasses.dataclass(frozen=True)
class Detection:
  """Pictures with boxes around the objects in them.

  A picture of another size is resized to the largest that fits, with its aspect, and
  padded with zeros below or to the right. Opened, with `max_objects` boxes for each
  picture:

  - `inputs` uint8 `[n, *size, channels]`;
  - `boxes` float32 `[n, max_objects, 4]`: top, left, bottom and right, in pixels of
    `inputs`;
  - `labels` int32 `[n, max_objects]`, classes;
  - `present` bool `[n, max_objects]`, False for padding;
  - `crowd` bool `[n, max_objects]`: groups of objects, see `Objects`;
  - `areas` float32 `[n, max_objects]`, in pixels of the original;
  - `sizes` float32 `[n, 2]`: height and width of the original;
  - `scales` float32 `[n, 2]`: pixels of `inputs` for each of the original.

  Boxes of no area are left out, and boxes that are partly outside are clipped; a line
  says how many. So does one for pictures that are converted when they are read. Boxes
  that are outside, or with swapped corners, are refused.

  Attributes:
    annotations: a source of annotated pictures; see `data.boxes`.
    size: height and width of the inputs.
    selected: the split that `open` returns.
    channels: 1 for grey, 3 for RGB.
    max_objects: number of boxes for each picture; None for those of the picture with
      most.
      If it is given, pictures are first read when they are needed.
  """

  annotations: Any
  size: tuple[int, int]
  selected: str = 'train'
  _: dataclasses.KW_ONLY
  channels: Literal[1, 3] = 3
  max_objects: int | None = None

  def __post_init__(self):
    if len(self.size) != 2 or not all(type(n) is int and n >= 1 for n in self.size):
      raise ValueError(f'size: must be a height and a width >= 1, got {self.size!r}')
    if self.channels not in (1, 3):
      raise ValueError(f'channels: must be 1 or 3, got {self.channels!r}')
    if self.max_objects is not None and self.max_objects < 1:
      raise ValueError(f'max_objects: must be >= 1, got {self.max_objects}')

  def split(self, name: str) -> 'Detection':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and checks the boxes of a split, unless `max_objects` is given.

    Raises:
      UserError: if the data is missing, or has boxes that are refused; or if a class of
        this split is not in 'train'.
    """
    if context.shapes_only and hasattr(self.annotations, 'described'):
      return self._described(context)
    found = self.annotations.read(self.selected, context)
    where = f'{found.name} {self.selected}'
    known = context.keep('classes', lambda: list(found.classes))
    matched = annotations.matched(found.classes, known, where)
    for line in found.notes:
      context.note(f'{where}: {line}')
    most = self.max_objects
    if most is None:
      examples = [found.example(row) for row in range(found.length)]
      checked = [annotations.checked(each.objects, each.size, found.where(row))
                 for row, each in enumerate(examples)]
      most = max(1, *(len(objects.labels) for objects, _ in checked))
      damaged = {row for row, each in enumerate(examples) if not any(each.size)}
      for line in _lines(found, checked, known, matched, damaged):
        context.note(f'{where}: {line}')
    read = _Read(found, self.size, self.channels, most, matched, decoding.Said(
      lambda line: context.note(f'{where}: {line}')))

    def words(rows: np.ndarray) -> list[dict[str, str]]:
      return [{'picture': found.where(int(row))} for row in rows]

    columns = self._columns(most)
    return Dataset(
      length=found.length,
      nbytes=found.length * _bytes(columns),
      load=functools.partial(read.load, found.length), read=read, classes=tuple(known),
      identity=f'{found.identity}, {self.size} {self.channels}', words=words,
      describe=read.describe, origin=found.origin)

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new pictures; see `readers`."""
    from bigmodels.data.readers import pictures as reading

    return reading.reader(self.size, self.channels, context.say)

  def _columns(self, most: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Column -> dtype and shape of an example."""
    return {'inputs': ('uint8', (*self.size, self.channels)),
            'boxes': ('float32', (most, 4)), 'labels': ('int32', (most,)),
            'present': ('bool', (most,)), 'crowd': ('bool', (most,)),
            'areas': ('float32', (most,)), 'sizes': ('float32', (2,)),
            'scales': ('float32', (2,))}

  def _described(self, context: DataContext) -> Dataset:
    """Zeros for examples of data that may not be there."""
    length, classes, identity = self.annotations.described(self.selected, context)
    most = self.max_objects or _ASSUMED
    context.say(f'assumed: {identity}: {length:,} pictures of {most} boxes at most')
    columns = self._columns(most)
    return zeros(columns, length, classes, identity, nbytes=length * _bytes(columns))


def _bytes(columns: dict[str, tuple[str, tuple[int, ...]]]) -> int:
  """The bytes of an example."""
  return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize
             for dtype, shape in columns.values())


def _lines(found: Annotations, checked: list, known: list[str], matched: np.ndarray,
           damaged: set[int]) -> list[str]:
  """Lines about all objects of a split."""
  labels = np.concatenate([objects.labels for objects, _ in checked]).astype(int)
  counts = np.bincount(matched[labels], minlength=len(known))
  parts = listed((f'{name} {count:,}' for name, count in zip(
    known, counts.tolist(), strict=True)), 10)
  lines = [f'{counted(found.length, "picture")}, {len(labels):,} boxes: {parts}']
  notes: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
  for row, (_, changed) in enumerate(checked):
    for note, count in changed.items():
      if count:
        notes[note][row] += count
  for note, rows in notes.items():
    lines.append(f'{sum(rows.values()):,} box{"es" * (sum(rows.values()) > 1)} {note} '
                 f'(such as in {found.where(min(rows))})')
  empty = [row for row, (objects, _) in enumerate(checked)
           if row not in damaged and not len(objects.labels)]
  if len(empty) + len(damaged) == found.length:
    raise UserError(f'{found.name}: none of {found.length:,} pictures has a box')
  if empty:
    lines.append(f'{counted(len(empty), "picture")} without a box, in which nothing '
                 f'is to be found (such as {found.where(empty[0])})')
  return lines


class _Read:
  """The `read` and `load` of a split; it can be sent to worker processes."""

  def __init__(self, found: Annotations, size: tuple[int, int], channels: int,
               most: int, matched: np.ndarray, said: decoding.Said):
    """Only stores the arguments.

    Args:
      found: the split.
      size, channels: of the inputs.
      most: boxes of a picture.
      matched: the class of training of each class of the split.
      said: prints what was converted in pictures.
    """
    self._example, self._size, self._channels = found.example, size, channels
    self._most, self._matched, self._where = most, matched, found.where
    self._said = said

  def __call__(self, rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
    """Returns rows `[n]` of every column, `[n, ...]`.

    Args:
      rows: int `[n]`.
      seeds: not used.
    """
    del seeds
    return self._rows(rows, numbers=False)

  def load(self, length: int) -> Columns:
    """Returns all rows, `[length, ...]`, of every column."""
    return self._rows(np.arange(length), numbers=True)

  def _rows(self, rows: np.ndarray, *, numbers: bool) -> Columns:
    """Rows of every column; prints what was converted, see `decoding.counted`."""
    found, notes = zip(*index.in_threads(lambda row: self._columns(int(row)), rows),
                       strict=True)
    self._said(decoding.counted(
      notes, [self._where(int(row)) for row in rows], 'picture', numbers=numbers))
    return {name: np.stack([each[name] for each in found]) for name in found[0]}

  def describe(self, row: int) -> str:
    """Returns where an example is from, and why it cannot be decoded if so."""
    where = self._where(row)
    try:
      self._picture(self._example(row), where)
    except (ValueError, OSError) as error:
      return f'{where}: {error}'
    return where

  def _picture(self, example: annotations.Example, where: str
               ) -> tuple[np.ndarray, tuple[str, ...]]:
    """The decoded picture, and notes on what was converted.

    Boxes may be annotated before it is turned to be seen.
    """
    data = example.picture
    if isinstance(data, np.ndarray):
      return self._of_channels(data, where)
    data = index.content(data) if isinstance(data, str) else data
    grey = image_files.grey_note(data, self._channels)
    for orient in (True, False):
      picture, notes = image_decoding.decode(
        data, self._channels, np.dtype(np.uint8), orient=orient)
      if picture.shape[:2] == tuple(example.size):
        return picture, (*grey, *notes)
    raise UserError(f'{where}: is annotated as {image_files.pixels(example.size)}, the '
                    f'file has {image_files.pixels(picture.shape)}')

  def _of_channels(self, picture: np.ndarray, where: str
                   ) -> tuple[np.ndarray, tuple[str, ...]]:
    """A picture with the channels of the inputs, and notes."""
    count = picture.shape[-1]
    if count == self._channels:
      return picture, ()
    if count == 1:
      return picture.repeat(3, -1), (image_files.GREY,)
    raise UserError(f'{where}: has {count} channels, must have {self._channels}: set '
                    f'channels={count} of data.Detection')

  def _columns(self, row: int) -> tuple[Columns, tuple[str, ...]]:
    """The columns of an example, and notes on what was converted."""
    example, most = self._example(row), self._most
    where = self._where(row)
    objects, _ = annotations.checked(example.objects, example.size, where)
    count = len(objects.labels)
    if count > most:
      raise UserError(f'{where} has {count} boxes, must have at most {most}: set '
                      'max_objects= of data.Detection')
    found = {'inputs': np.zeros((*self._size, self._channels), np.uint8),
             'sizes': np.asarray(example.size, np.float32),
             'scales': np.ones(2, np.float32), 'corrupt': np.array(False)}
    notes = ()
    try:
      picture, notes = self._picture(example, where)
      found['inputs'], found['scales'] = pictures.fit(picture, self._size)
    except (ValueError, OSError):
      found['corrupt'] = np.array(True)
    return found | _padded(objects, found['scales'], most, self._matched), notes


def _padded(objects: Objects, scales: np.ndarray, most: int, matched: np.ndarray
            ) -> Columns:
  """The columns of objects, padded to `most`."""
  count = len(objects.labels)
  boxes = np.zeros((most, 4), np.float32)
  boxes[:count] = objects.boxes * np.tile(scales, 2)
  labels, areas = np.zeros(most, np.int32), np.zeros(most, np.float32)
  labels[:count] = matched[objects.labels]
  areas[:count] = objects.areas if objects.areas is not None else np.prod(
    objects.boxes[:, 2:] - objects.boxes[:, :2], axis=1)
  crowd = np.zeros(most, bool)
  if objects.crowd is not None:
    crowd[:count] = objects.crowd
  return {'boxes': boxes, 'labels': labels, 'present': np.arange(most) < count,
          'crowd': crowd, 'areas': areas}
