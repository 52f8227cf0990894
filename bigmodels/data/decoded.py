"""Arrays that are kept in the cache from run to run, and checked when they are opened.

A folder of the cache has a `.npy` file for each array, and two more. `manifest.json`
says what they were made from, and has a checksum of every 256 KiB of them. `seen.json`
has the inode, size and times that each file had when all of it was last compared. Where
they are still the same, up to 32 MiB of a file, drawn at random, are compared at an
opening; else every byte is. What differs is made anew.
"""

import contextlib
import dataclasses
import errno
import io
import json
import os
import pathlib
import random
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError
from bigmodels.data.scratch import Unwritable, beside, writing

_MANIFEST, _SEEN = 'manifest.json', 'seen.json'
_PART = 2**18  # bytes that have a checksum of their own
_SAMPLED = 128  # parts of a file, 32 MiB, that are compared whenever it is opened
_TICK = 20_000_000  # ns in which a file system may not tell two times apart

Columns = dict[str, np.ndarray]
Stamp = tuple[int, int, int, int]  # inode, size, mtime_ns and ctime_ns of a file


class Wrong(Exception):
  """What is kept cannot be used, and why: one line that names the file."""


class Missing(Wrong):
  """Nothing is kept."""


@dataclasses.dataclass(frozen=True)
class Place:
  """Where arrays are kept, and what they must have been made from.

  Attributes:
    folder: of the arrays.
    rules: how they are made; arrays that were made by other rules are not used.
    digest: of the data that they are made from.
    sources: the files of that data, with their stamps before any was read.
    sampled: whether the digest is only of parts of these files. Their checksums are
      then compared too, if their stamps have changed.
  """

  folder: pathlib.Path
  rules: str
  digest: str
  sources: Mapping[pathlib.Path, Stamp]
  sampled: bool = False


def stamp(path: pathlib.Path) -> Stamp:
  """What changes when a file does; see `Stamp`.

  Raises:
    OSError: if there is no file, or something else: to open a pipe would be to wait.
  """
  found = path.stat()
  if not stat.S_ISREG(found.st_mode):
    code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
    raise OSError(code, os.strerror(code) if code == errno.EISDIR else 'Not a file',
                  str(path))
  return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def known_digest(folder: pathlib.Path, sources: Mapping[pathlib.Path, Stamp]
                 ) -> str | None:
  """The digest of files that have not changed since it was last worked out."""
  try:
    text, manifest = _signed(folder / _MANIFEST)
  except Wrong:
    return None
  seen = _seen(folder, text)
  return manifest['digest'] if seen and seen['sources'] == _named(sources) else None


def kept(place: Place, make: Callable[['Writer'], None], *, what: str,
         say: Callable[[str], None]) -> tuple[Columns, list[str]]:
  """The arrays of a place, memory-mapped, and the notes on how they were made.

  Args:
    place: see there.
    make: writes them where they are not there, or wrong.
    what: is done then, such as 'decoding 10 examples of pets train'.
    say: prints a line.

  Raises:
    UserError: where they cannot be written.
  """
  try:
    return _opened(place)
  except Missing:
    since = ''
    say(f'{what} (once; kept in {place.folder})')
  except Wrong as wrong:
    since = f'; it is to be made anew, since {wrong}'
    say(f'{what} anew, since {wrong} (kept in {place.folder})')
  try:
    _make(place, make)
    return _opened(place)
  except Unwritable as error:
    raise UserError(f'{error}{since}') from error
  except Wrong as wrong:
    raise UserError(f'--cache_dir: {wrong}, and it was written just now; name another '
                    'folder by --cache_dir') from None


def _make(place: Place, make: Callable[['Writer'], None]) -> None:
  """Makes the arrays of a place beside it, then puts them there."""
  with beside(place.folder) as scratch:
    with contextlib.closing(Writer(scratch / 'new')) as writer:
      make(writer)
      writer.finish(place)
    with writing(place.folder):
      _install(scratch, place)


def _opened(place: Place, *, whole: bool = False) -> tuple[Columns, list[str]]:
  """The arrays of a place and its notes.

  Args:
    place: see there.
    whole: whether every byte is compared, whatever the stamps.

  Raises:
    Wrong: if they are not what was written there.
  """
  folder = place.folder
  text, manifest = _signed(folder / _MANIFEST)
  for name, wanted, why in (
    ('name', folder.name, 'it was made for {}'),
    ('rules', place.rules, f'it was made by other rules ({{}}, now {place.rules})'),
    ('digest', place.digest, 'the data has changed since it was made')):
    if manifest[name] != wanted:
      raise Wrong(f'{folder / _MANIFEST}: {why.format(manifest[name])}')
  seen = _seen(folder, text)
  sources = _named(place.sources)
  if place.sampled and not (seen and seen['sources'] == sources) and (
    manifest['sources'] != _checksums(place.sources)):
    raise Wrong(f'{folder / _MANIFEST}: the data has changed since it was made')
  arrays, stamps = {}, {}
  for name, written in manifest['arrays'].items():
    path = folder / f'{name}.npy'
    with _reading(path):
      stamps[name] = stamp(path)
      _compare(path, written, whole=whole or not seen
               or seen['arrays'].get(name) != [*stamps[name]])
      arrays[name] = np.load(path, mmap_mode='r')
  if not seen or seen != {
    'manifest': text, 'arrays': _listed(stamps), 'sources': sources}:
    _see(folder, text, stamps, sources)
  return arrays, manifest['notes']


def _compare(path: pathlib.Path, written: Mapping[str, Any], *, whole: bool) -> None:
  """Compares a file with its checksums, or some of them. Raises Wrong, OSError."""
  with path.open('rb') as file:
    size = os.fstat(file.fileno()).st_size
    if size != written['size']:
      raise Wrong(f'{path}: has {size:,} bytes, {written["size"]:,} were written')
    sums = written['crc32']
    parts = range(len(sums))
    if not whole and len(parts) > _SAMPLED:
      parts = sorted(random.SystemRandom().sample(parts, _SAMPLED))
    for part in parts:
      file.seek(part * _PART)
      if zlib.crc32(file.read(_PART)) != sums[part]:
        raise Wrong(f'{path}: the {_PART:,} bytes from byte {part * _PART:,} on are '
                    'not those that were written')


def _checksums(sources: Mapping[pathlib.Path, Stamp]) -> dict[str, int]:
  """Of each file of the data, whole."""
  found = {}
  for path in sources:
    crc = 0
    try:
      with path.open('rb') as file:
        while data := file.read(2**20):
          crc = zlib.crc32(data, crc)
    except OSError as error:
      raise UserError(f'--data_dir: {path} cannot be read: {error.strerror}') from error
    found[path.name] = crc
  return found


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except FileNotFoundError:
    raise Wrong(f'{path}: is missing') from None
  except OSError as error:
    raise Wrong(f'{path}: cannot be read: {error.strerror or error}') from None
  except ValueError as error:  # of NumPy
    raise Wrong(f'{path}: cannot be read: {error}') from None


def _signed(path: pathlib.Path) -> tuple[str, Any]:
  """(digest, JSON) of a file that has both. Raises Wrong."""
  try:
    stamp(path)
    lines = path.read_bytes().split(b'\n')
  except (FileNotFoundError, NotADirectoryError):
    if not os.path.lexists(path.parent):
      raise Missing(f'{path.parent}: is missing') from None
    if not path.parent.is_dir():
      raise Wrong(f'{path.parent}: is not a folder') from None
    raise Wrong(f'{path}: is missing, as with caches of older versions') from None
  except OSError as error:
    raise Wrong(f'{path}: cannot be read: {error.strerror}') from None
  digest = _signature(path.name, lines[0])
  if lines[1:] != [digest.encode(), b'']:
    raise Wrong(f'{path}: is not what was written')
  return digest, json.loads(lines[0])


def _signature(name: str, line: bytes) -> str:
  return digests.of_bytes(name.encode() + b'\n' + line)


def _sign(path: pathlib.Path, name: str, content: Any) -> None:
  """Writes JSON and a digest of it and its name."""
  line = json.dumps(content).encode()
  signature = _signature(name, line).encode()
  files.write(path, b'%s\n%s\n' % (line, signature), sync=True)


def _seen(folder: pathlib.Path, manifest: str) -> Mapping[str, Any] | None:
  """What the file system said when all was found right, or None."""
  try:
    _, seen = _signed(folder / _SEEN)
  except Wrong:
    return None
  return seen if seen['manifest'] == manifest else None


def _see(folder: pathlib.Path, manifest: str, arrays: Mapping[str, Stamp],
         sources: Mapping[str, Sequence[int]]) -> None:
  """Keeps the stamps of files that were found right, if they can be relied on.

  Of a file that has changed just now they cannot: it may change again and its stamp
  stay, as the clock of a file system ticks every few milliseconds; on some, which
  count whole seconds, every second.
  """
  now = time.time_ns()
  for changed in (found[3] for each in (arrays, sources) for found in each.values()):
    if now - changed < _TICK or changed % 10**9 == 0:
      return
  with contextlib.suppress(OSError):  # a cache that can only be read is as good
    _sign(folder / _SEEN, _SEEN, {'manifest': manifest, 'arrays': _listed(arrays),
                                  'sources': sources})


def _named(sources: Mapping[pathlib.Path, Stamp]) -> dict[str, list[int]]:
  return {path.name: [*found] for path, found in sources.items()}


def _listed(stamps: Mapping[str, Stamp]) -> dict[str, list[int]]:
  return {name: [*found] for name, found in stamps.items()}


class Writer:
  """Writes arrays to a new folder, a few rows of each at a time.

  Plain writes: of a memory-mapped file that finds the disk full the process dies.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._files: dict[str, _File] = {}
    self._notes: list[str] = []
    with writing(folder):
      folder.mkdir()

  def note(self, text: str) -> None:
    """Keeps something to be said wherever the arrays are opened."""
    self._notes.append(text)

  def write(self, columns: Columns, length: int) -> None:
    """Appends rows `[n, ...]` of each array, of `length` in all."""
    for name, array in columns.items():
      path = self._folder / f'{name}.npy'
      with writing(path):
        if name not in self._files:
          self._files[name] = _File(path, array, length)
        self._files[name].write(np.ascontiguousarray(array).tobytes())

  def finish(self, place: Place) -> None:
    """Writes the manifest; then everything is on disk."""
    arrays = {}
    for name, file in self._files.items():
      with writing(file.path):
        arrays[name] = file.finish()
    with writing(self._folder / _MANIFEST):
      _sign(self._folder / _MANIFEST, _MANIFEST, {
        'name': place.folder.name, 'rules': place.rules, 'digest': place.digest,
        'sources': _checksums(place.sources), 'notes': self._notes, 'arrays': arrays})

  def close(self) -> None:
    for file in self._files.values():
      file.close()


class _File:
  """An array that is written, and the checksums of its parts."""

  def __init__(self, path: pathlib.Path, array: np.ndarray, length: int):
    self.path, self._size, self._sums, self._rest = path, 0, [], b''
    self._file = path.open('wb', buffering=0)  # nothing is left to be written at last
    np.lib.format.write_array_header_1_0(header := io.BytesIO(), {
      'descr': np.lib.format.dtype_to_descr(array.dtype), 'fortran_order': False,
      'shape': (length, *array.shape[1:])})
    self.write(header.getvalue())

  def write(self, data: bytes) -> None:
    left = memoryview(data)
    while left:
      left = left[self._file.write(left):]
    self._size += len(data)
    self._rest += data
    stop = len(self._rest) // _PART * _PART
    self._sums += [zlib.crc32(self._rest[start : start + _PART])
                   for start in range(0, stop, _PART)]
    self._rest = self._rest[stop:]

  def finish(self) -> dict[str, Any]:
    os.fsync(self._file.fileno())
    rest = [zlib.crc32(self._rest)] if self._rest else []
    return {'size': self._size, 'crc32': self._sums + rest}

  def close(self) -> None:
    with contextlib.suppress(OSError):
      self._file.close()


def _install(scratch: pathlib.Path, place: Place) -> None:
  """Moves what was made to its place, and what is wrong there out of the way.

  Whoever has that memory-mapped keeps it.
  """
  for attempt in range(10):
    try:
      os.rename(scratch / 'new', place.folder)
      return
    except OSError as error:
      if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
        raise
    with contextlib.suppress(Wrong):
      _opened(place, whole=True)
      return  # another process was quicker
    with contextlib.suppress(FileNotFoundError):
      os.rename(place.folder, scratch / f'old-{attempt}')
  raise OSError(errno.EEXIST, 'another process writes there')


@dataclasses.dataclass(frozen=True)
class Examined:
  """What was found in a folder of the cache.

  Attributes:
    files, nbytes: of the arrays that were compared with their checksums.
    wrong: a line for every folder with something that was not written there.
    older: folders of older versions, which have no checksums.
  """

  files: int
  nbytes: int
  wrong: tuple[str, ...]
  older: tuple[str, ...]


def examine(root: pathlib.Path) -> Examined:
  """Compares every file of every folder of the cache with its checksums."""
  files, nbytes, wrong, older = 0, 0, [], []
  try:
    folders = sorted(p for p in root.iterdir() if not p.name.startswith('.'))
  except OSError as error:
    if not os.path.lexists(root):
      return Examined(0, 0, (), ())
    folders, wrong = [], [f'{root}: cannot be read: {error.strerror}']
  for folder in folders:
    if _is_older(folder):
      older.append(folder.name)
      continue
    try:
      _, manifest = _signed(folder / _MANIFEST)
      if manifest['name'] != folder.name:
        raise Wrong(f'{folder / _MANIFEST}: it was made for {manifest["name"]}')
    except Wrong as error:
      wrong.append(str(error))
      continue
    for name, written in manifest['arrays'].items():
      path = folder / f'{name}.npy'
      files, nbytes = files + 1, nbytes + written['size']
      try:
        with _reading(path):
          stamp(path)
          _compare(path, written, whole=True)
      except Wrong as error:
        wrong.append(str(error))
  return Examined(files, nbytes, tuple(wrong), tuple(older))


def _is_older(path: pathlib.Path) -> bool:
  """Whether an older version, which wrote no checksums, wrote this."""
  if path.is_dir():
    return not os.path.lexists(path / _MANIFEST) and any(path.glob('*.npy'))
  return path.name.endswith('-labels.npy')
