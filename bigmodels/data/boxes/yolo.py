"""Boxes in the text files of YOLO."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed
from bigmodels.data.boxes import files as picture_files
from bigmodels.data.boxes.annotations import Annotations, Objects
from bigmodels.data.boxes.files import Picture
from bigmodels.data.folders import image_files, listing
from bigmodels.data.folders.listing import counted
from bigmodels.data.sources import DataContext, canonical


@dataclasses.dataclass(frozen=True)
class Yolo:
  """A `data.yaml`, and a text file of boxes for each picture.

  The YAML file has the `names` of the classes, and for each split (`train`, `val`,
  `test`) a folder of pictures, relative to its `path` or its own folder. The boxes of
  `images/a/1.jpg` are in `labels/a/1.txt`, a line for each: class, column and row of
  the center, width and height, in fractions of the picture. A picture without such a
  file has no objects.

  Attributes:
    path: the YAML file.
  """

  path: str

  def __post_init__(self):
    object.__setattr__(self, 'path', picture_files.absolute(self.path, 'path'))

  def read(self, split: str, context: DataContext) -> Annotations:
    """Reads the text files of a split.

    Raises:
      UserError: if a file is not as above, or there are no pictures, or no boxes.
    """
    path = files.find(self.path, context.data_dir)
    yaml = _library()

    def load(text):
      try:
        return yaml.safe_load(text)
      except yaml.YAMLError as error:
        raise ValueError(str(error)) from None

    found = picture_files.read_as(path, load, 'YAML')
    if not isinstance(found, dict) or not isinstance(found.get('names'), list | dict):
      raise UserError(f'{path}: has no names of classes, as in names: [cat, dog]')
    names = found['names']
    if isinstance(names, dict):
      if sorted(names) != [*range(len(names))]:
        raise UserError(f'{path}: the numbers of names must be 0 to {len(names) - 1}, '
                        f'got {listed(names)}')
      names = [names[index] for index in range(len(names))]
    if found.get('nc', len(names)) != len(names):
      raise UserError(f'{path}: nc, the number of classes, is {found["nc"]!r}, but '
                      f'there are {len(names)} names: {listed(names)}')
    names = [str(name) if type(name) in (int, float) else name for name in names]
    folders = _folders(found, split, path)
    pictures, lines, missing = [], [], []
    for folder in folders:
      inside = listing.find(str(folder), image_files.SUFFIXES, what='image')
      lines += inside.lines
      for file in inside.files:
        boxes = _labels_of(pathlib.Path(file.path))
        where = f'{boxes.name}'
        missing += [boxes] * (not files.exists(boxes))
        pictures.append(Picture(
          file.path, _objects(boxes, len(names), where), None, where))
    if not pictures:
      raise UserError(f'{listed(folders)}: has no pictures')
    if len(missing) == len(pictures):
      raise UserError(f'{listed(folders)}: no picture has a text file of boxes; that '
                      f'of {pictures[0].path} would be {missing[0]}')
    if missing:
      lines.append(f'{counted(len(missing), "picture")} without a text file, in which '
                   f'nothing is to be found (such as {missing[0].name})')
    return picture_files.annotated(
      path.parent.name, pictures, names, lines)


def _folders(found: dict, split: str, path: pathlib.Path) -> list[pathlib.Path]:
  """The folders of pictures of a split."""
  splits = {name: found[name] for name in ('train', 'val', 'test') if found.get(name)}
  given = {canonical(name): value for name, value in splits.items()}
  if canonical(split) not in given:
    raise UserError(f'{path}: has no split {split!r}, only {listed(splits)}')
  value = given[canonical(split)]
  root = path.parent / str(found.get('path') or '.')
  if not root.is_dir():  # `path` may be relative to where YOLO was run
    root = path.parent
  folders = [root / str(each) for each in (
    value if isinstance(value, list) else [value])]
  for folder in folders:
    if not folder.is_dir():
      raise UserError(f'{path}: {split}: there is no folder {folder}')
  return folders


def _labels_of(picture: pathlib.Path) -> pathlib.Path:
  """The text file of a picture: `labels` in place of the last `images`."""
  parts = [*picture.parts]
  for index in reversed(range(len(parts) - 1)):
    if parts[index] == 'images':
      parts[index] = 'labels'
      break
  return pathlib.Path(*parts).with_suffix('.txt')


def _objects(path: pathlib.Path, classes: int, where: str) -> Objects:
  """The objects of a text file, in fractions."""
  labels, boxes = [], []
  if files.exists(path):
    for number, line in enumerate(files.read_text(path).splitlines(), 1):
      words = line.split()
      if not words:
        continue
      try:
        label, (x, y, width, height) = int(words[0]), map(float, words[1:])
      except ValueError:
        raise UserError(f'{path}, line {number}: must be a class and four numbers, got '
                        f'{line[:60]!r}') from None
      if not 0 <= label < classes:
        raise UserError(f'{path}, line {number}: the class {label} must be 0 to '
                        f'{classes - 1}')
      if width < 0 or height < 0:
        raise UserError(f'{path}, line {number}: width and height must be >= 0, got '
                        f'{width:g} and {height:g}')
      labels.append(label)
      boxes.append([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
  return Objects(np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int32))


def _library() -> Any:
  """The package `yaml`.

  Raises:
    UserError: if it is missing.
  """
  try:
    import yaml
  except ImportError as error:
    raise UserError(f'a data.yaml needs the package PyYAML ({error}): '
                    'pip install -r requirements-detection.txt') from None
  return yaml
