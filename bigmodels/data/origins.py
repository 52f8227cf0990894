"""Which rows of which sources a split is made of, so that no two splits share one."""

import hashlib
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Rows = range | np.ndarray


class Origin(NamedTuple):
  """Where the examples of a split come from.

  Attributes:
    rows: name of a whole source -> the rows of it that are in the split, each once: of
      a file lines, say, or characters. One source may have several names, such as its
      path and a digest of it.
    how: setting -> what it is. Two splits that both name a setting must agree in it.
  """

  rows: Mapping[str, Rows]
  how: Mapping[str, Any] = {}

  def take(self, index: np.ndarray, length: int) -> 'Origin':
    """Of some of the `length` examples; whole sources where a row is not an example."""
    return self._replace(rows={
      name: some(rows, index) if len(rows) == length else rows
      for name, rows in self.rows.items()})


def some(rows: Rows, index: np.ndarray | slice) -> Rows:
  """Some of the rows, by their places."""
  if isinstance(rows, np.ndarray) or isinstance(index, slice):
    return rows[index]
  return rows.start + rows.step * index


def shared(ours: Origin, theirs: Origin) -> tuple[str, int]:
  """The source that two splits share most rows of, and how many; ('', 0) for none."""
  counts = {name: _common(rows, theirs.rows[name])
            for name, rows in ours.rows.items() if name in theirs.rows}
  most = max(counts, key=counts.get, default='')
  return (most, counts[most]) if most and counts[most] else ('', 0)


def _common(ours: Rows, theirs: Rows) -> int:
  if not len(ours) or not len(theirs):
    return 0
  if isinstance(ours, range) and isinstance(theirs, range) and (
    ours.step == theirs.step == 1):
    return max(0, min(ours.stop, theirs.stop) - max(ours.start, theirs.start))
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  there = np.zeros(max(ours.max(), theirs.max()) + 1, bool)
  there[ours] = True
  return int(np.count_nonzero(there[theirs]))


def of_array(array: np.ndarray) -> dict[str, Rows]:
  """Names of an array `[rows, ...]`, and its rows by each.

  By the memory that it lies in, so that views of one array share rows where they
  overlap; and by its shape and a sample of its values, so that copies do.
  """
  array = np.asarray(array)
  rows = np.unique(np.linspace(0, len(array) - 1, min(len(array), 128)).astype(int))
  sample = array[rows]
  data = repr(sample.tolist()).encode() if sample.dtype.hasobject else (
    sample.tobytes())
  names: dict[str, Rows] = {
    f'array {array.dtype} {array.shape} {zlib.crc32(data):08x}': range(len(array))}
  owner = array
  while isinstance(owner.base, np.ndarray):
    owner = owner.base
  if owner.ndim and owner.strides[0] and array.strides[0] > 0:
    address = owner.__array_interface__['data'][0]
    first = (array.__array_interface__['data'][0] - address) // owner.strides[0]
    step, rest = divmod(array.strides[0], owner.strides[0])
    if not rest and first >= 0:
      names[f'array at {address:#x}'] = range(first, first + step * len(array), step)
  return names


def of_text(path: pathlib.Path, text: str, rows: int) -> dict[str, Rows]:
  """Names of a file of text, and the `rows` of it by each.

  By its path, links followed, and by what is in it, so that copies share rows.
  """
  digest = hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:12]
  return {str(path.resolve()): range(rows), f'the text {digest}': range(rows)}
