"""Finds the files under paths: of files, folders and glob patterns."""

import collections
import os
import pathlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed
from bigmodels.core.paths import reason


class File(NamedTuple):
  """A file that was found.

  Attributes:
    path: its path.
    name: its path from the given folder, with `/`; its own name if it was given itself
      or matches a pattern.
    root: position of the given path.
  """

  path: str
  name: str
  root: int


class Found(NamedTuple):
  """The files under some paths, and what was skipped.

  Attributes:
    files: the files, in the order of `find`.
    folders: root -> names of the folders in it, and in those: at depth 1 and 2, whether
      they have files or not.
    lines: what was skipped, to print.
  """

  files: list[File]
  folders: dict[int, list[str]]
  lines: list[str]


def find(paths: str | Iterable[str], suffixes: Collection[str], *, what: str,
         data_dir: str | None = None) -> Found:
  """Finds files by their suffixes, at any depth.

  The order is that of the given paths; in a folder or pattern, that of the names as
  text. Links are followed. Skipped are hidden files and folders, other suffixes, and
  links to nothing; a file that is given itself is taken whatever its ending.

  Args:
    paths: files, folders and patterns; see `files.matching`.
    suffixes: in lower case, such as '.png'.
    what: what they are, such as 'image', for lines.
    data_dir: the folder `--data_dir`, or None.

  Raises:
    UserError: if there is nothing at a path, or a folder may not be read.
  """
  walk = _Walk(tuple(suffixes))
  for root, path in enumerate(_as_paths(paths)):
    given = not files.is_pattern(path, data_dir)
    for place in files.matching(path, data_dir, broken=walk.broken):
      if place.is_dir():
        walk.folder(place, root)
      elif not given and not place.name.lower().endswith(walk.suffixes):
        walk.others.append(place.name)
      else:
        files.require_file(place)
        walk.files.append(File(str(place), place.name, root))
  seen: dict[str, File] = {}
  for file in walk.files:
    seen.setdefault(file.path, file)
  twice = len(walk.files) - len(seen)
  return Found([*seen.values()], walk.folders, [
    *walk.lines(what), *([f'under two of the paths, and read once: '
                          f'{counted(twice, what)}'] if twice else [])])


def _as_paths(paths: str | Iterable[str]) -> list[str]:
  return [paths] if isinstance(paths, str | os.PathLike) else [*paths]


def _is_hidden(name: str) -> bool:
  return name.startswith('.') or name == '__MACOSX'  # of archives made by macOS


class _Walk:
  """Collects files and what is skipped."""

  def __init__(self, suffixes: tuple[str, ...]):
    self.suffixes = suffixes
    self.files: list[File] = []
    self.folders: dict[int, list[str]] = {}
    self.others: list[str] = []  # names with other suffixes
    self.broken: list[str] = []  # links to nothing
    self._hidden: list[str] = []

  def folder(self, folder: pathlib.Path, root: int) -> None:
    found: list[tuple[str, str]] = []
    inner = self.folders.setdefault(root, [])
    self._enter(str(folder), '', (), found, inner)
    inner.sort()
    self.files += [File(path, name, root) for name, path in sorted(found)]

  def _enter(self, folder: str, prefix: str, above: tuple, found: list, inner: list
             ) -> None:
    try:
      here = os.stat(folder)
      entries = list(os.scandir(folder))
    except OSError as error:
      raise UserError(f'{folder}: cannot be read: {reason(error)}') from None
    if (key := (here.st_dev, here.st_ino)) in above:
      return  # a link to a folder around it
    for entry in entries:
      name = prefix + entry.name
      if _is_hidden(entry.name):
        self._hidden.append(name)
      elif entry.is_dir():
        if name.count('/') < 2:
          inner.append(name)
        self._enter(entry.path, f'{name}/', (*above, key), found, inner)
      elif not name.lower().endswith(self.suffixes):
        self.others.append(name)
      elif entry.is_file():
        found.append((name, entry.path))
      else:
        self.broken.append(name)

  def lines(self, what: str) -> list[str]:
    """Lines about what was skipped."""
    lines = []
    if self.others:
      kinds = collections.Counter(
        os.path.splitext(name)[1].lower() or 'no suffix' for name in self.others)
      article = 'an' if what[0] in 'aeiou' else 'a'
      lines.append(f'skipped: {_such_as(self.others, "file")} whose suffix is not that '
                   f'of {article} {what}: ' + listed(
                     f'{kind} {count:,}' for kind, count in kinds.most_common()))
    if self._hidden:
      lines.append(f'skipped: {_such_as(self._hidden, "hidden file")}')
    if self.broken:
      lines.append(f'skipped: {_such_as(self.broken, "link")} to nothing')
    return lines


def counted(count: int, what: str) -> str:
  """Returns such as '1 image', '2 images', '2 classes' or '2 identities'."""
  if count == 1:
    return f'1 {what}'
  return f'{count:,} ' + (f'{what}es' if what.endswith('ss') else
                          f'{what[:-1]}ies' if what.endswith('ty') else f'{what}s')


def _such_as(names: Sequence[str], what: str) -> str:
  return f'{counted(len(names), what)} (such as {min(names)})'
