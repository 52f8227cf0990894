"""Masks in image files: a class for each pixel, grey or with a palette."""

import io
from collections.abc import Mapping, Sequence

import numpy as np

from bigmodels.core.errors import UserError, did_you_mean, listed
from bigmodels.data.folders import index
from bigmodels.data.folders.listing import File, counted

_FORMATS = ('PNG', 'GIF', 'BMP', 'TIFF', 'PPM')  # which keep every value


def read(path: str) -> np.ndarray:
  """Returns the values of a mask, int `[height, width]`.

  Those of a file with a palette are its indices.

  Raises:
    UserError: if it cannot be read, is in colour, or is a JPEG.
  """
  from PIL import Image, UnidentifiedImageError

  data = index.content(path)
  if data.startswith(b'\xff\xd8\xff'):
    raise UserError(f'{path}: is a JPEG, which changes values: masks must be PNG files '
                    '(or GIF, BMP, TIFF, PNM)')
  try:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
      image.load()
      mode, values = image.mode, np.asarray(image)
  except (UnidentifiedImageError, OSError, ValueError, SyntaxError,
          Image.DecompressionBombError) as error:
    reason = str(error) if not isinstance(error, UnidentifiedImageError) else (
      'it is none')
    raise UserError(f'{path}: cannot be read as an image: {reason}') from None
  if mode not in ('1', 'L', 'P') and not mode.startswith('I'):
    raise UserError(
      f'{path}: has the mode {mode}, colours or transparency: the pixels of a mask '
      'must have the number of their class, in a file that is grey or has a palette')
  return values.astype(np.int64)


def pairs(images: Sequence[File], masks: Sequence[File], suffix: str
          ) -> list[tuple[File, File]]:
  """Returns images with their masks, by their names without the ending.

  Args:
    images, masks: the files.
    suffix: what follows the name of an image in that of its mask.

  Raises:
    UserError: for an image without a mask, a mask without an image, or two files of
      one name.
  """
  ours, theirs = _by_name(images, 'images'), _by_name(masks, 'masks')
  alone = [name for name in ours if name + suffix not in theirs]
  if alone:
    file = ours[alone[0]]
    raise UserError(
      f'{file.path}: has no mask called {alone[0] + suffix}'
      f'{did_you_mean(alone[0] + suffix, theirs)} ({len(alone):,} of '
      f'{counted(len(ours), "image")} without)')
  left = [name for name in theirs if not name.endswith(suffix)
          or name[: len(name) - len(suffix)] not in ours]
  if left:
    raise UserError(f'{theirs[left[0]].path}: is the mask of no image '
                    f'({len(left):,} of {counted(len(theirs), "mask")} without)')
  return [(file, theirs[name + suffix]) for name, file in ours.items()]


def _by_name(files: Sequence[File], what: str) -> dict[str, File]:
  found: dict[str, File] = {}
  for file in files:
    head, slash, last = file.name.rpartition('/')
    name = head + slash + (last.rpartition('.')[0] or last)
    if name in found:
      raise UserError(f'{found[name].path} and {file.path}: two {what} are called '
                      f'{name}')
    found[name] = file
  return found


def classes_of(values: np.ndarray, table: Mapping[int, int], path: str) -> np.ndarray:
  """Returns the classes of a mask, uint8 `[height, width]`.

  Args:
    values: what `read` returns, `[height, width]`.
    table: value -> class.
    path: of the file.

  Raises:
    UserError: for a value that is none of these.
  """
  found = np.zeros(values.shape, np.uint8)
  known = np.zeros(values.shape, bool)
  for value in np.unique(values).tolist():
    if value in table:
      at = values == value
      found[at], known = table[value], known | at
  if not known.all():
    row, column = np.argwhere(~known)[0].tolist()
    value = int(values[row, column])
    raise UserError(
      f'{path}: has the value {value} at {int((values == value).sum()):,} pixels, the '
      f'first in row {row} and column {column}; must be one of {listed(table, 20)}')
  return found
