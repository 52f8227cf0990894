"""The source rows of a split, to detect splits that share rows."""

import hashlib
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core import digests

Rows = range | np.ndarray
_MOST_ROWS = 2**28  # beyond, numbers are digests of examples, not positions


class Origin(NamedTuple):
  """Where the examples of a split come from.

  Attributes:
    rows: name of a whole source -> its rows in the split, each once; for example lines
      or characters of a file. A source may have several names, such as its path and its
      digest.
    settings: name -> value of a setting that determines the rows of a split. Two splits
      with the same setting must have the same value.
    keys: a number of each example, uint64 `[length]`, that equal examples share, in
      this process; None if unknown, or if equal examples are different cases.
  """

  rows: Mapping[str, Rows]
  settings: Mapping[str, Any] = {}
  keys: np.ndarray | None = None

  def take(self, index: np.ndarray, length: int) -> 'Origin':
    """Returns the origin of some examples of a split.

    Args:
      index: the examples, int `[n]`.
      length: number of examples of the split. A source with another number of rows is
        not changed, as its rows are not examples.
    """
    keys = None if self.keys is None else self.keys[index]
    return self._replace(keys=keys, rows={
      name: some(rows, index) if len(rows) == length else rows
      for name, rows in self.rows.items()})


def some(rows: Rows, index: np.ndarray | slice) -> Rows:
  """Returns the rows at some positions, int `[n]` or a slice."""
  if isinstance(rows, np.ndarray) or isinstance(index, slice):
    return rows[index]
  return rows.start + rows.step * index


def shared(ours: Origin, theirs: Origin) -> tuple[str, int]:
  """Returns the source with the most shared rows of two splits, and their number.

  ('', 0) if no rows are shared.
  """
  counts = {name: _common(rows, theirs.rows[name])
            for name, rows in ours.rows.items() if name in theirs.rows}
  most = max(counts, key=counts.get, default='')
  return (most, counts[most]) if most and counts[most] else ('', 0)


def copies(ours: Origin, theirs: Origin) -> int:
  """Returns the number of rows of another source that equal one of ours.

  0 if the splits have a source in common, which keeps its copies apart itself, or if
  equal rows of one are different cases.
  """
  if ours.keys is None or theirs.keys is None or {*ours.rows} & {*theirs.rows}:
    return 0
  return int(np.isin(theirs.keys, ours.keys).sum())


def _common(ours: Rows, theirs: Rows) -> int:
  if not len(ours) or not len(theirs):
    return 0
  if isinstance(ours, range) and isinstance(theirs, range) and (
    ours.step == theirs.step == 1):
    return max(0, min(ours.stop, theirs.stop) - max(ours.start, theirs.start))
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  if max(ours.max(), theirs.max()) > _MOST_ROWS:
    return int(np.count_nonzero(np.isin(theirs, ours)))
  there = np.zeros(max(ours.max(), theirs.max()) + 1, bool)
  there[ours] = True
  return int(np.count_nonzero(there[theirs]))


def of_arrays(*arrays: Any) -> dict[str, Rows]:
  """Names a source that consists of arrays, and numbers its rows under each name.

  One name is the memory of the arrays, so that overlapping views share rows. Another is
  their shapes and a sample of their values, so that copies share rows.

  Args:
    *arrays: `[rows, ...]`, of one length: the columns that identify examples.
  """
  arrays = [np.asarray(array) for array in arrays]
  names: dict[str, Rows] = {', '.join(map(_sampled, arrays)): range(len(arrays[0]))}
  located = [_located(array) for array in arrays]
  if None not in located and len({rows for _, rows in located}) == 1:
    names[', '.join(name for name, _ in located)] = located[0][1]
  return names


def _sampled(array: np.ndarray) -> str:
  """A name from the shape and 128 rows."""
  rows = np.unique(np.linspace(0, len(array) - 1, min(len(array), 128)).astype(int))
  sample = array[rows]
  data = repr(sample.tolist()).encode() if sample.dtype.hasobject else (
    sample.tobytes())
  return f'array {array.dtype} {array.shape} {zlib.crc32(data):08x}'


def _located(array: np.ndarray) -> tuple[str, range] | None:
  """A name of the array of which this is a view, and the range of its rows."""
  owner = array
  while isinstance(owner.base, np.ndarray):
    owner = owner.base
  if not owner.ndim or not owner.strides[0] or array.strides[0] <= 0:
    return None
  address = owner.__array_interface__['data'][0]
  first = (array.__array_interface__['data'][0] - address) // owner.strides[0]
  step, rest = divmod(array.strides[0], owner.strides[0])
  if rest or first < 0:
    return None
  return f'array at {address:#x}', range(first, first + step * len(array), step)


def of_images(paths: Sequence[str], images: Sequence[np.ndarray]) -> Origin:
  """The images of files, by their paths and by their pixels.

  Args:
    paths: of the files.
    images: of any shape, such as `[height, width, channels]`.
  """
  files = [str(pathlib.Path(path).resolve()).encode(errors='surrogateescape')
           for path in paths]
  pixels = [repr(image.shape).encode() + image.tobytes() for image in images]
  return Origin({'image files': _codes(files), 'pixels of images': _codes(pixels)})


def _codes(values: Sequence[bytes]) -> np.ndarray:
  """Numbers that are equal for equal values, int64 `[n]`: 63 bits of the SHA-256."""
  return np.array([int.from_bytes(hashlib.sha256(value).digest()[:8], 'big') >> 1
                   for value in values], np.int64)


def of_text(path: pathlib.Path, text: str, rows: int) -> dict[str, Rows]:
  """Names a text file, and numbers its rows under each name.

  One name is its resolved path; another is a digest of its text, so that copies share
  rows.

  Args:
    path: path of the file.
    text: content of the file.
    rows: number of its rows: lines, characters, or records.
  """
  digest = digests.of_bytes(text.encode(errors='surrogatepass'))
  return {str(path.resolve()): range(rows), f'the text {digest}': range(rows)}
