"""Arrays that are cached across runs, and checked when they are opened.

A folder of the cache has a `.npy` file for each array, and two more files.
`manifest.json` records what the arrays were made from, and a checksum of every 256 KiB.
`seen.json` records the inode, size and times of each file when all of it was last
compared with its checksums. If these have not changed, opening compares up to 32 MiB of
a file, at random; otherwise it compares every byte. Damaged arrays are made again.
"""

import contextlib
import dataclasses
import errno
import io
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.cached import manifests
from bigmodels.data.cached.manifests import MANIFEST, PART, Damaged, Missing, Stamp
from bigmodels.data.cached.scratch import Unwritable, beside, writing

Columns = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Entry:
  """Where arrays are cached, and what they must have been made from.

  Attributes:
    folder: folder of the arrays.
    rules: version of the code that makes them; arrays of other versions are not used.
    digest: digest of the data that they are made from.
    sources: the files of that data, with their stamps before any was read.
    sampled: whether the digest covers only parts of these files. Their checksums are
      then compared too, if their stamps have changed.
  """

  folder: pathlib.Path
  rules: str
  digest: str
  sources: Mapping[pathlib.Path, Stamp]
  sampled: bool = False


def known_digest(folder: pathlib.Path, sources: Mapping[pathlib.Path, Stamp]
                 ) -> str | None:
  """Returns the digest of files that have not changed since it was last computed."""
  try:
    digest, manifest = manifests.read(folder / MANIFEST)
  except Damaged:
    return None
  seen = manifests.last_seen(folder, digest)
  if seen and seen['sources'] == manifests.by_name(sources):
    return manifest['digest']
  return None


def cached(entry: Entry, make: Callable[['Writer'], None], *, what: str,
           say: Callable[[str], None]) -> tuple[Columns, list[str]]:
  """Returns the arrays of an entry, memory-mapped, and notes on how they were made.

  Args:
    entry: entry of the cache.
    make: writes the arrays if they are missing or damaged.
    what: what `make` does, such as 'decoding 10 examples of pets train'.
    say: prints a line.

  Raises:
    UserError: if the arrays cannot be written.
  """
  try:
    return _opened(entry)
  except Missing:
    since = ''
    say(f'{what} (once; cached in {entry.folder})')
  except Damaged as damaged:
    since = f'; it must be made again, since {damaged}'
    say(f'{what} again, since {damaged} (cached in {entry.folder})')
  try:
    _make(entry, make)
    return _opened(entry)
  except Unwritable as error:
    raise UserError(f'{error}{since}') from error
  except Damaged as damaged:
    raise UserError(f'--cache_dir: {damaged}, although it was just written; set '
                    '--cache_dir to another folder') from None


def _make(entry: Entry, make: Callable[['Writer'], None]) -> None:
  """Makes the arrays of an entry in a scratch folder, then moves them there."""
  with beside(entry.folder) as scratch:
    with contextlib.closing(Writer(scratch / 'new')) as writer:
      make(writer)
      writer.finish(entry)
    with writing(entry.folder):
      _install(scratch, entry)


def _opened(entry: Entry, *, whole: bool = False) -> tuple[Columns, list[str]]:
  """The arrays of an entry and its notes.

  Args:
    entry: entry of the cache.
    whole: whether to compare every byte, whatever the stamps.

  Raises:
    Damaged: if they differ from what was written.
  """
  folder = entry.folder
  digest, manifest = manifests.read(folder / MANIFEST)
  for name, expected, why in (
    ('name', folder.name, 'it was made for {}'),
    ('rules', entry.rules, f'it was made by other rules ({{}}, now {entry.rules})'),
    ('digest', entry.digest, 'the data has changed since it was made')):
    if manifest[name] != expected:
      raise Damaged(f'{folder / MANIFEST}: {why.format(manifest[name])}')
  seen = manifests.last_seen(folder, digest)
  sources = manifests.by_name(entry.sources)
  if entry.sampled and not (seen and seen['sources'] == sources) and (
    manifest['sources'] != manifests.checksums(entry.sources)):
    raise Damaged(f'{folder / MANIFEST}: the data has changed since it was made')
  arrays, stamps, unseen = {}, {}, not seen or seen['sources'] != sources
  for name, written in manifest['arrays'].items():
    path = folder / f'{name}.npy'
    with manifests.reading(path):
      stamps[name] = manifests.stamp(path)
      changed = not seen or seen['arrays'].get(name) != [*stamps[name]]
      manifests.compare(path, written, whole=whole or changed)
      arrays[name] = np.load(path, mmap_mode='r')
    unseen |= changed
  if unseen:
    manifests.remember(folder, digest, stamps, sources)
  return arrays, manifest['notes']


class Writer:
  """Writes arrays to a new folder, a few rows of each at a time.

  It does not use a memory map, as the process would be killed if the disk is full.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._files: dict[str, _File] = {}
    self._notes: list[str] = []
    with writing(folder):
      folder.mkdir()

  def note(self, text: str) -> None:
    """Stores a note that is printed whenever the arrays are opened."""
    self._notes.append(text)

  def write(self, columns: Columns, length: int) -> None:
    """Appends rows `[n, ...]` to every array, of `length` rows in total."""
    for name, array in columns.items():
      path = self._folder / f'{name}.npy'
      with writing(path):
        if name not in self._files:
          self._files[name] = _File(path, array, length)
        self._files[name].write(np.ascontiguousarray(array).tobytes())

  def finish(self, entry: Entry) -> None:
    """Writes the manifest, after which everything is on disk."""
    arrays = {}
    for name, file in self._files.items():
      with writing(file.path):
        arrays[name] = file.finish()
    with writing(self._folder / MANIFEST):
      manifests.write(self._folder / MANIFEST, MANIFEST, {
        'name': entry.folder.name, 'rules': entry.rules, 'digest': entry.digest,
        'sources': manifests.checksums(entry.sources), 'notes': self._notes,
        'arrays': arrays})

  def close(self) -> None:
    """Closes the files, finished or not."""
    for file in self._files.values():
      file.close()


class _File:
  """An array that is being written, and the checksums of its parts."""

  def __init__(self, path: pathlib.Path, array: np.ndarray, length: int):
    self.path, self._size, self._sums, self._rest = path, 0, [], b''
    self._file = path.open('wb', buffering=0)  # closing does not write
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
    stop = len(self._rest) // PART * PART
    self._sums += manifests.parts_of(self._rest[:stop])
    self._rest = self._rest[stop:]

  def finish(self) -> dict[str, Any]:
    os.fsync(self._file.fileno())
    return {'size': self._size,
            'crc32': [*self._sums, *manifests.parts_of(self._rest)]}

  def close(self) -> None:
    with contextlib.suppress(OSError):
      self._file.close()


def _install(scratch: pathlib.Path, entry: Entry) -> None:
  """Moves new arrays to their entry, and removes damaged ones.

  A process that has mapped the damaged ones keeps them.
  """
  for attempt in range(10):
    try:
      os.rename(scratch / 'new', entry.folder)
      return
    except OSError as error:
      if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
        raise
    with contextlib.suppress(Damaged):
      _opened(entry, whole=True)
      return  # another process was faster
    with contextlib.suppress(FileNotFoundError):
      os.rename(entry.folder, scratch / f'old-{attempt}')
  raise OSError(errno.EEXIST, 'another process writes there')


@dataclasses.dataclass(frozen=True)
class Examined:
  """The result of comparing a whole cache with its checksums.

  Attributes:
    files, nbytes: number and total size of the arrays that were compared.
    damaged: a line for every damaged entry or array.
    older: folders of older versions, which have no checksums.
  """

  files: int
  nbytes: int
  damaged: tuple[str, ...]
  older: tuple[str, ...]


def examine(root: pathlib.Path) -> Examined:
  """Compares every file of every folder of a cache with its checksums."""
  files, nbytes, damaged, older = 0, 0, [], []
  try:
    folders = sorted(p for p in root.iterdir() if not p.name.startswith('.'))
  except OSError as error:
    if not os.path.lexists(root):
      return Examined(0, 0, (), ())
    folders, damaged = [], [f'{root}: cannot be read: {error.strerror}']
  for folder in folders:
    if _is_older(folder):
      older.append(folder.name)
      continue
    try:
      _, manifest = manifests.read(folder / MANIFEST)
      if manifest['name'] != folder.name:
        raise Damaged(f'{folder / MANIFEST}: it was made for {manifest["name"]}')
    except Damaged as error:
      damaged.append(str(error))
      continue
    for name, written in manifest['arrays'].items():
      path = folder / f'{name}.npy'
      files, nbytes = files + 1, nbytes + written['size']
      try:
        with manifests.reading(path):
          manifests.stamp(path)
          manifests.compare(path, written, whole=True)
      except Damaged as error:
        damaged.append(str(error))
  return Examined(files, nbytes, tuple(damaged), tuple(older))


def _is_older(path: pathlib.Path) -> bool:
  """Whether this was written by an older version, without checksums."""
  if path.is_dir():
    return not os.path.lexists(path / MANIFEST) and any(path.glob('*.npy'))
  return path.name.endswith('-labels.npy')
