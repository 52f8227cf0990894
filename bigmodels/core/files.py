"""Files: finding them under `--data_dir`, reading, atomic writing, downloading."""

import codecs
import contextlib
import glob as globbing
import gzip
import os
import pathlib
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO

from bigmodels.core.errors import UserError, did_you_mean
from bigmodels.core.paths import checked, expanded, reason, resolved


def absolute(path: str, field: str) -> str:
  """The absolute path or pattern if something is there, else the path unchanged.

  A run can thus be resumed from any working directory.

  Args:
    path: path of a file or folder, or a pattern.
    field: name of the field that holds the path, for the error.

  Raises:
    ValueError: if the path is empty, which would be the working directory.
  """
  if not str(path):
    raise ValueError(f'{field}: must be the path of a file or folder, got {path!r}')
  if not is_pattern(path):
    return str(resolved(path)) if os.path.exists(expanded(path)) else str(path)
  # The working directory may have the name of a pattern.
  pattern = os.path.normpath(
    os.path.join(globbing.escape(os.getcwd()), expanded(path)))
  return pattern if next(globbing.iglob(pattern, recursive=True), None) else str(path)


def is_pattern(path: str, data_dir: str | None = None) -> bool:
  """Whether a path is a pattern of `glob`, and not the name of something that exists.

  Args:
    path: path or pattern.
    data_dir: the folder `--data_dir`, or None.
  """
  return globbing.has_magic(str(path)) and not any(
    map(os.path.lexists, _places(path, data_dir)))


def matching(paths: str | Iterable[str], data_dir: str | None, name: str = '',
             broken: list[str] | None = None) -> list[pathlib.Path]:
  """Finds files and folders at paths, and those that match patterns.

  A relative path or pattern is looked up in the working directory, then under
  `--data_dir`. The matches of a pattern are sorted. Names that begin with a dot do not
  match `*`. With `**`, only files match.

  Args:
    paths: a path, a pattern such as 'photos/*.jpg' (`**` is any depth), or several.
    data_dir: the folder `--data_dir`, or None.
    name: name of the setting, such as `--input`, for the error.
    broken: the names of links to nothing that match a pattern are added to this list;
      None to return them too.

  Raises:
    UserError: if nothing is at a path, or nothing matches a pattern, or a path is that
      of a pipe or device.
  """
  result: list[pathlib.Path] = []
  for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
    if name:
      checked(path, name)
    if not is_pattern(path, data_dir):
      result.append(find(path, data_dir))
      require_file(result[-1])
      continue
    places = _places('.', data_dir) if not expanded(path).is_absolute() else [
      pathlib.Path('/')]
    for place in places:
      matches = [place / match for match in sorted(globbing.glob(
        str(expanded(path)), root_dir=place, recursive=True))]
      if '**' in str(path):  # a folder matches, and so do the files in it
        matches = [match for match in matches if not match.is_dir()]
      if broken is not None:
        broken += [match.name for match in matches if not exists(match)]
        matches = [match for match in matches if exists(match)]
      if matches:
        result += matches
        break
    else:
      raise UserError(f'{f"{name}={path}: " * bool(name)}no file matches ' + (
        ' or '.join(str(place / expanded(path)) for place in places)))
  return result


def _places(path: str, data_dir: str | None) -> list[pathlib.Path]:
  """Where a path is looked up."""
  given = expanded(path)
  return [given.absolute(), *([expanded(data_dir).absolute() / given] if (
    data_dir and not given.is_absolute()) else [])]


def find(path: str, data_dir: str | None, *, fetched: bool = False) -> pathlib.Path:
  """Finds a file or folder at a path, or at this path under `--data_dir`.

  Args:
    path: path of the file or folder.
    data_dir: the folder `--data_dir`, or None.
    fetched: whether --mode=download would fetch it, for the error.

  Raises:
    UserError: if it is not found; suggests a name that is close.
  """
  given = expanded(path)
  places = _places(path, data_dir)
  for place in places:
    if exists(place):
      return place
    if place.is_symlink():
      raise UserError(f'{place} is a link to nothing')
  last = places[-1]
  close = did_you_mean(last.name, [
    p.name for p in last.parent.iterdir()
    if not p.name.startswith('.') and p.name != last.name
  ]) if os.access(last.parent, os.R_OK) and last.parent.is_dir() else ''
  hint = '' if given.is_absolute() else (
    '; a relative path is also looked up under --data_dir' if len(places) == 1 else '')
  if fetched:
    hint += '; --mode=download fetches it'
  raise UserError(f'there is no {" and no ".join(map(str, places))}{close}{hint}')


def exists(path: pathlib.Path) -> bool:
  """Whether something is at a path.

  Raises:
    UserError: if this cannot be determined: no permission to enter a folder, a name
      that is too long, a loop of links.
  """
  try:
    path.stat()
  except (FileNotFoundError, NotADirectoryError):
    return False
  except (OSError, ValueError) as error:
    raise UserError(f'{path}: cannot be read: {reason(error)}') from None
  return True


def read(path: pathlib.Path) -> bytes:
  """The content of a file.

  Raises:
    UserError: if it cannot be read, or is not a file; see `require_file`.
  """
  require_file(path)
  try:
    return path.read_bytes()
  except OSError as error:
    raise UserError(f'{path}: cannot be read: {error.strerror}') from None


def write(path: pathlib.Path, data: str | bytes, *, mode: int = 0o666,
          sync: bool = False) -> None:
  """Writes a file atomically: on failure the old content is kept.

  A process that is killed while writing may leave a hidden file beside it.

  Args:
    path: path of the file; its folder must exist.
    data: content to write; text as UTF-8.
    mode: permissions of the file, before the umask.
    sync: whether to return only when the data would survive a power failure.

  Raises:
    OSError: if it cannot be written.
    UnicodeEncodeError: for text that UTF-8 cannot hold.
  """
  data = data.encode() if isinstance(data, str) else data
  scratch = path.with_name(f'.{path.name[:50]}-{secrets.token_hex(4)}')
  try:
    # Unbuffered: after a failed write to a full disk, closing does not try again.
    with open(scratch, 'xb', buffering=0,
              opener=lambda name, flags: os.open(name, flags, mode)) as file:
      rest = memoryview(data)
      while rest:
        rest = rest[file.write(rest):]
      if sync:
        os.fsync(file.fileno())
    os.replace(scratch, path)
  except BaseException:
    with contextlib.suppress(OSError):
      scratch.unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def new_folder(path: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
  """Writes a folder atomically: as a whole at the end, or not at all.

  A process that is killed while writing may leave a hidden folder beside it.

  Args:
    path: path of the folder, which must not exist, or be empty; see `paths.output`.
    name: name of the setting, such as `--output`, for the error.

  Yields:
    an empty folder beside it, to write to.

  Raises:
    UserError: if there is something else, or the folder cannot be written.
  """
  if path.is_dir() and any(path.iterdir()):
    raise UserError(f'{name}={path}: must be a new folder or an empty one, holds '
                    f'{len([*path.iterdir()])} files')
  if os.path.lexists(path) and not path.is_dir():
    raise UserError(f'{name}={path}: must be a folder, is a file')
  path = path.resolve()
  scratch = path.with_name(f'.{path.name[:50]}-{secrets.token_hex(4)}')
  try:
    scratch.mkdir()
    yield scratch
    os.replace(scratch, path)  # a folder may replace an empty one
  except OSError as error:
    raise UserError(f'{name}={path}: cannot be written: {reason(error)}') from error
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def locked(file: BinaryIO, seconds: float) -> bool:
  """Locks a file, until it is closed, against other processes that lock it.

  Args:
    file: an open file.
    seconds: how long to try.

  Returns:
    whether it is locked; if not, another process holds it.
  """
  import fcntl  # not on Windows

  until = time.monotonic() + seconds
  while True:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      return True
    except BlockingIOError:
      if time.monotonic() >= until:
        return False
    time.sleep(0.02)


def require_file(path: pathlib.Path) -> None:
  """Refuses pipes and devices, which may never end.

  Raises:
    UserError: for these and for paths that `exists` refuses; not for a folder or a
      missing path.
  """
  if exists(path) and not path.is_file() and not path.is_dir():
    raise UserError(f'{path}: is a pipe or device; must be a file')


def read_text(path: pathlib.Path, name: str = '') -> str:
  """The text of a UTF-8 file, without a byte order mark.

  A pipe is read until its writers close it; without a writer it is empty.

  Args:
    path: path of the file.
    name: name of the setting, such as `--prompt_file`, for the error.

  Raises:
    UserError: if the file cannot be read, has more than 64 MiB, is UTF-16 or UTF-32,
      or contains a zero byte or a byte that is not UTF-8; names the line and byte.
  """
  start = f'{name and f"{name}="}{path}: cannot be read: '
  try:
    # Nonblocking: opening a pipe without a writer would wait for one.
    with open(path, 'rb', opener=lambda path, flags: os.open(
        path, flags | os.O_NONBLOCK)) as file:
      os.set_blocking(file.fileno(), True)
      data = file.read(_MOST_BYTES + 1)
  except (OSError, ValueError) as error:
    raise UserError(f'{start}{reason(error)}') from error
  if len(data) > _MOST_BYTES:
    raise UserError(f'{start}it has more than {_MOST_BYTES:,} bytes')
  return text_of(data, start)


def text_of(data: bytes, start: str = '') -> str:
  """The text of UTF-8 data, without a byte order mark.

  Args:
    data: the content of a file.
    start: start of the error, such as 'a.txt: '.

  Raises:
    UserError: see `read_text`.
  """
  if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    raise UserError(f'{start}it is UTF-16 or UTF-32; save it as UTF-8')
  try:
    text = data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    data = error.object  # without the mark
    raise UserError(f'{start}line {_line_of(data, error.start)}: byte '
                    f'{data[error.start]:#04x} is not UTF-8') from error
  if '\0' in text:
    raise UserError(f'{start}line {_line_of(data, data.index(0))}: has a zero byte')
  return text


_MOST_BYTES = 2**26  # limit for a text that is read at once


def _line_of(data: bytes, position: int) -> int:
  """The number of the line, from 1, that contains a byte."""
  return data.count(b'\n', 0, position) + 1


def decode(data: bytes) -> tuple[str, bool]:
  """Decodes UTF-8: the text, and whether bytes that are not UTF-8 were replaced."""
  try:
    return data.decode('utf-8-sig'), False
  except UnicodeDecodeError:
    return data.decode('utf-8-sig', errors='replace'), True


def glob(root: pathlib.Path, pattern: str) -> list[str]:
  """The files under a folder that match a pattern, except hidden ones.

  Args:
    root: the folder.
    pattern: see `pathlib.Path.glob`.

  Returns:
    paths relative to the folder, sorted.

  Raises:
    UserError: if no file matches, or the folder may not be read.
  """
  if root.is_file() or not os.access(root, os.R_OK | os.X_OK):
    raise UserError(f'{root}: ' + ('is a file; must be a folder' if root.is_file() else
                                   'cannot be read: Permission denied'))
  try:
    names = [p.relative_to(root).as_posix() for p in root.glob(pattern) if p.is_file()]
  except (ValueError, NotImplementedError) as error:
    raise UserError(f'pattern: must match paths in the folder, got {pattern!r}: {error}'
                    ) from None
  names = [n for n in names if not any(part.startswith('.') for part in n.split('/'))]
  if not names:
    raise UserError(f'{root}: no file matches {pattern!r}')
  return sorted(names)


def download(folder: str, urls: Mapping[str, str], data_dir: str | None,
             convert: Callable[[str], str] | None = None) -> str:
  """Downloads the files that are missing; returns their folder.

  Args:
    folder: folder of the files; if relative, under `--data_dir`.
    urls: file name -> URL; gzip is unpacked.
    data_dir: the folder `--data_dir`; None for the working directory.
    convert: downloaded text -> text of the file; None for no change.

  Raises:
    UserError: naming a file that cannot be downloaded; no part of it is kept.
  """
  root = expanded(folder)
  if not root.is_absolute():
    root = expanded(data_dir or '.').absolute() / root
  if not urls:
    raise UserError(f'{root}: the `urls` of these files are not given, so they '
                    'cannot be downloaded; put them there')
  for name, url in urls.items():
    if not exists(root / name):
      _fetch(url, root / name, convert)
  return str(root)


def _fetch(url: str, path: pathlib.Path, convert: Callable[[str], str] | None) -> None:
  """Downloads a file completely, or not at all."""
  import requests

  try:
    response = requests.get(url, timeout=60)
    response.raise_for_status()
    data = response.content
    if data.startswith(b'\x1f\x8b'):
      data = gzip.decompress(data)
    if convert:
      data = convert(data.decode()).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, data, mode=0o644)
  except (OSError, EOFError, ValueError, zlib.error) as error:  # requests' are OSErrors
    raise UserError(f'could not download {url} to {path}: {type(error).__name__}: '
                    f'{str(error)[:200]} (is there a network?)') from error
