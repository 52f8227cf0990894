"""A persistent compilation cache whose files have checksums.

JAX's own does not detect a file in the place of another, which runs another program,
nor, without zlib, a flipped bit. Here every file begins with a checksum of its name and
its content. One that does not match is reported and removed, and the program is
compiled again.
"""

import contextlib
import hashlib
import importlib
import pathlib
import shutil

from bigmodels.core import files

_SUFFIX = '-program'
_WITHOUT_CHECKSUM = '-cache'  # the suffix of JAX's own files


def install() -> None:
  """Makes JAX use this cache; to be called before it compiles a program.

  A release of JAX without these (private) names continues to use its own.
  """
  try:
    cache = importlib.import_module('jax._src.compilation_cache')
    kind = importlib.import_module('jax._src.compilation_cache_interface'
                                   ).CacheInterface
  except (ImportError, AttributeError):
    return
  if hasattr(cache, 'get_file_cache'):
    jax_cache = type('JaxProgramCache', (ProgramCache, kind), {})
    cache.get_file_cache = lambda path: (jax_cache(pathlib.Path(path)), path)


class ProgramCache:
  """A folder of compiled programs, with the methods of JAX's `CacheInterface`."""

  def __init__(self, folder: pathlib.Path):
    self._path, self._warned = folder, False

  def get(self, key: str) -> bytes | None:
    """The program stored under a key, or None."""
    path = self._path / f'{key}{_SUFFIX}'
    try:
      data = path.read_bytes()
    except FileNotFoundError:
      return None
    except OSError as error:
      return self._discard(path, error.strerror or str(error))
    program = _checked(key, data)
    if program is None:
      return self._discard(path, 'is not what was written')
    return program

  def put(self, key: str, value: bytes) -> None:
    """Stores a program, whole or not at all; prints a warning if it cannot."""
    path = self._path / f'{key}{_SUFFIX}'
    try:
      self._path.mkdir(parents=True, exist_ok=True)
      files.write(path, _checksum(key, value) + value, mode=0o644)
    except OSError as error:
      self._warn(f'{self._path}: compiled programs cannot be kept: {error.strerror}; '
                 '--cache_dir names another folder')
    with contextlib.suppress(OSError):
      (self._path / f'{key}{_WITHOUT_CHECKSUM}').unlink(missing_ok=True)

  def _discard(self, path: pathlib.Path, reason: str) -> None:
    self._warn(f'{path}: {reason}; it is compiled again, as are others like it')
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
      path.unlink(missing_ok=True)

  def _warn(self, line: str) -> None:
    """Prints the first of possibly many warnings."""
    if not self._warned:
      print(f'warning: {line}', flush=True)
    self._warned = True


def _checksum(key: str, value: bytes) -> bytes:
  return hashlib.sha256(key.encode() + b'\0' + value).digest()


def _checked(key: str, data: bytes) -> bytes | None:
  """The program in a file, or None if it is not what was written."""
  return data[32:] if _checksum(key, data[32:]) == data[:32] else None


def verify(folder: pathlib.Path) -> tuple[int, tuple[str, ...]]:
  """Compares all programs of a folder with their checksums.

  Returns:
    Their number, and a line for each that is damaged or cannot be read.
  """
  paths = sorted(folder.glob(f'[!.]*{_SUFFIX}'))
  wrong = []
  for path in paths:
    try:
      if _checked(path.name.removesuffix(_SUFFIX), path.read_bytes()) is None:
        wrong.append(f'{path}: is not what was written')
    except OSError as error:
      wrong.append(f'{path}: cannot be read: {error.strerror}')
  return len(paths), tuple(wrong)
