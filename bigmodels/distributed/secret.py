"""The secret of a run, with which its processes authenticate each other.

It is the environment variable `BIGMODELS_SECRET` if that is set, the same for all
processes. Otherwise process 0 generates one at each start and stores it in a folder
that all processes see, in a file that only its user can read, until all have connected.
"""

import contextlib
import os
import pathlib
import re
import secrets
import stat
import time
from collections.abc import Iterator

from bigmodels.core.errors import UserError

VARIABLE = 'BIGMODELS_SECRET'
_MIN_CHARACTERS = 16  # a shorter one could be guessed
_STALE = 24 * 3600  # seconds after which a file must be of a killed process

_SET = f'set {VARIABLE} to the same random text for all processes'


def from_environment() -> bytes | None:
  """Returns the secret in the environment, or None.

  Raises:
    UserError: if it is too short.
  """
  text = os.environ.get(VARIABLE, '')
  if 0 < len(text) < _MIN_CHARACTERS:
    raise UserError(
      f'{VARIABLE} must have >= {_MIN_CHARACTERS} characters, got {len(text)}')
  return text.encode(errors='surrogateescape') or None


@contextlib.contextmanager
def published(folder: pathlib.Path | None) -> Iterator[tuple[str, bytes]]:
  """Makes the secret available to the other processes while the context is open.

  Args:
    folder: that all processes see, made if it does not exist; or None.

  Yields:
    Its location, which is not secret: `VARIABLE` or the name of a file; and the secret.

  Raises:
    UserError: if there is neither the variable nor a folder, or it is not writable.
  """
  secret = from_environment()
  if secret:
    yield VARIABLE, secret
    return
  if folder is None:
    raise UserError(f'several processes need a secret: {_SET}')
  # A new name at each start, which no client of a network file system has cached.
  path, secret = folder / f'.secret-{secrets.token_hex(8)}', secrets.token_hex(32)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
  except OSError as error:
    raise UserError(_not_writable(folder, error)) from error
  try:
    try:
      with open(file, 'w') as opened:
        opened.write(secret)
    except OSError as error:
      raise UserError(_not_writable(folder, error)) from error
    yield path.name, secret.encode()
  finally:
    with contextlib.suppress(OSError):
      path.unlink()


def find(folder: pathlib.Path | None, location: str, last: bool) -> bytes | None:
  """Returns the secret, or None if it cannot be seen yet.

  Args:
    folder: that all processes see, or None.
    location: from process 0, see `published`.
    last: whether no time for another attempt is left.

  Raises:
    UserError: if the variable is not set for both or for none, there is no folder, or
      `last` and the file cannot be read.
    ValueError: if `location` is not one.
  """
  secret = from_environment()
  if secret and location != VARIABLE:
    raise UserError(f'{VARIABLE} is set here, but not for process 0: set the same for '
                    'all processes, or for none')
  if secret:
    return secret
  if location == VARIABLE:
    raise UserError(f'{VARIABLE} is set for process 0, but not here: set the same for '
                    'all processes, or for none')
  if not re.fullmatch(r'\.secret-[0-9a-f]{16}', location):
    raise ValueError('not the location of a secret')  # such as another path
  if folder is None:
    raise UserError(f'several processes need a secret: {_SET}')
  try:
    file = os.open(folder / location, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(file, 'rb') as opened:
      regular = stat.S_ISREG(os.fstat(file).st_mode)
      text = opened.read(65) if regular else b''
    if re.fullmatch(b'[0-9a-f]{64}', text):
      return text
    reason = 'it is incomplete'
  except OSError as error:
    reason = error.strerror
  if last:
    raise UserError(
      f'process 0 has the secret of the run in {location} of its workdir, but '
      f'{(folder / location).absolute()} cannot be read here ({reason}): --workdir '
      f'must be the same folder for all processes, and readable; or {_SET}')
  return None


def _not_writable(folder: pathlib.Path, error: OSError) -> str:
  return (f'the secret of the run cannot be written to {folder} ({error.strerror}): '
          'make it a folder that process 0 can write to and all processes can read, or '
          f'{_SET}')


def _remove_stale(folder: pathlib.Path) -> None:
  """Removes the files of processes that were killed while they waited for others."""
  for path in folder.glob('.secret-*'):
    with contextlib.suppress(OSError):
      if time.time() - path.stat().st_mtime > _STALE:
        path.unlink()
