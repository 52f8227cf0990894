"""Reads new images of any size for a run of images of one size."""

import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples

SUFFIXES = ('.jpg', '.jpeg', '.png', '.gif', '.bmp', '.webp', '.tif', '.tiff', '.ppm',
            '.pgm')
_IMAGES = 512  # of a chunk


def examples(paths: Sequence[pathlib.Path], shape: tuple[int, int, int],
             classes: Sequence[str] | None, say: Callable[[str], None]) -> Examples:
  """Returns the images of files and folders; see `Reader`.

  An image is turned upright, scaled so that it covers the size of the run, and cropped
  at its centre.

  Args:
    paths: files, and folders, whose files are read in the order of their names.
    shape: height, width and channels of an image of the run.
    classes: if labels are wanted, the names of the folders that images are in.
    say: prints a line.

  Raises:
    UserError: if there is no image, or the folder of one is not a class.
  """
  every = [file for path in paths for file in of_suffix(path, SUFFIXES)]
  index = {name: number for number, name in enumerate(classes or ())}
  for file in every if classes is not None else ():
    if file.parent.name not in index:
      raise UserError(f'{file}: the folder {file.parent.name!r} is not one of the '
                      f'classes: {listed(classes)}')

  def chunks(first: int) -> Iterator[Chunk]:
    converted: dict[str, list[str]] = {}
    for start in range(first, len(every), _IMAGES):
      part = every[start : start + _IMAGES]
      inputs, faults = np.zeros((len(part), *shape), np.uint8), {}
      for number, file in enumerate(part):
        try:
          inputs[number], notes = read(file, shape)
          for note in notes:
            converted.setdefault(note, []).append(str(file))
        except (OSError, ValueError, SyntaxError) as error:
          faults[number] = f'cannot be decoded: {error}'
      labels = None if classes is None else np.array(
        [index[file.parent.name] for file in part], np.int32)
      yield Chunk({'inputs': inputs}, [*map(str, part)],
                  (start + len(part)) / len(every), 'file', faults=faults,
                  labels=labels)
    for note, names in converted.items():
      say(f'{len(names):,} images {note} (such as {names[0]})')

  return Examples(chunks, len(every))


def read(path: pathlib.Path, shape: tuple[int, int, int]
         ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns the image of a file in the shape of a run, and what was converted.

  Args:
    path: of the file.
    shape: height, width and channels.

  Returns:
    uint8 `[height, width, channels]`; and notes that continue the text 'image'.

  Raises:
    OSError, ValueError: if it cannot be read or decoded.
  """
  from PIL import Image, ImageOps

  from bigmodels.data.tfds import image_decoding

  height, width, channels = shape
  array, notes = image_decoding.decode(path.read_bytes(), channels, np.dtype(np.uint8))
  if array.shape == shape:
    return array, notes
  image = Image.fromarray(array[..., 0] if channels == 1 else array)
  image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
  return np.asarray(image).reshape(shape), (
    *notes, f'scaled and cropped to {height} x {width}')
