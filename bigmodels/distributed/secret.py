"""The secret of a run: its processes know it, and nobody else.

It is the environment variable `BIGMODELS_SECRET` where that is set, the same for all
processes. Otherwise process 0 draws one at each start and keeps it in a folder that all
processes see, in a file that only its user can read, until all are there.
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
_LEAST = 16  # characters: a short one could be found by trying
_STALE = 24 * 3600  # seconds after which a file is one that a killed process left

_SET = f'set {VARIABLE} to the same random text for all processes'


def given() -> bytes | None:
  """Returns the secret of the environment, or None if there is none.

  Raises:
    UserError: if it is too short.
  """
  text = os.environ.get(VARIABLE, '')
  if 0 < len(text) < _LEAST:
    raise UserError(f'{VARIABLE} must have >= {_LEAST} characters, got {len(text)}')
  return text.encode(errors='surrogateescape') or None


@contextlib.contextmanager
def kept(folder: pathlib.Path | None) -> Iterator[tuple[str, bytes]]:
  """Keeps the secret for the other processes, as long as the context is open.

  Args:
    folder: that all processes see; made if it is not there.

  Yields:
    where it is, which is not secret: `VARIABLE` or the name of a file; and the secret.

  Raises:
    UserError: if there is neither the variable nor a folder, or nothing can be written.
  """
  secret = given()
  if secret:
    yield VARIABLE, secret
    return
  if folder is None:
    raise UserError(f'several processes need a secret: {_SET}')
  # A new name at each start: no client of a network file system has cached it.
  path, secret = folder / f'.secret-{secrets.token_hex(8)}', secrets.token_hex(32)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
  except OSError as error:
    raise UserError(_cannot_be_kept(folder, error)) from error
  try:
    try:
      with open(file, 'w') as opened:
        opened.write(secret)
    except OSError as error:
      raise UserError(_cannot_be_kept(folder, error)) from error
    yield path.name, secret.encode()
  finally:
    with contextlib.suppress(OSError):
      path.unlink()


def find(folder: pathlib.Path | None, where: str, last: bool) -> bytes | None:
  """Returns the secret, or None if it is not there yet.

  Args:
    folder: that all processes see, or None.
    where: as process 0 says it.
    last: whether there is no time to try again.

  Raises:
    UserError: if it cannot be had, or if `last` and it is not there.
  """
  secret = given()
  if secret and where != VARIABLE:
    raise UserError(f'{VARIABLE} is set here, but not for process 0: set the same for '
                    'all processes, or for none')
  if secret:
    return secret
  if where == VARIABLE:
    raise UserError(f'{VARIABLE} is set for process 0, but not here: set the same for '
                    'all processes, or for none')
  if not re.fullmatch(r'\.secret-[0-9a-f]{16}', where):
    raise ValueError('no place of a secret')  # and no path to follow
  if folder is None:
    raise UserError(f'several processes need a secret: {_SET}')
  try:
    file = os.open(folder / where, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(file, 'rb') as opened:
      regular = stat.S_ISREG(os.fstat(file).st_mode)
      text = opened.read(65) if regular else b''
    if re.fullmatch(b'[0-9a-f]{64}', text):
      return text
    reason = 'it is not whole'
  except OSError as error:
    reason = error.strerror
  if last:
    raise UserError(
      f'process 0 keeps the secret of the run in {where} of its workdir, but '
      f'{(folder / where).absolute()} cannot be read here ({reason}): --workdir must '
      f'be the same folder for all processes, and readable; or {_SET}'
    )
  return None


def _cannot_be_kept(folder: pathlib.Path, error: OSError) -> str:
  return (f'the secret of the run cannot be kept in {folder} ({error.strerror}): make '
          f'it a folder that all processes may read and process 0 may write, or {_SET}')


def _sweep(folder: pathlib.Path) -> None:
  """Removes what processes left that were killed while they waited for the others."""
  for path in folder.glob('.secret-*'):
    with contextlib.suppress(OSError):
      if time.time() - path.stat().st_mtime > _STALE:
        path.unlink()
