"""Manifests of cached arrays: checksums of their parts, and stamps of their files.

A manifest is a file with one line of JSON and its SHA-256, so that it is refused if it
was changed. The stamp of a file is its metadata in the file system, which changes when
the file does, unless that happens within a tick of the file system's clock.
"""

import contextlib
import errno
import json
import os
import pathlib
import random
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError

MANIFEST, SEEN = 'manifest.json', 'seen.json'
PART = 2**18  # bytes per checksum
_SAMPLED = 128  # parts of a file, 32 MiB, that are compared whenever it is opened
TICK = 20_000_000  # ns; a file system may record times this close as equal

Stamp = tuple[int, int, int, int]  # inode, size, mtime_ns and ctime_ns of a file


class Damaged(Exception):
  """A cached file cannot be used; the message names the file and the reason."""


class Missing(Damaged):
  """Nothing is cached."""


def stamp(path: pathlib.Path) -> Stamp:
  """Returns the stamp of a file; see `Stamp`.

  Raises:
    OSError: if there is no file, or it is not a regular file: opening a pipe would
      block.
  """
  found = path.stat()
  if not stat.S_ISREG(found.st_mode):
    code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
    raise OSError(code, os.strerror(code) if code == errno.EISDIR else 'Not a file',
                  str(path))
  return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def by_name(stamps: Mapping[pathlib.Path, Stamp]) -> dict[str, list[int]]:
  """Returns the stamps by file name, as JSON."""
  return {path.name: [*found] for path, found in stamps.items()}


# --- checksums ------------------------------------------------------------------


def parts_of(data: bytes) -> Iterator[int]:
  """Yields the checksum of every part of some bytes."""
  for start in range(0, len(data), PART):
    yield zlib.crc32(data[start : start + PART])


def compare(path: pathlib.Path, written: Mapping[str, Any], *, whole: bool) -> None:
  """Compares a file with its checksums.

  Args:
    path: path of the file.
    written: its `size` and the `crc32` of its parts.
    whole: whether to compare all parts, or a random sample.

  Raises:
    Damaged: at the first difference.
    OSError: if the file cannot be read.
  """
  with path.open('rb') as file:
    size = os.fstat(file.fileno()).st_size
    if size != written['size']:
      raise Damaged(f'{path}: has {size:,} bytes, {written["size"]:,} were written')
    sums = written['crc32']
    parts: Iterable[int] = range(len(sums))
    if not whole and len(sums) > _SAMPLED:
      parts = sorted(random.SystemRandom().sample(parts, _SAMPLED))
    for part in parts:
      file.seek(part * PART)
      if zlib.crc32(file.read(PART)) != sums[part]:
        raise Damaged(f'{path}: the {PART:,} bytes from byte {part * PART:,} on '
                      'differ from what was written')


def checksums(paths: Iterable[pathlib.Path]) -> dict[str, int]:
  """Returns the checksum of each file of the data, by its name.

  Raises:
    UserError: if a file cannot be read.
  """
  found = {}
  for path in paths:
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
def reading(path: pathlib.Path) -> Iterator[None]:
  """Turns errors of reading an array into `Damaged`.

  Raises:
    Damaged: if the file is missing or cannot be read.
  """
  try:
    yield
  except FileNotFoundError:
    raise Damaged(f'{path}: is missing') from None
  except OSError as error:
    raise Damaged(f'{path}: cannot be read: {error.strerror or error}') from None
  except ValueError as error:  # raised by NumPy
    raise Damaged(f'{path}: cannot be read: {error}') from None


# --- files ----------------------------------------------------------------------


def read(path: pathlib.Path) -> tuple[str, Any]:
  """Returns the SHA-256 and the content of a manifest.

  Raises:
    Missing: if there is no folder.
    Damaged: if the file differs from what was written.
  """
  try:
    stamp(path)
    lines = path.read_bytes().split(b'\n')
  except (FileNotFoundError, NotADirectoryError):
    if not os.path.lexists(path.parent):
      raise Missing(f'{path.parent}: is missing') from None
    if not path.parent.is_dir():
      raise Damaged(f'{path.parent}: is not a folder') from None
    raise Damaged(f'{path}: is missing, as with caches of older versions') from None
  except OSError as error:
    raise Damaged(f'{path}: cannot be read: {error.strerror}') from None
  digest = _signature(path.name, lines[0])
  if lines[1:] != [digest.encode(), b'']:
    raise Damaged(f'{path}: is not what was written')
  return digest, json.loads(lines[0])


def write(path: pathlib.Path, name: str, content: Any) -> None:
  """Writes a manifest.

  Args:
    path: path of the file; it may then be moved to a file called `name`.
    name: name of the final file; the signature covers it.
    content: JSON content.
  """
  line = json.dumps(content).encode()
  signature = _signature(name, line).encode()
  files.write(path, b'%s\n%s\n' % (line, signature), sync=True)


def _signature(name: str, line: bytes) -> str:
  return digests.of_bytes(name.encode() + b'\n' + line)


def last_seen(folder: pathlib.Path, manifest: str) -> Mapping[str, Any] | None:
  """Returns the stamps that files had when they were last compared, None if unknown.

  Args:
    folder: folder of the arrays.
    manifest: the digest of its manifest.
  """
  try:
    _, seen = read(folder / SEEN)
  except Damaged:
    return None
  return seen if seen['manifest'] == manifest else None


def remember(folder: pathlib.Path, manifest: str, arrays: Mapping[str, Stamp],
             sources: Mapping[str, Sequence[int]]) -> None:
  """Stores the stamps of files that were compared, if they are reliable.

  They are not if a file has just changed: it may change again within a tick of the file
  system's clock, which is a few milliseconds, or a second on some file systems.

  Args:
    folder: folder of the arrays.
    manifest: the digest of its manifest.
    arrays: name -> stamp.
    sources: name of a file of the data -> stamp.
  """
  now = time.time_ns()
  for changed in (found[3] for each in (arrays, sources) for found in each.values()):
    if now - changed < TICK or changed % 10**9 == 0:
      return
  with contextlib.suppress(OSError):  # the cache may be read-only
    write(folder / SEEN, SEEN, {
      'manifest': manifest, 'sources': sources,
      'arrays': {name: [*found] for name, found in arrays.items()}})
