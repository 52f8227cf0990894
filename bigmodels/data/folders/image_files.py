"""Image files: decoded, and brought to one size."""

import collections
import dataclasses
import io
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, one_line
from bigmodels.data import image_decoding, images, origins
from bigmodels.data.folders import decoding, listing
from bigmodels.data.sources import DataContext
from bigmodels.plots import style

SUFFIXES = frozenset(('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.apng', '.gif', '.bmp',
                     '.dib', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.pbm', '.pnm',
                     '.jp2', '.j2k'))
GREY = 'grey, with three equal channels'  # a note, see `grey_note`
_MOST_BYTES = 8 * 2**30  # of a split, padded


def decode(file: bytes | str | pathlib.Path, channels: Literal[1, 3] | None = 3
           ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns an image as uint8 `[height, width, channels]`, and notes.

  Its EXIF orientation is applied; 16 bits are reduced to the upper 8; transparency is
  dropped; of several frames the first is read.

  Args:
    file: a path, or the content of a file.
    channels: 1 for grey, 3 for RGB; None for 1 if the image is grey, else 3.

  Returns:
    The image, and what was converted, such as 'of mode CMYK turned to RGB'.

  Raises:
    ValueError, OSError: if it cannot be decoded.
  """
  data = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
  channels = channels or (1 if image_decoding.header(data).grey else 3)
  return image_decoding.decode(data, channels, np.dtype(np.uint8), orient=True)


def grey_note(data: bytes, channels: int | None) -> tuple[str, ...]:
  """Returns `GREY`, a note, if an image of one channel becomes one of three.

  Args:
    data: the content of a file.
    channels: see `decode`.

  Raises:
    ValueError, OSError: if it is not an image.
  """
  return (GREY,) * (channels == 3 and image_decoding.header(data).grey)


def read(path: str, channels: Literal[1, 3] | None = None
         ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns an image uint8 `[height, width, 1 or 3]`, grey or RGB, and notes.

  See `decode`; `grey_note` is a note too.

  Args:
    path: of the file.
    channels: 1 or 3; None for 1 if the image is grey, else 3.

  Raises:
    decoding.Corrupt: if it cannot be decoded.
    UserError: if it cannot be read.
  """
  def decoded(data: bytes, seed: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    del seed
    image, notes = decode(data, channels)
    return image, (*grey_note(data, channels), *notes)

  return decoding.example(decoded, path, np.zeros(2, np.uint64))


class Images(NamedTuple):
  """Images of different sizes, in memory.

  Attributes:
    where: what they are, for lines, such as their paths as they were given.
    files: their files.
    arrays: the images, each uint8 `[height, width, 1 or 3]`.
    notes: what was converted -> the number of images.
  """

  where: str
  files: list[listing.File]
  arrays: list[np.ndarray]
  notes: collections.Counter

  @property
  def names(self) -> list[str]:
    return [file.name for file in self.files]

  @property
  def grey(self) -> int:
    """The number of images of one channel."""
    return sum(image.shape[-1] == 1 for image in self.arrays)

  def rgb(self, size: tuple[int, int]) -> np.ndarray:
    """Returns all images in RGB and in one size, uint8 `[n, *size, 3]`; see `to_size`.

    Args:
      size: height and width.
    """
    return np.stack([np.broadcast_to(to_size(image, size), (*size, 3))
                     for image in self.arrays])

  def say(self, lines: Sequence[str], context: DataContext) -> None:
    """Prints lines about these images, and what was converted."""
    for line in (*lines, *(f'{listing.counted(count, "image")} {note}'
                           for note, count in sorted(self.notes.items()))):
      context.note(f'{self.where}: {line}')

  def sizes(self) -> str:
    """Returns the smallest and the largest size."""
    ends = [pixels(pick(self.arrays, key=np.size).shape) for pick in (min, max)]
    return ' to '.join(dict.fromkeys(ends))

  def origin(self) -> origins.Origin:
    """Returns the images as sources, by their paths and by their pixels."""
    return origins.of_images([file.path for file in self.files], self.arrays)


def absolute(paths: str | Sequence[str], field: str) -> str | tuple[str, ...]:
  """Returns a path, or several, made absolute; see `core.files.absolute`.

  Raises:
    ValueError: if there is none, or one is empty.
  """
  if isinstance(paths, str):
    return files.absolute(paths, field)
  if not paths:
    raise ValueError(f'{field}: must be one path or more, got {paths!r}')
  return tuple(files.absolute(path, field) for path in paths)


def find(paths: str | Iterable[str], context: DataContext, what: str = 'image'
         ) -> list[listing.File]:
  """Finds image files, and prints what was skipped; see `listing.find`.

  Args:
    paths: files, folders and patterns.
    context: has `--data_dir`, and prints.
    what: what they are, for lines.

  Raises:
    UserError: if there are none.
  """
  found = listing.find(paths, SUFFIXES, what=what, data_dir=context.data_dir)
  where = _named(paths)
  for line in found.lines:
    context.note(f'{where}: {line}')
  if not found.files:
    raise UserError(f'{where}: has no {what}s: files that end in '
                    f'{listed(sorted(SUFFIXES))}')
  return found.files


def read_all(files: Sequence[listing.File], where: str,
             channels: Literal[1, 3] | None = None) -> Images:
  """Reads images.

  Args:
    files: the files.
    where: what they are, for lines.
    channels: see `read`.

  Raises:
    UserError: for one that cannot be decoded.
  """
  arrays, notes = [], collections.Counter()
  for file in files:
    try:
      array, lines = read(file.path, channels)
    except decoding.Corrupt as error:
      raise UserError(f'{file.path}: cannot be read as an image: {error}') from None
    arrays.append(array)
    notes.update(lines)
  return Images(where, [*files], arrays, notes)


def opened(paths: str | Sequence[str], context: DataContext) -> Images:
  """Reads all images under paths, at any depth.

  Args:
    paths: folders, files or patterns; see `listing.find`.
    context: of the run.

  Raises:
    UserError: if there are none, or one is damaged.
  """
  return read_all(find(paths, context), _named(paths))


def _named(paths: str | Iterable[str]) -> str:
  return listed([paths] if isinstance(paths, str) else paths)


def png(image: np.ndarray) -> bytes:
  """Returns an image as a PNG file.

  Args:
    image: uint8 `[height, width, 1 or 3]`; or `[height, width]`, a mask of class
      indices, which is written with a palette.
  """
  from PIL import Image

  file = io.BytesIO()
  picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
  if image.ndim == 2:
    picture.putpalette(style.mask_colours().tobytes())
  picture.save(file, 'PNG')
  return file.getvalue()


def to_size(image: np.ndarray, size: tuple[int, int],
            resize: Literal['crop', 'squeeze'] = 'crop') -> np.ndarray:
  """Returns an image in another size, by Pillow's antialiased bilinear filter.

  Args:
    image: uint8 `[height, width, channels]`.
    size: the new height and width.
    resize: 'crop' keeps the aspect, and cuts what is too much at both ends; 'squeeze'
      keeps the whole image, and changes the aspect.

  Returns:
    uint8 `[*size, channels]`.
  """
  if image.shape[:2] == tuple(size):
    return image
  return images.resized(
    image, cropped(image.shape[:2], size) if resize == 'crop' else None, size)


def cropped(shape: tuple[int, int], size: tuple[int, int]
            ) -> tuple[float, float, float, float]:
  """Returns the largest centered box of the aspect of `size`: left, top, right, bottom.

  Args:
    shape: height and width of an image.
    size: a height and a width.
  """
  (height, width), (rows, columns) = shape, size
  tall, wide = min(height, width * rows / columns), min(width, height * columns / rows)
  left, top = (width - wide) / 2, (height - tall) / 2
  return left, top, left + wide, top + tall


@dataclasses.dataclass(frozen=True)
class ImageReading:
  """How an image file becomes an example; see `decoding.Reading`.

  Attributes:
    channels: 1 or 3.
    size: height and width; None with a `fit`.
    resize: how images of another size are brought to it, see `to_size`; None refuses
      them.
    fit: see `ImageFolder`.
    notes_changes: whether notes tell of a grey image that gets three channels, and of
      one that is resized; `lines` count those of a folder.
  """

  channels: int
  size: tuple[int, int] | None
  resize: Literal['crop', 'squeeze'] | None
  fit: Callable | None
  notes_changes: bool = False

  kind = 'image'
  dtype = 'uint8'

  @property
  def shape(self) -> tuple[int, ...] | None:
    return None if self.size is None else (*self.size, self.channels)

  @property
  def fixed(self) -> bool:
    return self.fit is None

  @property
  def rules(self) -> str:
    return (f'images {self.size} {self.channels} {self.resize}, oriented, 16 bits by '
            'their upper 8')

  @property
  def _how(self) -> str:
    return ('cut to the aspect at the center' if self.resize == 'crop' else
            'squeezed, aspect not kept')

  def __call__(self, data: bytes, seed: np.ndarray
               ) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns uint8 `[height, width, channels]` and notes; see `decoding.Reading`.

    Raises:
      ValueError: if the image has another size than all others.
      UserError: if `fit` fails.
    """
    image, notes = decode(data, self.channels)
    if self.notes_changes:
      notes = (*grey_note(data, self.channels), *notes)
    if self.fit is not None:
      rng = np.random.Generator(np.random.Philox(key=seed))
      try:
        return np.asarray(self.fit(image, rng)), notes
      except Exception as error:
        raise UserError(f'`fit` fails for an image {image.shape}: '
                        f'{type(error).__name__}: {error}') from error
    if self.resize is not None:
      if self.notes_changes and image.shape[:2] != tuple(self.size):
        notes += (f'of another size, resized to {pixels(self.size)}, {self._how}',)
      return to_size(image, self.size, self.resize), notes
    if image.shape[:2] != self.size:
      raise ValueError(f'{pixels(image.shape)}, must be {pixels(self.size)}')
    return image, notes

  def lines(self, facts: np.ndarray) -> list[str]:
    """Returns lines on channels and sizes; see `decoding.Reading`.

    Args:
      facts: `image_decoding.Header`s, int64 `[n, 3]`.
    """
    height, width, grey = facts.T
    lines, other = [], int(np.count_nonzero(grey == (self.channels == 3)))
    if other:
      lines.append(f'channels={self.channels}: {other:,} of {len(facts):,} images are '
                   + ('grey, and get three equal channels' if self.channels == 3 else
                      'in colour, and become grey'))
    if self.resize is None:
      return lines
    size = np.array(self.size)
    changed = (height != size[0]) | (width != size[1])
    if changed.any():
      other = 'squeeze' if self.resize == 'crop' else 'crop'
      line = (f'size: {np.count_nonzero(changed):,} of {len(facts):,} images are '
              f'resized to {pixels(size)}, {self._how} (resize={other} changes that)')
      if small := np.count_nonzero((height < size[0]) | (width < size[1])):
        line += f'; {small:,} are smaller, and enlarged'
      lines.append(line)
    return lines


def padded_size(images: Sequence[np.ndarray], names: Sequence[str], width: int
                ) -> tuple[int, int]:
  """Returns the largest height and width of images, to which a split is padded.

  Args:
    images: `[height, width, ...]` each.
    names: of the images, for the error.
    width: bytes that the split has for each pixel.

  Raises:
    UserError: if the padded split takes too much memory.
  """
  height, columns = np.max([image.shape[:2] for image in images], 0).tolist()
  size = len(images) * height * columns * width
  if size > _MOST_BYTES:
    largest = one_line(names[int(np.argmax([np.prod(x.shape[:2]) for x in images]))])
    raise UserError(
      f'{len(images):,} images padded to {pixels((height, columns))}, as the largest '
      f'({largest}), take {size / 2**30:.0f} GiB, more than {_MOST_BYTES / 2**30:.0f}: '
      'cut large images into several')
  return height, columns


def pixels(size: Sequence[int]) -> str:
  """Returns (height, width, ...) as people write it: width by height."""
  return f'{size[1]} x {size[0]} pixels'


def common_size(facts: np.ndarray, names) -> tuple[int, int]:
  """Returns the height and width that all images have.

  Args:
    facts: `image_decoding.Header`s, int64 `[n, 3]`; -1 if damaged.
    names: names of the files.

  Raises:
    UserError: if they differ.
  """
  known = np.flatnonzero(facts[:, 0] >= 0)
  if not len(known):
    raise UserError('no image can be read')
  sizes, firsts = np.unique(facts[known, :2], axis=0, return_index=True)
  if len(sizes) > 1:
    one, other = known[firsts[0]], known[firsts[1]]
    raise UserError(
      f'images have {len(sizes):,} sizes, such as {pixels(facts[one])} ({names[one]}) '
      f'and {pixels(facts[other])} ({names[other]}): set size=, such as size=64, or '
      'fit=')
  return int(sizes[0][0]), int(sizes[0][1])
