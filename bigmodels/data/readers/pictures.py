"""Reads new pictures for runs of `data.Detection`."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bigmodels.data.boxes import pictures
from bigmodels.data.boxes.files import size_of
from bigmodels.data.folders import image_files
from bigmodels.data.readers.files import FileReader
from bigmodels.data.readers.reader import Chunk, Examples


@dataclasses.dataclass(frozen=True)
class PictureReading:
  """How a picture file becomes an example; see `decoding.Reading`.

  Attributes:
    size: height and width.
    channels: 1 or 3.
  """

  size: tuple[int, int]
  channels: int

  kind = 'image'
  dtype = 'uint8'
  fixed = True

  @property
  def shape(self) -> tuple[int, ...]:
    return (*self.size, self.channels)

  @property
  def rules(self) -> str:
    return f'pictures fitted in {self.size} {self.channels}'

  def __call__(self, data: bytes, seed: np.ndarray
               ) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns uint8 `[*size, channels]` and notes; see `decoding.Reading`."""
    del seed
    picture, notes = image_files.decode(data, self.channels)
    return pictures.fit(picture, self.size).picture, (
      *image_files.grey_note(data, self.channels), *notes)

  def lines(self, facts: np.ndarray) -> list[str]:
    """Returns no lines; see `decoding.Reading`; facts are int `[n, 3]`."""
    del facts
    return []


def reader(size: tuple[int, int], channels: int, say: Callable[[str], None]
           ) -> 'PictureReader':
  """Returns a reader of pictures of any size.

  Args:
    size: height and width of the inputs of the run.
    channels: 1 or 3.
    say: prints a line.
  """
  return PictureReader(
    PictureReading(size, channels), image_files.SUFFIXES, None, say=say,
    unlabelled='the boxes of pictures are read by data.Detection, as the source of an '
               'evaluation; files have no labels for them')


@dataclasses.dataclass(frozen=True)
class PictureReader(FileReader):
  """A `FileReader` that knows the sizes of pictures before they were fitted."""

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """See `FileReader.examples`; the columns have `sizes` and `scales`."""
    found = super().examples(paths, labels=labels)

    def chunks(first: int) -> Iterator[Chunk]:
      for chunk in found.chunks(first):
        files = found.files[first : first + chunk.length]
        first += chunk.length
        sizes = np.array([size_of(str(file)) for file in files], np.float32)
        scales = pictures.fitted(sizes, self.reading.size) / np.maximum(sizes, 1)
        yield chunk._replace(columns={
          **chunk.columns, 'sizes': sizes, 'scales': scales.astype(np.float32)})

    return found._replace(chunks=chunks)
