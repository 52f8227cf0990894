"""Compiled programs that are kept from run to run, each with a checksum.

JAX believes what is in its cache: a file in the place of another runs another program,
and without zlib a flipped bit is not found either. Here every file begins with a
checksum of its name and its content, and one that does not match is removed, said, and
compiled anew.
"""

import contextlib
import hashlib
import importlib
import pathlib
import shutil

from bigmodels.core import files

_SUFFIX = '-program'
_OLDER = '-cache'  # of JAX's own, which has no checksum


def check() -> None:
  """Has JAX keep compiled programs so, from now on; before it keeps or reads any.

  The cache of a release without these (private) names stays as it is.
  """
  try:
    cache = importlib.import_module('jax._src.compilation_cache')
    kind = importlib.import_module('jax._src.compilation_cache_interface'
                                   ).CacheInterface
  except (ImportError, AttributeError):
    return
  if hasattr(cache, 'get_file_cache'):
    checked = type('Programs', (Programs, kind), {})
    cache.get_file_cache = lambda path: (checked(pathlib.Path(path)), path)


class Programs:
  """A folder of compiled programs, as JAX asks for them and hands them over."""

  def __init__(self, folder: pathlib.Path):
    self._path, self._said = folder, False

  def get(self, key: str) -> bytes | None:
    """The program that was put under a key, or None."""
    path = self._path / f'{key}{_SUFFIX}'
    try:
      data = path.read_bytes()
    except FileNotFoundError:
      return None
    except OSError as error:
      return self._wrong(path, error.strerror or str(error))
    program = _checked(key, data)
    return self._wrong(path, 'is not what was written') if program is None else program

  def put(self, key: str, value: bytes) -> None:
    """Keeps a program, whole or not at all; says so where it cannot."""
    path = self._path / f'{key}{_SUFFIX}'
    try:
      self._path.mkdir(parents=True, exist_ok=True)
      files.write(path, _sum(key, value) + value, mode=0o644)
    except OSError as error:
      self._say(f'{self._path}: compiled programs cannot be kept: {error.strerror}; '
                '--cache_dir names another folder')
    with contextlib.suppress(OSError):
      (self._path / f'{key}{_OLDER}').unlink(missing_ok=True)

  def _wrong(self, path: pathlib.Path, reason: str) -> None:
    self._say(f'{path}: {reason}; it is compiled anew, as are others like it')
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
      path.unlink(missing_ok=True)

  def _say(self, line: str) -> None:
    """Prints the first of what may be many lines."""
    if not self._said:
      print(f'warning: {line}', flush=True)
    self._said = True


def _sum(key: str, value: bytes) -> bytes:
  return hashlib.sha256(key.encode() + b'\0' + value).digest()


def _checked(key: str, data: bytes) -> bytes | None:
  """The program in a file, or None if it is not what was written."""
  return data[32:] if _sum(key, data[32:]) == data[:32] else None


def examine(folder: pathlib.Path) -> tuple[int, tuple[str, ...]]:
  """Compares all programs of a folder with their checksums.

  Returns:
    How many there are, and a line for each that is not what was written.
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
