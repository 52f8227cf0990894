"""Finds the files under paths: of files, folders and glob patterns."""

import collections
import glob
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed
from bigmodels.core.paths import expanded, reason

_MAGIC = frozenset('*?[')


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


def find(paths: str | Iterable[str], endings: Collection[str], *, what: str,
         data_dir: str | None = None) -> Found:
  """Finds files by the endings of their names, at any depth.

  The order is that of the given paths; in a folder or pattern, that of the names as
  text. Links are followed. Skipped are hidden files and folders, other endings, and
  links to nothing; a file that is given itself is taken whatever its ending.

  Args:
    paths: files, folders, and patterns as of `glob` (`**` is any depth). Something that
      has the name of a pattern is not a pattern. A relative path is also looked up
      under `data_dir`.
    endings: endings of names in lower case, such as '.png'.
    what: what they are, such as 'image', for lines.
    data_dir: the folder `--data_dir`, or None.

  Raises:
    UserError: if there is nothing at a path, or a folder may not be read.
  """
  walk = _Walk(frozenset(endings))
  for root, path in enumerate(_as_paths(paths)):
    for place, given in _matches(path, data_dir):
      if place.is_dir():
        walk.folder(place, root)
      elif given or place.suffix.lower() in walk.endings:
        files.require_file(place)
        walk.files.append(File(str(place), place.name, root))
      else:
        walk.others.append(place.name)
  seen: dict[str, File] = {}
  for file in walk.files:
    seen.setdefault(file.path, file)
  twice = len(walk.files) - len(seen)
  return Found([*seen.values()], walk.folders, [
    *walk.lines(what), *([f'under two of the paths, and read once: '
                          f'{counted(twice, what)}'] if twice else [])])


def _as_paths(paths: str | Iterable[str]) -> list[str]:
  return [paths] if isinstance(paths, str | os.PathLike) else [*paths]


def is_pattern(path: str) -> bool:
  """Whether a path is a pattern, and not the name of something that is there."""
  return bool(_MAGIC & {*str(path)}) and not os.path.lexists(expanded(path))


def absolute(path: str, field: str) -> str:
  """The absolute path, or pattern, if something is there; see `files.absolute`.

  Args:
    path: path or pattern.
    field: name of the field that holds it, for the error.
  """
  if not is_pattern(path):
    return files.absolute(path, field)
  pattern = os.path.abspath(expanded(path))
  return pattern if next(glob.iglob(pattern, recursive=True), None) else str(path)


def _matches(path: str, data_dir: str | None) -> Iterator[tuple[pathlib.Path, bool]]:
  """What is at a path, and whether the path names it."""
  if not is_pattern(path):
    yield files.find(path, data_dir), True
    return
  places = [expanded(path)]
  if data_dir and not places[0].is_absolute():
    places.append(expanded(data_dir) / path)
  for place in places:
    if found := sorted(glob.glob(str(place), recursive=True)):
      for match in found:
        # With '**' a folder matches, and so do the files in it.
        if not (os.path.isdir(match) and '**' in str(path)):
          yield pathlib.Path(match).absolute(), False
      return
  raise UserError(f'nothing matches {" or ".join(map(str, places))}')


def _is_hidden(name: str) -> bool:
  return name.startswith('.') or name == '__MACOSX'  # of archives made by macOS


class _Walk:
  """Collects files and what is skipped."""

  def __init__(self, endings: frozenset[str]):
    self.endings = endings
    self.files: list[File] = []
    self.folders: dict[int, list[str]] = {}
    self.others: list[str] = []  # names with other endings
    self._hidden: list[str] = []
    self._broken: list[str] = []

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
      elif os.path.splitext(name)[1].lower() not in self.endings:
        self.others.append(name)
      elif entry.is_file():
        found.append((name, entry.path))
      else:
        self._broken.append(name)

  def lines(self, what: str) -> list[str]:
    """Lines about what was skipped."""
    lines = []
    if self.others:
      kinds = collections.Counter(
        os.path.splitext(name)[1].lower() or 'no ending' for name in self.others)
      lines.append(f'skipped: {_such_as(self.others, "file")} with endings of no '
                   f'{what}: ' + listed(
                     f'{kind} {count:,}' for kind, count in kinds.most_common()))
    if self._hidden:
      lines.append(f'skipped: {_such_as(self._hidden, "hidden file")}')
    if self._broken:
      lines.append(f'skipped: {_such_as(self._broken, "link")} to nothing')
    return lines


def counted(count: int, what: str) -> str:
  """Returns such as '1 image' or '2 images'."""
  return f'{count:,} {what}{"s" * (count != 1)}'


def _such_as(names: Sequence[str], what: str) -> str:
  return f'{counted(len(names), what)} (such as {min(names)})'
