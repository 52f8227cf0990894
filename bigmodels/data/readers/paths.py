"""The files of a format in folders that a user names."""

import pathlib
from collections.abc import Callable, Sequence

from bigmodels.core.errors import UserError, listed
from bigmodels.data.folders import listing


def of_suffix(path: pathlib.Path, suffixes: Sequence[str],
              say: Callable[[str], None] = lambda line: None) -> list[pathlib.Path]:
  """Returns a file, or the files in a folder and below that end in a suffix, sorted.

  Hidden files and links to nothing are skipped; see `listing.find`.

  Args:
    path: a file, which may end in anything, or a folder.
    suffixes: lower case, such as '.npy'.
    say: prints a line about what is skipped.

  Raises:
    UserError: if a folder has none.
  """
  if not path.is_dir():
    return [path]
  found = listing.find(str(path), suffixes, what='table')
  if not found.files:
    raise UserError(f'{path}: no file in it ends in {listed(suffixes)}')
  for line in found.lines:
    say(line)
  return [pathlib.Path(file.path) for file in found.files]
