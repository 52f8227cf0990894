"""The types of what sources of boxes read, and checks of boxes from files."""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data.origins import Origin

NO_AREA = 'of no area left out'
CLIPPED = 'clipped at the edge of the picture'


class Objects(NamedTuple):
  """The objects in a picture.

  Attributes:
    boxes: float64 `[k, 4]`, top, left, bottom and right, in pixels of the picture.
    labels: int `[k]`, classes.
    crowd: bool `[k]`: groups of objects, which are learned as background and ignored
      in evaluations; None for none.
    areas: float64 `[k]`, areas in pixels by which objects are small or large; None for
      those of the boxes.
  """

  boxes: np.ndarray
  labels: np.ndarray
  crowd: np.ndarray | None = None
  areas: np.ndarray | None = None

  def take(self, index: np.ndarray) -> 'Objects':
    """Returns some of the objects, by indices int `[n]` or a mask `[k]`."""
    return Objects(*(None if x is None else x[index] for x in self))


class Example(NamedTuple):
  """A picture and its objects.

  Attributes:
    picture: an encoded image, the path of a file, or uint8 `[height, width, channels]`.
    size: height and width, as annotated; zeros if the image is damaged.
    objects: what is in it, as annotated.
  """

  picture: bytes | str | np.ndarray
  size: tuple[int, int]
  objects: Objects


class Annotations(NamedTuple):
  """The annotated pictures of a split.

  Attributes:
    name: name of the data, for messages.
    length: number of pictures.
    classes: names of the classes.
    example: row -> `Example`; it can be sent to worker processes.
    where: row -> where its objects are from, for messages; it can be sent to worker
      processes.
    identity: a text that changes when the data does.
    notes: lines to print.
    origin: source rows.
  """

  name: str
  length: int
  classes: tuple[str, ...]
  example: Callable[[int], Example]
  where: Callable[[int], str]
  identity: str
  notes: Sequence[str] = ()
  origin: Origin | None = None


def checked(objects: Objects, size: tuple[int, int], where: str
            ) -> tuple[Objects, collections.Counter]:
  """Returns the objects that can be learned from, and counts what was changed.

  Boxes of no area are left out; boxes that are partly outside are clipped.

  Args:
    objects: as annotated.
    size: height and width of the picture.
    where: where they are from.

  Returns:
    The objects; and `NO_AREA` and `CLIPPED` -> number of boxes.

  Raises:
    UserError: for a box that is not finite, has swapped corners, or is outside of the
      picture.
  """
  boxes, notes = np.asarray(objects.boxes, np.float64).reshape(-1, 4), (
    collections.Counter())
  start, end = boxes[:, :2], boxes[:, 2:]
  height, width = size
  for wrong, why in (
    (~np.isfinite(boxes).all(1), 'is not finite'),
    ((start > end).any(1), 'has swapped corners: top must be <= bottom, and left <= '
     'right'),
    ((end < 0).any(1) | (start > size).any(1), f'is outside of its picture of {width} '
     f'x {height} pixels')):
    if wrong.any():
      index = int(np.argmax(wrong))
      raise UserError(f'{where}: box {index}, {described(boxes[index])}, {why}')
  inside = np.clip(boxes, 0, [*size, *size])
  empty = (inside[:, :2] >= inside[:, 2:]).any(1)
  # Less than a hundredth of a pixel is rounding.
  clipped = (np.abs(inside - boxes) > 0.01).any(1) & ~empty
  notes[NO_AREA], notes[CLIPPED] = int(empty.sum()), int(clipped.sum())
  return objects._replace(boxes=inside).take(~empty), notes


def described(box: Iterable[float]) -> str:
  """Returns a box, `[4]`, in words."""
  return ', '.join(f'{name} {value:g}' for name, value in zip(
    ('top', 'left', 'bottom', 'right'), box, strict=True))


def of_fractions(boxes: np.ndarray, size: tuple[int, int], where: str) -> np.ndarray:
  """Returns boxes in pixels of boxes in fractions of a picture.

  Args:
    boxes: `[k, 4]`, fractions of the height and the width.
    size: height and width of the picture.
    where: where they are from.

  Raises:
    UserError: if they are in pixels.
  """
  boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
  wrong = (np.abs(boxes) > 1.5).any(1)  # a little above 1 is rounding, and clipped
  if wrong.any():
    index = int(np.argmax(wrong))
    raise UserError(f'{where}: box {index}, {described(boxes[index])}, must be in '
                    'fractions of its picture, 0 to 1; it seems to be in pixels')
  return boxes * np.array([*size, *size], np.float64)


def in_pixels(boxes: np.ndarray, where: str) -> np.ndarray:
  """Returns boxes in pixels, `[k, 4]`, as they are.

  Args:
    boxes: `[k, 4]`.
    where: where they are from.

  Raises:
    UserError: if they are fractions.
  """
  boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
  area = (boxes[:, 2:] > boxes[:, :2]).all(1)
  if area.any() and boxes.min() >= 0 and boxes.max() <= 1:
    raise UserError(f'{where}: box {int(np.argmax(area))}, '
                    f'{described(boxes[np.argmax(area)])}, must be in pixels; it seems '
                    'to be in fractions of its picture')
  return boxes


def check_classes(classes: Sequence[str], where: str) -> tuple[str, ...]:
  """Returns names of classes.

  Args:
    classes: the names.
    where: where they are from.

  Raises:
    UserError: if there are none, one has no name, or two have the same name or names
      that differ in case alone.
  """
  if not classes:
    raise UserError(f'{where}: has no classes')
  seen: dict[str, str] = {}
  for number, name in enumerate(classes):
    key = name.strip().casefold() if isinstance(name, str) else ''
    if not key:
      raise UserError(f'{where}: the name of class {number} must be a text, got '
                      f'{name!r}; quote it in a YAML file')
    if key in seen:
      raise UserError(f'{where}: {one_line(seen[key])!r} and {one_line(name)!r} '
                      'are one class under two names; give them one name')
    seen[key] = name
  return tuple(classes)


def matched(classes: Sequence[str], known: Sequence[str], where: str) -> np.ndarray:
  """Returns the index among known classes of each class, int `[classes]`.

  Args:
    classes: of a split.
    known: those of the training split.
    where: the split.

  Raises:
    UserError: for a class that is not known.
  """
  new = [name for name in classes if name not in known]
  if new:
    raise UserError(f'{where}: has the class {one_line(new[0])!r}, which no box of '
                    f'training has{nearest(new[0], known)}; its classes are '
                    f'{listed(map(one_line, known))}')
  return np.array([known.index(name) for name in classes], np.int32)
