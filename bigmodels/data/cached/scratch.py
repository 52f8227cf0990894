"""Scratch folders of the cache, in which arrays are written.

A folder is written beside its final path, under a lock, and moved there when complete.
Folders of killed runs are removed.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator

from bigmodels.core.errors import UserError

try:
  import fcntl
except ImportError:  # on Windows, folders are removed by their age instead
  fcntl = None

_LOCK = 'lock'
_ABANDONED = 3600  # s without a change, after which a folder of another host is removed


class Unwritable(UserError):
  """The cache cannot be written to."""


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
  """Turns an `OSError` of writing to a path into `Unwritable`.

  Raises:
    Unwritable: naming the path.
  """
  try:
    yield
  except OSError as error:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    raise Unwritable(
      f'--cache_dir: cannot write decoded data to {path}: {error.strerror or error}; '
      f'{"make room there, or " * full}set --cache_dir to another folder') from error


@contextlib.contextmanager
def beside(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Makes a new folder beside a folder of the cache, locked while it is written."""
  with writing(folder.parent):
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f'.{folder.name}-',
                                            dir=folder.parent))
  lock = None
  try:
    with writing(scratch):
      lock = (scratch / _LOCK).open('w')
      _lock(lock, wait=True)
      lock.write(socket.gethostname())
      lock.flush()
    yield scratch
  finally:
    _remove(scratch)
    if lock:
      with contextlib.suppress(OSError):  # a full disk
        lock.close()


def _lock(file, *, wait: bool = False) -> bool:
  """Locks a file; returns whether it is locked, or locks are not supported."""
  try:
    fcntl and fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError:
    return False
  except OSError:  # a file system without locks
    return True
  return True


def _remove(path: pathlib.Path) -> None:
  """Removes a folder or file as far as possible, without following links."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path, ignore_errors=True)
  else:
    with contextlib.suppress(OSError):
      path.unlink()


def left_over(root: pathlib.Path) -> list[pathlib.Path]:
  """Returns the scratch folders of processes that have ended."""
  try:
    found = [path for path in root.iterdir() if path.name.startswith('.')]
  except OSError:
    return []
  return sorted(path for path in found if path.is_dir() and not path.is_symlink()
                and _is_left_over(path))


def _is_left_over(scratch: pathlib.Path) -> bool:
  """Whether no process writes to a folder: its lock is free, or the folder is old."""
  try:
    with (scratch / _LOCK).open('r+') as lock:
      if not _lock(lock):
        return False
      if fcntl and lock.read() == socket.gethostname():
        return True
  except FileNotFoundError:  # just made, or made by an older version
    pass
  except OSError:
    return False
  # A lock of another host may not be visible here.
  with contextlib.suppress(OSError):
    changed = [path.lstat().st_mtime for path in (scratch, *scratch.rglob('*'))]
    return time.time() - max(changed) > _ABANDONED
  return False


def sweep(root: pathlib.Path, say: Callable[[str], None]) -> None:
  """Removes folders of killed runs from a folder of the cache.

  Args:
    root: the folder.
    say: prints how much was removed.
  """
  removed, size = 0, 0
  for scratch in left_over(root):
    _, held = size_of(scratch)
    _remove(scratch)
    if not scratch.exists():
      removed, size = removed + 1, size + held
  if removed:
    say(f'removed {removed} folder{"s" * (removed > 1)} that killed runs left in '
        f'{root}, {size / 1e6:,.1f} MB')


def size_of(folder: pathlib.Path) -> tuple[int, int]:
  """Returns the number of files in a folder, and their bytes."""
  found = []
  for where, _, names in os.walk(folder):  # skips folders that cannot be read
    for name in names:
      with contextlib.suppress(OSError):  # removed in the meantime
        found.append(os.lstat(os.path.join(where, name)).st_size)
  return len(found), sum(found)
