"""Paths as users give them: `~`, links, and errors in one line."""

import os
import pathlib
from collections.abc import Sequence

from bigmodels.core.errors import UserError

_ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = '~/.cache/bigmodels'  # of compiled programs and decoded data, for all runs
CODE = _ROOT / 'bigmodels'  # the folder of the code
# The folder of the checkout that this code is in; None where it was installed.
CHECKOUT = _ROOT if (_ROOT / 'run.py').is_file() else None


def expanded(path: str | os.PathLike, *, strict: bool = False) -> pathlib.Path:
  """A path with `~` replaced by the home folder.

  Args:
    path: as given.
    strict: whether an unknown home folder is an error, so that no folder named `~` is
      ever created. Otherwise the path is returned unchanged.

  Raises:
    UserError: if `strict` and the home folder is not known.
  """
  found = os.path.expanduser(path)  # unlike pathlib's it never raises
  name = os.fspath(found).partition('/')[0]
  if strict and name.startswith('~'):
    raise UserError(f'{path}: no home folder is known, ' + (
      '$HOME is not set and this user has no name; set it, or give the path in full'
      if name == '~' else
      f'no user is called {name[1:]!r}; write ./{path} for a path that begins so'))
  return pathlib.Path(found)


def resolved(path: str | os.PathLike, name: str = '') -> pathlib.Path:
  """The absolute path without links, the same from any working directory.

  Args:
    path: as given.
    name: name of the setting, such as `--workdir`, for the error.

  Raises:
    UserError: for a loop of links, a deleted working directory, or an unknown home
      folder.
  """
  name = name and f'{name}='
  try:
    return expanded(path, strict=True).resolve()
  except UserError as error:
    raise UserError(f'{name}{error}') from None
  except (OSError, RuntimeError, ValueError) as error:
    raise UserError(f'{name}{path}: {reason(error)}') from None


def resolved_except_last(path: str | os.PathLike, name: str = '') -> pathlib.Path:
  """As `resolved`, but a link to a file is not followed.

  Files that belong to it, such as the `config.json` of weights, are beside the link:
  the Hugging Face cache links `snapshots/HASH/model.safetensors` into `blobs/`.

  Args:
    path, name: see `resolved`.

  Raises:
    UserError: see `resolved`.
  """
  found = resolved(path, name)
  given = expanded(path, strict=True)
  if os.path.isdir(found) or given.name in ('', '..'):
    return found
  return resolved(given.parent, name) / given.name


def checked(path: str, name: str) -> pathlib.Path:
  """A path that can be looked up, whether or not something is there.

  Args:
    path: as given.
    name: name of the setting, such as `--workdir`, for the error.

  Raises:
    UserError: if it is empty, too long, in a folder without permission to enter, a
      loop of links, or has an unknown home folder.
  """
  if not path:
    raise UserError(f"{name}: must be the path of a file or folder, got ''")
  try:
    found = expanded(path, strict=True)
    found.stat()
  except UserError as error:
    raise UserError(f'{name}={error}') from None
  except FileNotFoundError:
    pass
  except (OSError, ValueError) as error:
    if not isinstance(error, NotADirectoryError):
      raise UserError(f'{name}={path}: cannot be read: {reason(error)}') from None
  return found


def folder(path: str, name: str) -> pathlib.Path:
  """As `checked`, for a folder, which need not exist yet.

  Args:
    path, name: see `checked`.

  Raises:
    UserError: also if it is not a folder, or there is no permission to list it.
  """
  found = checked(path, name)
  if found.is_dir():
    if not os.access(found, os.R_OK | os.X_OK):
      raise UserError(f'{name}={path}: cannot be read: Permission denied')
    return found
  try:
    found.lstat()
  except FileNotFoundError:
    return found
  except NotADirectoryError:
    raise UserError(f'{name}={path}: goes through a file, which is not a folder'
                    ) from None
  what = 'is a link to a missing path' if found.is_symlink() else 'is not a folder'
  raise UserError(f'{name}={path}: {what}')


def output(path: str | os.PathLike, suffixes: Sequence[str], name: str = '--output'
           ) -> pathlib.Path:
  """The path of a file that can be written, or of a folder that can be made.

  Args:
    path: as given.
    suffixes: the legal ones of a file, in lower case; none for a folder.
    name: name of the setting, for the error.

  Raises:
    UserError: see `checked` and `folder`; also for another suffix, a folder in place of
      a file, or a path in a folder that is absent or cannot be written.
  """
  found = checked(os.fspath(path), name) if suffixes else folder(os.fspath(path), name)
  if suffixes and found.suffix.lower() not in suffixes:
    *others, last = suffixes
    legal = f'{", ".join(others)} or {last}' if others else last
    raise UserError(f'{name}={path}: must end in {legal}')
  if suffixes and found.is_dir():
    raise UserError(f'{name}={path}: is a folder; must be a file')
  if not found.parent.is_dir():
    raise UserError(f'{name}={path}: there is no folder {found.parent}')
  if not os.access(found.parent, os.W_OK | os.X_OK):
    raise UserError(f'{name}={path}: cannot be written: Permission denied')
  return found


def reason(error: Exception) -> str:
  """Why a path cannot be used: the message of the system, if there is one."""
  if isinstance(error, RuntimeError):  # of pathlib, before Python 3.13
    return 'Too many levels of symbolic links'
  return getattr(error, 'strerror', None) or str(error)


def readable(path: str) -> str:
  r"""Returns a path as text; bytes that are not UTF-8 are written as `\xff`."""
  return os.fsencode(path).decode(errors='backslashreplace')
