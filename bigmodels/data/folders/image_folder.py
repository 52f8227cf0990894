"""A folder of images, or a CSV file of images and labels, as a source."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from bigmodels.core.errors import nearest
from bigmodels.data import image_decoding
from bigmodels.data.folders import image_files
from bigmodels.data.folders.files_source import FilesSource
from bigmodels.data.sources import DataContext


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder(FilesSource):
  """Image files of any size: `inputs` uint8 `[length, height, width, channels]`.

    ImageFolder('photos', size=64)        # photos/cat/1.jpg, or photos/train/cat/1.jpg
    ImageFolder('labels.csv', size=64)    # columns file, label and perhaps split
    ImageFolder('photos', fit=partial(data.images.random_resized_crop, size=224))

  JPEG, PNG, GIF (the first frame), BMP, TIFF, WebP, PNM and JPEG 2000 are read; other
  files are skipped. A file that cannot be decoded is masked, see `Batches.corrupt`. See
  `FilesSource` for the other fields.

  Attributes:
    size: side of the images, or their height and width; None for the size that all
      images have. They are decoded once, and cached.
    resize: how an image of another size is brought to `size`: 'crop' keeps its aspect
      and cuts the longer side at both ends; 'squeeze' keeps all of it.
    fit: (image, numpy.random.Generator) -> image of a fixed shape, applied in every
      epoch instead of `size`; see `data.images`. Such a split is streamed.
    channels: 1 for grey, 3 for RGB; None for 1 if all images are grey, otherwise 3.
  """

  size: int | tuple[int, int] | None = None
  resize: Literal['crop', 'squeeze'] = 'crop'
  fit: Callable | None = None
  channels: Literal[1, 3] | None = None

  kind = 'image'
  suffixes = image_files.SUFFIXES

  def __post_init__(self):
    super().__post_init__()
    size = self.size if isinstance(self.size, tuple) else (self.size,)
    if self.size is not None and not (
      len(size) in (1, 2) and all(type(n) is int and n >= 1 for n in size)):
      raise ValueError(f'size: must be a number of pixels >= 1, or two, got '
                       f'{self.size!r}')
    if self.size is not None and self.fit is not None:
      raise ValueError('size: is set by fit, which is given too; set one of them')
    if self.resize not in ('crop', 'squeeze'):
      raise ValueError(f'resize: no way {self.resize!r}'
                       f'{nearest(str(self.resize), ("crop", "squeeze"))}')
    if self.channels not in (None, 1, 3):
      raise ValueError(f'channels: must be 1 or 3, got {self.channels!r}')

  def header(self, data: bytes) -> tuple[int, int, int]:
    """See `FilesSource.header`."""
    return image_decoding.header(data)

  def reading(self, facts: Callable[[], np.ndarray], names: Sequence[str],
              context: DataContext) -> image_files.ImageReading:
    """See `FilesSource.reading`."""
    channels = self.channels or context.keep('image channels', lambda: (
      1 if (facts()[:, 2] != 0).all() else 3))
    reading = partial(image_files.ImageReading, channels, notes_changes=not names)
    if self.fit is not None:
      return reading(None, None, self.fit)
    if self.size is not None:
      size = (self.size, self.size) if isinstance(self.size, int) else self.size
      return reading(size, self.resize, None)
    size = context.keep('image size', lambda: [
      *image_files.common_size(facts(), names)])
    return reading(tuple(size), None, None)
