"""Boxes in the XML files of Pascal VOC."""

import dataclasses
import pathlib
from collections.abc import Mapping
from xml.etree import ElementTree

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError
from bigmodels.data.boxes import annotations
from bigmodels.data.boxes import files as picture_files
from bigmodels.data.boxes.annotations import Annotations, Objects
from bigmodels.data.boxes.files import Picture
from bigmodels.data.folders import listing
from bigmodels.data.sources import (
  FRACTIONS,
  DataContext,
  canonical,
  check_fractions,
  renamed_splits,
)

_SIDES = ('ymin', 'xmin', 'ymax', 'xmax')


@dataclasses.dataclass(frozen=True)
class Voc:
  """A folder in the format of Pascal VOC.

  It has an XML file for each picture in `Annotations`, and the pictures in
  `JPEGImages`. Splits are lists of names, `ImageSets/Main/SPLIT.txt`, if there are any.
  `difficult` objects are learned as background and ignored in evaluations.

  Attributes:
    path: the folder.
    first: number of the first pixel: 1 in VOC, whose boxes include their last pixels; 0
      for boxes that end where the next pixel begins, as many tools write them.
    splits: split -> fraction, without lists.
  """

  path: str
  first: int = 1
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: FRACTIONS)

  def __post_init__(self):
    object.__setattr__(self, 'path', picture_files.absolute(self.path, 'path'))
    if self.first not in (0, 1):
      raise ValueError(f'first: must be 0 or 1, got {self.first!r}')
    check_fractions(self.splits)

  def read(self, split: str, context: DataContext) -> Annotations:
    """Reads the XML files.

    Classes are the names of the objects of all splits, sorted.

    Raises:
      UserError: if a file is not as VOC has it, or a picture is missing.
    """
    root = files.find(self.path, context.data_dir)
    found = listing.find(str(root / 'Annotations'), ('.xml',), what='XML file')
    if not found.files:
      raise UserError(f'{root / "Annotations"}: has no XML file')
    parsed = {}
    for file in found.files:
      stem = pathlib.Path(file.name).stem
      if stem in parsed:
        raise UserError(f'{root / "Annotations"}: two XML files are called {stem!r}')
      parsed[stem] = _parsed(file.path, self.first)
    classes = annotations.check_classes(
      sorted({name for each in parsed.values() for name in each.names}), str(root))
    paths = picture_files.located(
      [each.file for each in parsed.values()], root / 'JPEGImages', str(root),
      'a filename has its ending, and is of a file there')
    pictures = {
      stem: Picture(path, Objects(
        each.boxes, np.array([classes.index(name) for name in each.names], np.int32),
        each.difficult), each.size, f'{stem}.xml')
      for (stem, each), path in zip(parsed.items(), paths, strict=True)}
    notes = [*found.lines]
    chosen, lines = self._chosen(pictures, split, root)
    hard = sum(int(picture.objects.crowd.sum()) for picture in chosen)
    notes += lines
    if hard:
      notes.append(f'{hard:,} difficult objects, learned as background and ignored in '
                   'evaluations')
    return picture_files.annotated(root.name, chosen, classes, notes)

  def _chosen(self, pictures: Mapping[str, Picture], split: str, root: pathlib.Path
              ) -> tuple[list[Picture], list[str]]:
    """The pictures of a split, and lines."""
    lists = {path.stem: path for path in sorted((root / 'ImageSets/Main').glob('*.txt'))
             if '_' not in path.stem}  # CLASS_SPLIT.txt are of classification
    if not lists:
      chosen, line = picture_files.divided(
        [*pictures.values()], split, self.splits, str(root))
      return chosen, [line]
    path = pathlib.Path(picture_files.of_split(
      split, {name: str(path) for name, path in lists.items()}, 'ImageSets/Main'))
    names = [line.split()[0] for line in files.read_text(path).splitlines()
             if line.strip()]
    for name in names:
      if name not in pictures:
        raise UserError(f'{path}: names {name!r}, which has no XML file')
    return [pictures[name] for name in names], renamed_splits(
      [name for name in lists if canonical(name) == canonical(split)], 'the list')


@dataclasses.dataclass(frozen=True)
class _Parsed:
  """What an XML file has."""

  file: str
  size: tuple[int, int]
  names: list[str]
  boxes: np.ndarray
  difficult: np.ndarray


def _parsed(path: str, first: int) -> _Parsed:
  where = pathlib.Path(path).name
  root = picture_files.read_as(pathlib.Path(path), ElementTree.fromstring, 'XML')

  def text(element, name):
    value = element.findtext(name)
    if value is None or not value.strip():
      raise UserError(f'{where}: has no {element.tag}/{name}')
    return value.strip()

  names, boxes, difficult = [], [], []
  try:
    size = tuple(float(text(root, f'size/{name}')) for name in ('height', 'width'))
    if not all(side == side // 1 for side in size):
      raise ValueError(f'the size must be in whole pixels, got {size[1]} x {size[0]}')
    for element in root.iter('object'):
      names.append(text(element, 'name'))
      boxes.append([float(text(element, f'bndbox/{side}')) for side in _SIDES])
      difficult.append((element.findtext('difficult') or '0').strip() == '1')
  except ValueError as error:
    raise UserError(f'{where}: {error}') from None
  boxes = annotations.in_pixels(np.array(boxes, np.float64), where)
  if first:
    empty = (boxes[:, 2:] < boxes[:, :2]).any(1)  # swapped: reported as they are
    boxes = np.where(empty[:, None], boxes, boxes - np.array([1, 1, 0, 0]))
  return _Parsed(text(root, 'filename'), (int(size[0]), int(size[1])), names,
                 boxes, np.array(difficult, bool))
