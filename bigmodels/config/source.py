"""The code of an experiment or a mode: its file, and the modules beside it.

The files are read once, so that the same content is executed, compared, stored and
trusted. Modules are found by import statements, including those inside functions;
imports by other means, such as `importlib`, are not followed.
"""

import ast
import difflib
import hashlib
import importlib.util
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from bigmodels.core.errors import UserError

_SHOWN = 3  # lines that differ


class Source(NamedTuple):
  """The code of an experiment or a mode.

  Attributes:
    name: name of the experiment in `experiments/`, or an absolute path.
    path: path of its file, or the path at the start of a run: its `__file__`.
    folder: folder from which the files were read, that of `path` or of a copy.
    files: name relative to the folder, such as 'parts/heads.py' -> content; the file of
      `path` comes first.
    notes: lines to print about the files.
    package: package of the module, `experiments`, `modes` or `export`.
  """

  name: str
  path: pathlib.Path
  folder: pathlib.Path
  files: Mapping[str, bytes]
  notes: tuple[str, ...] = ()
  package: str = 'experiments'

  @property
  def digest(self) -> str:
    """SHA-256 of the files and their folder, as code may read files beside it."""
    found = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(
      self.files.items())}
    return hashlib.sha256(json.dumps(['code', self.name, found]).encode()).hexdigest()

  @property
  def module(self) -> str:
    """Name of the module; it shadows no library, and is the same in every run."""
    return f'{self.package}.' + re.sub(r'\W|^(?=\d)', '_', self.path.stem)

  @property
  def beside(self) -> set[str]:
    """Top-level names of the modules that are imported from beside the file."""
    return {name.partition('/')[0].removesuffix('.py') for name in self.files
            if name != self.path.name}

  def has(self, filename: str) -> bool:
    """Whether a frame of a traceback, by its file name, is in this code."""
    return any(str(self.folder / name) == filename for name in self.files)


# --- reading --------------------------------------------------------------------


def read(name: str, path: pathlib.Path, folder: pathlib.Path | None = None) -> Source:
  """Reads a file, and the modules that it imports from beside it.

  As for Python scripts, a module or package beside the file takes precedence over an
  installed one of the same name, and a note says so. It does not take precedence over
  the standard library or this package, and no file imports itself.

  Args:
    name: see `Source`.
    path: path of the file.
    folder: folder of a copy to read instead; None for the folder of `path`.

  Raises:
    UserError: if a file cannot be read.
  """
  folder = folder or path.parent
  files: dict[str, bytes] = {}
  notes: list[str] = []
  waiting = [path.name]
  while waiting:
    file = waiting.pop()
    if file in files:
      continue
    try:
      files[file] = (folder / file).read_bytes()
    except OSError as error:
      raise UserError(
        f'{folder / file} cannot be read: {error.strerror or error}') from error
    try:
      tree = ast.parse(files[file])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
      continue  # reported when it is executed
    imports = Imports(path, file, lambda f: (folder / f).is_file(),
                      lambda f: (folder / f).is_dir())
    for node in ast.walk(tree):
      if isinstance(node, ast.Import | ast.ImportFrom):
        notes += _hidden(node, imports, folder)
        waiting += reversed([*imports.files(node)])
  return Source(name, path, folder, files, tuple(dict.fromkeys(notes)))


class Imports:
  """Resolves the imports of one file to files beside it."""

  def __init__(self, path: pathlib.Path, file: str, is_file: Callable[[str], bool],
               is_folder: Callable[[str], bool]):
    """Only stores the arguments.

    Args:
      path: path of the experiment's file.
      file: name of the file with the imports, relative to the folder of `path`.
      is_file: whether a relative name is a file.
      is_folder: whether a relative name is a folder.
    """
    self.path, self.file = path, file
    self._is_file, self._is_folder = is_file, is_folder

  @classmethod
  def of(cls, source: Source, file: str = '') -> 'Imports':
    """Resolves the imports of a file among those that were read."""
    return cls(source.path, file, lambda f: f in source.files,
               lambda f: any(n.startswith(f'{f}/') for n in source.files))

  def module(self, name: str) -> str | None:
    """The file of a module; '' for a folder without one; None if it is elsewhere."""
    stem = name.replace('.', '/')
    for file in (f'{stem}/__init__.py', f'{stem}.py'):
      if stem and self._is_file(file):
        return file
    return '' if self._is_folder(stem) else None

  def beside(self, name: str) -> bool:
    """Whether an absolute name is the name of a module beside the file."""
    top = name.partition('.')[0]
    file = self.module(top)
    if file is None or file == self.path.name or top == 'bigmodels' or _of_python(top):
      return False
    if file == self.file:  # only the parts of a package may import it
      return file.endswith('/__init__.py')
    return file != '' or (self.module(name) is not None and not _installed(top))

  def absolute(self, node: ast.ImportFrom) -> str | None:
    """The name of the module imported from, None if it is not beside the file."""
    if node.level:
      package = self.file.removesuffix('.py').split('/')[: -node.level]
      if node.level > self.file.count('/') + 1:
        return None
      return '.'.join([*package, *([node.module] if node.module else [])])
    first, _, rest = node.module.partition('.')
    if first == 'experiments' == self.path.parent.name and self.module(first) is None:
      # An experiment of a checkout that imports another.
      names = [rest] if rest else [alias.name for alias in node.names]
      return rest if any(self.module(name) for name in names) else None
    return node.module if self.beside(node.module) else None

  def files(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The files that an import executes, packages first."""
    if isinstance(node, ast.Import):
      names = [a.name for a in node.names if self.beside(a.name)]
    else:
      base = self.absolute(node)
      if base is None:
        return
      names = [base, *(f'{base}.{a.name}' if base else a.name for a in node.names)]
    for name in names:
      parts = name.split('.')
      for count in range(1, len(parts) + 1):
        if file := self.module('.'.join(parts[:count])):
          yield file


def _of_python(name: str) -> bool:
  return name in sys.stdlib_module_names or name in sys.builtin_module_names


def _installed(name: str) -> pathlib.Path | None:
  """The path of an installed module; None if it is not installed or has no code."""
  try:
    spec = importlib.util.find_spec(name)
  except (ImportError, ValueError, AttributeError):
    return None
  return pathlib.Path(spec.origin) if spec and spec.has_location and spec.origin else (
    None)


def _hidden(node, imports: Imports, folder: pathlib.Path) -> Iterator[str]:
  """A line for each import of a name that two modules share."""
  names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
    [] if node.level else [node.module])
  for name in names:
    top = name.partition('.')[0]
    file = imports.module(top)
    if not file or file == imports.file or top == 'bigmodels':
      continue
    place = f'{imports.file}, line {node.lineno}: `import {top}`'
    if not imports.beside(name):
      kind = 'of the standard library' if _of_python(top) else 'the installed library'
      yield f'{place} is {kind}, not {folder / file}: rename that file to import it'
    elif (installed := _installed(top)) and (
      installed.resolve() != (folder / file).resolve()):
      yield (f'{place} is {folder / file}, not the installed library of that name, '
             f'{installed}: rename that file to import the library')


# --- comparing ------------------------------------------------------------------


def differences(before: Source, now: Source) -> list[str]:
  """The first lines that differ, as text; none if the code is equivalent.

  Comments, white space and docstrings are ignored.

  Args:
    before: the code when a run began.
    now: the present code.
  """
  found = []
  for file in dict.fromkeys([*before.files, *now.files]):
    old, new = before.files.get(file), now.files.get(file)
    if old == new:
      continue
    if old is None:
      found.append(f'{file} was not imported when the run began')
    elif new is None:
      found.append(f'{file} is not imported now')
    elif _meaning(old) != _meaning(new):
      found += [f'{file}, {line}' for line in _lines(_text(old), _text(new))]
  more = len(found) - _SHOWN
  return found if more <= 0 else [*found[:_SHOWN], f'and {more} more']


def _text(data: bytes) -> list[str]:
  return data.decode('utf-8', 'replace').splitlines()


def _meaning(data: bytes) -> Any:
  try:
    tree = ast.parse(data)
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return data
  for node in ast.walk(tree):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef
                  | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
      del node.body[0]
  return ast.dump(tree)


def _lines(old: list[str], new: list[str]) -> list[str]:
  """A line of text for each line that differs."""
  found, comments = [], []
  matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
  for kind, start, end, first, last in matcher.get_opcodes():
    if kind == 'equal':
      continue
    for index in range(max(end - start, last - first)):
      was = old[start + index] if start + index < end else None
      now = new[first + index] if first + index < last else None
      if now is None:
        line = f'line {start + index + 1} of then: {_short(was)} is gone'
      elif was is None:
        line = f'line {first + index + 1}: {_short(now)} is new'
      else:
        line = (f'line {first + index + 1}: {_short(was)} when the run began, now '
                f'{_short(now)}')
      code = [t for t in (was, now) if t and t.strip() and t.strip()[0] != '#']
      (found if code else comments).append(line)
  return found or comments


def _short(line: str) -> str:
  line = line.strip()
  return repr(line if len(line) <= 60 else f'{line[:57]}...')
