"""Paths as users give them: a home folder for `~`, and one line for what is odd."""

import os
import pathlib

from bigmodels.core.errors import UserError


def expanded(path: str | os.PathLike) -> pathlib.Path:
  """A path with the home folder for `~`; as it is where that is not known."""
  return pathlib.Path(os.path.expanduser(path))  # unlike pathlib's it never raises


def known(path: str | os.PathLike) -> pathlib.Path:
  """As `expanded`, for what may be made: never a folder that is called `~`.

  Raises:
    UserError: if the home folder is not known.
  """
  found = os.path.expanduser(path)
  name = os.fspath(found).partition('/')[0]
  if name.startswith('~'):
    raise UserError(f'{path}: no home folder is known, ' + (
      '$HOME is not set and this user has no name; set it, or give the path in full'
      if name == '~' else
      f'no user is called {name[1:]!r}; ./{path} is a path that begins so'))
  return pathlib.Path(found)


def resolved(path: str | os.PathLike, name: str = '') -> pathlib.Path:
  """Absolute, without links: it is the same from whatever folder a run goes on.

  Args:
    path: as it is given.
    name: of the setting, for the error.

  Raises:
    UserError: if it cannot be: links that go in a circle, a folder that is gone.
  """
  name = name and f'{name}='
  try:
    return known(path).resolve()
  except UserError as error:
    raise UserError(f'{name}{error}') from None
  except (OSError, RuntimeError, ValueError) as error:
    raise UserError(f'{name}{path}: {reason(error)}') from None


def lasting(path: str | os.PathLike, name: str = '') -> pathlib.Path:
  """As `resolved`, but that a file which is a link stays that link.

  What belongs to a file, such as the `config.json` of weights, is beside the link: a
  hub's cache links `snapshots/HASH/model.safetensors` into `blobs/`.

  Args, Raises:
    see `resolved`.
  """
  found = resolved(path, name)
  given = known(path)
  if os.path.isdir(found) or given.name in ('', '..'):
    return found
  return resolved(given.parent, name) / given.name


def checked(path: str, name: str) -> pathlib.Path:
  """A path that can be looked at, whether something is there or not.

  Args:
    path: as it is given.
    name: of the setting, such as `--workdir`.

  Raises:
    UserError: if it is empty, too long, in a folder that may not be entered, a circle
      of links, or has a home folder that is not known.
  """
  if not path:
    raise UserError(f"{name}: must be the path of a file or folder, got ''")
  try:
    found = known(path)
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
  """As `checked`, for what is a folder that may be listed, or is still to be made.

  Args, Raises:
    see `checked`.
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
  what = 'is a link to what does not exist' if found.is_symlink() else 'is not a folder'
  raise UserError(f'{name}={path}: {what}')


def reason(error: Exception) -> str:
  """Why a path cannot be used, in the words of the system where it has some."""
  if isinstance(error, RuntimeError):  # of pathlib, before Python 3.13
    return 'Too many levels of symbolic links'
  return getattr(error, 'strerror', None) or str(error)
