"""Annotated picture files: what the sources of COCO, VOC and YOLO have in common."""

import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data import image_decoding
from bigmodels.data.boxes import annotations
from bigmodels.data.boxes.annotations import Annotations, Example, Objects
from bigmodels.data.folders import index, labels
from bigmodels.data.folders.listing import counted
from bigmodels.data.origins import Origin
from bigmodels.data.sources import canonical, held_out

_HEAD = 1 << 16  # bytes of a file in which its size is, usually


class Picture(NamedTuple):
  """A picture file and the objects in it.

  Attributes:
    path: the file.
    objects: in pixels; in fractions of the picture if `size` is None.
    size: height and width, as annotated; None for those of the file.
    where: where its objects are from, for messages.
  """

  path: str
  objects: Objects
  size: tuple[int, int] | None
  where: str


class Examples:
  """The `example` of `Annotations`; it can be sent to worker processes."""

  def __init__(self, pictures: Sequence[Picture]):
    self._pictures = pictures

  def __call__(self, row: int) -> Example:
    """Returns the example of a row; the file is decoded later."""
    path, objects, size, where = self._pictures[row]
    if size is None:
      size = size_of(path)
      if not all(size):  # damaged: its size is not known
        return Example(path, size, objects.take(np.zeros(len(objects.labels), bool)))
      objects = objects._replace(boxes=annotations.of_fractions(
        objects.boxes, size, where))
    return Example(path, size, objects)

  def where(self, row: int) -> str:
    """Returns where the objects of a row are from."""
    return self._pictures[row].where


def annotated(name: str, pictures: Sequence[Picture], classes: Sequence[str],
              notes: Sequence[str] = ()) -> Annotations:
  """Returns the annotations of picture files.

  Args:
    name: name of the data.
    pictures: of a split.
    classes: names of the classes.
    notes: lines to print.

  Raises:
    UserError: if there are no pictures, or one is there twice.
  """
  if not pictures:
    raise UserError(f'{name}: has no pictures')
  of: dict[str, str] = {}
  for picture in pictures:
    if picture.path in of:
      raise UserError(f'{name}: {picture.path} is annotated twice, in '
                      f'{of[picture.path]} and {picture.where}; give all of its boxes '
                      'once')
    of[picture.path] = picture.where
  examples = Examples(pictures)
  digest = digests.of_json([[
    picture.path, np.round(picture.objects.boxes, 4).tolist(),
    picture.objects.labels.tolist()] for picture in pictures])
  codes = np.array([int.from_bytes(hashlib.sha256(str(
    pathlib.Path(picture.path).resolve()).encode(errors='surrogatepass')).digest()[:7])
    for picture in pictures])
  return Annotations(
    name, len(pictures), annotations.check_classes(tuple(classes), name), examples,
    examples.where, f'{name}: {len(pictures):,} pictures, {digest}', notes,
    Origin({'paths of pictures': codes}))


def size_of(path: str) -> tuple[int, int]:
  """Returns the height and width of a picture; zeros if it is damaged.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD)
    found = image_decoding.header(head)
  except (ValueError, OSError):
    try:
      found = image_decoding.header(index.content(path))
    except (ValueError, OSError):
      return 0, 0
  return found.height, found.width


def located(names: Sequence[str], folder: pathlib.Path, where: str, hint: str
            ) -> list[str]:
  """Returns the path of each picture.

  Args:
    names: names of the pictures, relative to the folder.
    folder: the folder.
    where: what names them.
    hint: what to do about missing ones, for the error.

  Raises:
    UserError: naming the first that is missing.
  """
  paths = [labels.file_at(folder, name) for name in names]
  missing = [name for name, path in zip(names, paths, strict=True) if path is None]
  if missing:
    raise UserError(f'{where}: {counted(len(missing), "picture")} of {len(names):,} '
                    f'{"is" if len(missing) == 1 else "are"} not in {folder}, such as '
                    f'{missing[0]!r}; {hint}')
  return paths


def of_split(split: str, given: str | Mapping[str, str], setting: str) -> str:
  """Returns the path of a split, of one path for all or one for each.

  Args:
    split: name of the split.
    given: a path, or split -> path.
    setting: name of the setting, for the error.

  Raises:
    UserError: if there is none for this split.
  """
  if isinstance(given, str):
    return given
  found = {canonical(name): path for name, path in given.items()}
  if canonical(split) not in found:
    raise UserError(f'{setting}: has no split {split!r}{nearest(split, found)}')
  return found[canonical(split)]


def divided(pictures: Sequence[Picture], split: str, splits: Mapping[str, float],
            name: str) -> tuple[list[Picture], str]:
  """Returns the pictures of a split that is drawn at random, and a line.

  Args:
    pictures: all pictures.
    split: name of the split.
    splits: split -> fraction.
    name: name of the data, for the error.

  Raises:
    UserError: if there is no such split, or it is empty.
  """
  try:
    rows = held_out(len(pictures), split, splits)
  except UserError as error:
    raise UserError(f'{name}: {error}') from None
  parts = listed(f'{value:g} {each}' for each, value in splits.items())
  return [pictures[row] for row in rows], (
    f'divided at random: {parts} (splits= sets the fractions)')


def absolute(given: str | Mapping[str, str], field: str) -> str | Mapping[str, str]:
  """Returns a path, or split -> path, made absolute; see `core.files.absolute`."""
  if isinstance(given, str):
    return files.absolute(given, field)
  return {name: files.absolute(path, field) for name, path in given.items()}


def read_as(path: pathlib.Path, read: Callable[[str], object], kind: str) -> object:
  """Returns what a text file contains.

  Args:
    path: the file.
    read: text -> what it contains.
    kind: what it is, such as 'JSON', for the error.

  Raises:
    UserError: if it cannot be read as such.
  """
  text = files.read_text(path)
  try:
    return read(text)
  except (ValueError, SyntaxError, RecursionError) as error:
    raise UserError(f'{path}: is not {kind}: {str(error).splitlines()[0]}') from None
