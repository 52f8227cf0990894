"""The digest and the header of every file, read once and cached."""

import concurrent.futures
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, is_of_machine
from bigmodels.core.paths import reason
from bigmodels.data.cached import array_cache, manifests
from bigmodels.data.sources import DataContext

_THREADS = (os.cpu_count() or 1) + 1  # one waits for files while others decode
_CHUNK = 1024  # files at a time
_KEPT = 1 << 26  # bytes of files that are kept in memory until they are decoded
_TOGETHER = 64  # items that a thread takes at a time
_SHORT = 1.5e-4  # seconds of an item, below which threads are slower


class Index(NamedTuple):
  """What is known of files before they are decoded.

  Attributes:
    digests: SHA-256 of each file, uint8 `[n, 32]`.
    facts: what its header says, int64 `[n, 3]`; -1 if it cannot be read.
    contents: the content of each file, if they were just read, and are small together;
      else empty.
  """

  digests: np.ndarray
  facts: np.ndarray
  contents: Sequence[bytes] = ()

  def take(self, rows: np.ndarray) -> 'Index':
    """Returns the index of some files, int `[n]`."""
    return Index(self.digests[rows], self.facts[rows])

  @property
  def readable(self) -> np.ndarray:
    """Whether each header can be read, bool `[n]`."""
    return self.facts[:, 0] >= 0


def of_files(paths: Sequence[str], header: Callable[[bytes], tuple], *,
             kind: str, name: str, context: DataContext) -> Index:
  """Returns the index of files.

  It is cached until the size or a time of a file changes.

  Args:
    paths: the files.
    header: content of a file -> three integers; raises an error if it is damaged.
    kind: what they are, such as 'image'.
    name: name of the folder, for lines and the cache.
    context: has the cache.

  Raises:
    UserError: if a file cannot be read.
  """
  stamps = [_stamp(path) for path in paths]
  asked = f'reading {len(paths):,} {kind}s of {name}'

  kept, are_small = [], sum(size for _, size, *_ in stamps) <= _KEPT

  def make(writer: array_cache.Writer) -> None:
    for start in range(0, len(paths), _CHUNK):
      part = read(paths[start : start + _CHUNK], header)
      writer.write({'digests': part.digests, 'facts': part.facts}, len(paths))
      kept.extend(part.contents if are_small else ())

  if _may_change_unseen(stamps):
    return read(paths, header)._replace(contents=())
  key = digests.of_json([kind, *(os.fsencode(path).hex() for path in paths)])
  entry = array_cache.Entry(
    context.cache_dir / 'decoded' / f'{folder_name(name)}-index-{key}',
    f'SHA-256 and header of {kind}s', digests.of_json(stamps), {})
  found, _ = array_cache.cached(entry, make, what=asked, say=context.say)
  return Index(found['digests'], found['facts'], kept)


def in_threads(function: Callable, *items: Sequence) -> list:
  """Returns `[*map(function, *items)]`, computed in threads if that is faster.

  Threads wait for each other between short calls; then they are slower than none.

  Args:
    function: called with an item of each sequence.
    *items: sequences of one length.
  """
  parts = range(0, len(items[0]), _TOGETHER)

  def some(start: int) -> list:
    return [*map(function, *(each[start : start + _TOGETHER] for each in items))]

  start = time.perf_counter()
  first = [some(part) for part in parts[:1]]
  if time.perf_counter() - start < _SHORT * min(len(items[0]), _TOGETHER):
    found = [*first, *map(some, parts[1:])]
  else:
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
      found = [*first, *pool.map(some, parts[1:])]
  return [result for part in found for result in part]


def folder_name(name: str) -> str:
  """A name for a folder of the cache."""
  return ''.join(c if c.isascii() and (c.isalnum() or c in '-_') else '_'
                 for c in name)[:40] or 'files'


def _stamp(path: str) -> manifests.Stamp:
  try:
    found = os.stat(path)
  except OSError as error:
    raise _unreadable(path, error) from None
  if not stat.S_ISREG(found.st_mode):
    raise UserError(f'{path}: is not a file')
  return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _may_change_unseen(stamps: Sequence[manifests.Stamp]) -> bool:
  """Whether a file may change again without another time; see `manifests.remember`."""
  now = time.time_ns()
  return any(now - changed < manifests.TICK or changed % 10**9 == 0
             for *_, changed in stamps)


def content(path: str) -> bytes:
  """The bytes of a file.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    with open(path, 'rb', buffering=0) as file:
      return file.readall()
  except OSError as error:
    raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> UserError:
  return UserError(f'{path}: cannot be read: {reason(error)}')


def read(paths: Sequence[str], header: Callable[[bytes], tuple]) -> Index:
  """Returns the index of files, without a cache.

  Args:
    paths, header: see `of_files`.

  Raises:
    UserError: if a file cannot be read.
  """

  def each(path: str) -> tuple[bytes, tuple, bytes]:
    data = content(path)
    try:
      facts = tuple(map(int, header(data)))
    except UserError:
      raise
    except Exception as error:  # whatever a library raises for damaged data
      if is_of_machine(error):
        raise
      facts = (-1, -1, -1)
    return hashlib.sha256(data).digest(), facts, data

  found = in_threads(each, paths)
  return Index(
    np.frombuffer(b''.join(each[0] for each in found), np.uint8).reshape(-1, 32),
    np.array([each[1] for each in found], np.int64).reshape(-1, 3),
    [each[2] for each in found])


def identity(names: Sequence[str], labels: np.ndarray | None, index: Index) -> str:
  """A digest of the names, labels and contents of files.

  Args:
    names: name of each file.
    labels: `[n]`, or None.
    index: of the files.
  """
  found = [json.dumps([os.fsencode(name).hex() for name in names]).encode(),
           np.ascontiguousarray(index.digests).tobytes()]
  if labels is not None:
    found.append(np.ascontiguousarray(labels).tobytes())
  return digests.of_bytes(b'\0'.join(found))
