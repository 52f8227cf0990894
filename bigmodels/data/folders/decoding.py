"""The examples of files: decoded in threads, cached, or read when needed."""

import functools
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, is_of_machine
from bigmodels.data.cached import array_cache
from bigmodels.data.folders import index
from bigmodels.data.folders.index import Index
from bigmodels.data.sources import Columns

_CHUNK = 1 << 26  # bytes of examples that are decoded before they are written


class Reading(Protocol):
  """How a file becomes an example: a frozen record, which can be pickled.

  Attributes:
    kind: what files are, such as 'image'.
    shape: shape of an example; None if only examples show it.
    dtype: dtype of an example.
    fixed: whether an example is the same in every epoch, and thus can be cached.
    rules: a text that changes when examples do.
  """

  kind: str
  shape: tuple[int, ...] | None
  dtype: str
  fixed: bool
  rules: str

  def __call__(self, data: bytes, seed: np.ndarray) -> tuple[np.ndarray, tuple]:
    """Returns an example, of any shape, and notes on what was converted in it.

    Args:
      data: the content of the file.
      seed: seed of random numbers, uint64 `[2]`.
    """

  def lines(self, facts: np.ndarray) -> list[str]:
    """Returns lines on what is done to files with these headers, int `[n, 3]`."""


class Corrupt(Exception):
  """A file cannot be decoded, and why."""


def example(reading: Reading, path: str, seed: np.ndarray, data: bytes | None = None
            ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns the example of a file, of any shape, and notes.

  Args:
    reading: how it is read.
    path: the file.
    seed: uint64 `[2]`.
    data: its content, if it was read.

  Raises:
    Corrupt: if it cannot be decoded.
    UserError: if it cannot be read.
  """
  data = index.content(path) if data is None else data
  try:
    return reading(data, seed)
  except UserError:
    raise
  except Exception as error:  # whatever a library raises for damaged data
    if is_of_machine(error):
      raise
    kind = '' if isinstance(error, ValueError | OSError) else (
      f'{type(error).__name__}: ')
    raise Corrupt(f'{kind}{str(error) or type(error).__name__}') from error


def examples(reading: Reading, paths: Sequence[str], seeds: np.ndarray,
             *, contents: Sequence[bytes] = (), threads: bool = False
             ) -> tuple[np.ndarray, list[str | None], list[tuple[str, ...]]]:
  """Returns the examples of files; those that cannot be decoded are zeros.

  Args:
    reading: how they are read.
    paths: `n` files.
    seeds: uint64 `[n, 2]`.
    contents: those of the files, if they were read.
    threads: whether to decode several at a time.

  Returns:
    Examples `[n, ...]`; why each cannot be decoded, or None; the notes of each.

  Raises:
    UserError: if examples differ in shape, or no example shows their shape.
  """
  def each(path, seed, data):
    try:
      return *example(reading, path, seed, data), None
    except Corrupt as error:
      return None, (), str(error)

  found = (index.in_threads if threads else map)(
    each, paths, seeds, contents or [None] * len(paths))
  found = [*found]
  reasons = [why for _, _, why in found]
  good = [array for array, _, _ in found if array is not None]
  shape = reading.shape if reading.shape is not None or not good else good[0].shape
  if shape is None:
    raise UserError(f'none of {len(paths):,} {reading.kind}s can be decoded: '
                    f'{paths[0]}: {reasons[0]}')
  dtype = good[0].dtype if good and reading.shape is None else reading.dtype
  arrays = np.zeros((len(paths), *shape), dtype)
  for row, (array, _, _) in enumerate(found):
    if array is not None:
      if array.shape != shape:
        raise UserError(f'{paths[row]}: `fit` gives the shape {array.shape}, and '
                        f'{shape} for other {reading.kind}s')
      arrays[row] = array
  return arrays, reasons, [notes for _, notes, _ in found]


class Said:
  """Prints what was converted in examples: the lines of the first call that has any.

  It can be sent to worker processes, which print for themselves.

  Attributes:
    say: prints a line.
  """

  def __init__(self, say: Callable[[str], None]):
    self.say, self._done = say, False

  def __getstate__(self) -> dict[str, Any]:
    return {'_done': self._done}

  def __setstate__(self, state: Mapping[str, Any]) -> None:
    vars(self).update(state)
    self.say = functools.partial(print, flush=True)

  def __call__(self, lines: Sequence[str]) -> None:
    if lines and not self._done:
      self._done = True
      for line in lines:
        self.say(line)


class Rows:
  """Examples of some files: the `load` and `read` of a `Dataset`.

  It can be sent to worker processes, which print for themselves.
  """

  def __init__(self, reading: Reading, paths: Sequence[str],
               names: Sequence[str], labels: np.ndarray | None, rows: np.ndarray,
               entry: array_cache.Entry | None, say: Callable[[str], None],
               contents: Sequence[bytes] = ()):
    """Only stores the arguments.

    Args:
      reading: how files are read.
      paths, names: of all files.
      labels: of all files, `[n]`; or None.
      rows: the files of this split, int `[k]`.
      entry: where the examples of all files are cached; None to decode them each time.
      say: prints a line.
      contents: those of all files, if they were read; see `Index`.
    """
    self._contents = contents
    self._reading, self._paths, self._names = reading, paths, names
    self._labels, self._rows, self._entry, self._said = labels, rows, entry, Said(say)
    self._lock, self._arrays = threading.Lock(), None

  def __getstate__(self) -> dict[str, Any]:
    return {name: x for name, x in vars(self).items()
            if name not in ('_lock', '_arrays', '_contents')}

  def __setstate__(self, state: Mapping[str, Any]) -> None:
    vars(self).update(state)
    self._lock, self._arrays, self._contents = threading.Lock(), None, ()

  def labels(self) -> np.ndarray:
    """Returns the labels of the split, `[k]`."""
    return self._labels[self._rows]

  def load(self) -> Columns:
    """Returns column -> `[k, ...]`.

    Raises:
      UserError: if examples change from epoch to epoch.
    """
    reading = self._reading
    if not reading.fixed:
      raise UserError(f'{reading.kind}s with `fit` or a random crop change from epoch '
                      'to epoch, so they cannot be kept in memory, as resident=True '
                      'requires')
    if self._entry is None:
      return self._decoded(self._rows, threads=True)
    return self._taken(self._rows)

  def read(self, rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
    """Returns some rows of every column, `[n, ...]`; see `Dataset.read`.

    Args:
      rows: int `[n]`.
      seeds: uint64 `[n, 2]`.
    """
    whole = self._rows[rows]
    return self._decoded(whole, seeds) if self._entry is None else self._taken(whole)

  def describe(self, row: int) -> str:
    """Returns the name of a file, and why it cannot be decoded if so."""
    which = int(self._rows[row])
    try:
      example(self._reading, self._paths[which], np.zeros(2, np.uint64))
    except Corrupt as error:
      return f'{self._names[which]}: {error}'
    return self._names[which]

  def _taken(self, whole: np.ndarray) -> Columns:
    """Rows of the cached arrays."""
    with self._lock:
      if self._arrays is None:
        self._arrays, notes = array_cache.cached(
          self._entry, self._write, say=self._said.say,
          what=f'decoding {len(self._paths):,} {self._reading.kind}s')
        self._contents = ()
        self._said(notes)
    first = int(whole[0]) if len(whole) else 0
    if np.array_equal(whole, np.arange(first, first + len(whole))):
      part: Any = slice(first, first + len(whole))  # stays memory-mapped
    else:
      part = whole
    found = {name: array[part] for name, array in self._arrays.items()}
    return found if self._labels is None else {**found, 'labels': self._labels[whole]}

  def _decoded(self, whole: np.ndarray, seeds: np.ndarray | None = None, *,
               threads: bool = False) -> Columns:
    if seeds is None:
      seeds = np.zeros((len(whole), 2), np.uint64)
    inputs, reasons, notes = examples(
      self._reading, [self._paths[row] for row in whole], seeds, threads=threads)
    self._said(counted(notes, [self._names[row] for row in whole], self._reading.kind,
                       numbers=threads))
    found = {'inputs': inputs, 'corrupt': _are_corrupt(reasons)}
    return found if self._labels is None else {**found, 'labels': self._labels[whole]}

  def _write(self, writer: array_cache.Writer) -> None:
    reading, count = self._reading, len(self._paths)
    each = int(np.prod(reading.shape)) * np.dtype(reading.dtype).itemsize
    size = max(1, min(count, _CHUNK // max(each, 1)))
    found: list[tuple[str, ...]] = []
    for start in range(0, count, size):
      paths = self._paths[start : start + size]
      inputs, reasons, notes = examples(
        reading, paths, np.zeros((len(paths), 2), np.uint64), threads=True,
        contents=self._contents[start : start + size])
      found += notes
      writer.write({'inputs': inputs, 'corrupt': _are_corrupt(reasons)}, count)
    for line in counted(found, self._names, reading.kind):
      writer.note(line)


def _are_corrupt(reasons: Sequence[str | None]) -> np.ndarray:
  return np.array([why is not None for why in reasons])


def counted(notes: Sequence[tuple[str, ...]], names: Sequence[str], kind: str, *,
            numbers: bool = True) -> list[str]:
  """Returns a line for each kind of note, with a file that has it.

  Args:
    notes: the notes of each file, which continue the kind of file.
    names: names of the files.
    kind: what they are, such as 'image'.
    numbers: whether these are all files, so that their number says something.
  """
  found: dict[str, list[str]] = {}
  for name, each in zip(names, notes, strict=True):
    for note in each:
      found.setdefault(note, []).append(name)
  return [(f'{len(having):,} {kind}{"s" * (len(having) > 1)}' if numbers else
           f'{kind}s') + f' {note} (such as {having[0]})'
          for note, having in found.items()]


def entry(reading: Reading, name: str, paths: Sequence[str], files: Index,
          cache_dir: pathlib.Path) -> array_cache.Entry:
  """Returns the cache entry of the examples of files.

  Args:
    reading: how they are read.
    name: name of their folder.
    paths: the files.
    files: their index.
    cache_dir: folder of the cache.
  """
  key = digests.of_json([reading.rules, [*map(ascii, paths)]])
  shape = 'x'.join(map(str, reading.shape))
  return array_cache.Entry(
    cache_dir / 'decoded' / f'{index.folder_name(name)}-{shape}-{key}', reading.rules,
    digests.of_bytes(np.ascontiguousarray(files.digests).tobytes()), {})
