"""The files that a user names: files, folders and patterns."""

import glob
import pathlib
from collections.abc import Sequence

from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, listed


def found(given: Sequence[str], flag: str) -> list[pathlib.Path]:
  """Returns the files and folders that are named; of a pattern, those that match.

  Args:
    given: paths and patterns such as `photos/*.jpg`.
    flag: the flag that names them, for errors.

  Raises:
    UserError: if there is no such file or folder, or none matches a pattern.
  """
  result: list[pathlib.Path] = []
  for text in given:
    path = paths.checked(text, flag)
    if not files.exists(path) and glob.has_magic(text):
      matching = sorted(glob.glob(str(path), recursive=True))
      if not matching:
        raise UserError(f'{flag}={text}: no file matches')
      result += map(pathlib.Path, matching)
    else:
      files.require_file(path)
      result.append(files.find(text, None))
  return result


def of_suffix(path: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
  """Returns a file, or the files in a folder and below that end in a suffix, sorted.

  Hidden files are left out.

  Args:
    path: a file, which may end in anything, or a folder.
    suffixes: lower case, such as '.npy'.

  Raises:
    UserError: if a folder has none.
  """
  if not path.is_dir():
    return [path]
  names = [name for name in files.glob(path, '**/*')
           if name.lower().endswith(tuple(suffixes))]
  if not names:
    raise UserError(f'{path}: no file in it ends in {listed(suffixes)}')
  return [path / name for name in names]
