"""The code of an experiment: its file, and what it imports from beside it.

The files are read once: what is executed is what is compared, kept and trusted. Which
they are is read off the import statements, those inside of functions included; what
is imported by other means, `importlib` for one, is not among them.
"""

import ast
import difflib
import hashlib
import importlib.machinery
import importlib.util
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

from bigmodels.core.errors import UserError, nearest

_BESIDE = '__beside__'  # what an import from beside the experiment is turned into
_SHOWN = 3  # lines that differ


class Source(NamedTuple):
  """The code of an experiment.

  Attributes:
    name: of the experiment, which lasts: in `experiments/`, or an absolute path.
    path: where its file is, or was when a run began: its `__file__`.
    folder: where the files were read: that of `path`, or of a copy.
    files: name relative to the folder, such as 'parts/heads.py' -> what is in it; the
      file of the experiment comes first.
    notes: what should be said about them.
  """

  name: str
  path: pathlib.Path
  folder: pathlib.Path
  files: Mapping[str, bytes]
  notes: tuple[str, ...] = ()

  @property
  def digest(self) -> str:
    """SHA-256 of the files, and of where they are: code may read what is beside it."""
    found = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(
      self.files.items())}
    return hashlib.sha256(json.dumps(['code', self.name, found]).encode()).hexdigest()

  @property
  def module(self) -> str:
    """Name of the module: shadows no library, and is the same in every run."""
    return 'experiments.' + re.sub(r'\W|^(?=\d)', '_', self.path.stem)

  @property
  def beside(self) -> set[str]:
    """First parts of the names of what is imported from beside the experiment."""
    return {name.partition('/')[0].removesuffix('.py') for name in self.files
            if name != self.path.name}

  def place(self, filename: str) -> str | None:
    """The name of the file that a traceback calls so, or None."""
    return next((n for n in self.files if str(self.folder / n) == filename), None)


# --- reading --------------------------------------------------------------------


def read(name: str, path: pathlib.Path, folder: pathlib.Path | None = None) -> Source:
  """Reads the file of an experiment, and what it imports from beside it.

  Python's rule for scripts holds: a module or package beside the file comes before an
  installed one of its name, which is noted; it never comes before the standard library
  or this package, and no file imports itself.

  Args:
    name: of the experiment, which lasts.
    path: of its file.
    folder: of a copy of the files to read instead.

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
      continue  # said when it is executed, if it is
    finder = _Finder(path, file, lambda f: (folder / f).is_file(),
                     lambda f: (folder / f).is_dir())
    for node in ast.walk(tree):
      if isinstance(node, ast.Import | ast.ImportFrom):
        notes += _hidden(node, finder, folder)
        waiting += reversed([*finder.files(node)])
  return Source(name, path, folder, files, tuple(dict.fromkeys(notes)))


class _Finder:
  """Which files the imports of one file mean."""

  def __init__(self, path: pathlib.Path, file: str, is_file: Callable[[str], bool],
               is_folder: Callable[[str], bool]):
    self.path, self.file = path, file
    self._is_file, self._is_folder = is_file, is_folder

  def module(self, name: str) -> str | None:
    """The file of a module, '' for a folder without one, None if it is not beside."""
    stem = name.replace('.', '/')
    for file in (f'{stem}/__init__.py', f'{stem}.py'):
      if stem and self._is_file(file):
        return file
    return '' if self._is_folder(stem) else None

  def beside(self, name: str) -> bool:
    """Whether an absolute name is one of a module beside the experiment."""
    top = name.partition('.')[0]
    file = self.module(top)
    if file is None or file == self.path.name or top == 'bigmodels' or _of_python(top):
      return False
    if file == self.file:  # no module imports itself, but the parts of a package it
      return file.endswith('/__init__.py')
    return file != '' or (self.module(name) is not None and not _installed(top))

  def absolute(self, node: ast.ImportFrom) -> str | None:
    """What is imported from, None if it is not beside the experiment."""
    if node.level:
      package = self.file.removesuffix('.py').split('/')[: -node.level]
      if node.level > self.file.count('/') + 1:
        return None
      return '.'.join([*package, *([node.module] if node.module else [])])
    first, _, rest = node.module.partition('.')
    if first == 'experiments' == self.path.parent.name and self.module(first) is None:
      # One experiment of a checkout that imports another.
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
  """Where an installed module is; None if there is none, or it has no code."""
  try:
    spec = importlib.util.find_spec(name)
  except (ImportError, ValueError, AttributeError):
    return None
  return pathlib.Path(spec.origin) if spec and spec.has_location and spec.origin else (
    None)


def _hidden(node, finder: _Finder, folder: pathlib.Path) -> Iterator[str]:
  """A line for each import that two modules could be meant by."""
  names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
    [] if node.level else [node.module])
  for name in names:
    top = name.partition('.')[0]
    file = finder.module(top)
    if not file or file == finder.file or top == 'bigmodels':
      continue
    place = f'{finder.file}, line {node.lineno}: `import {top}`'
    if not finder.beside(name):
      kind = 'of the standard library' if _of_python(top) else 'the installed library'
      yield (f'{place} is {kind}, not {folder / file}: rename that file to import it')
    elif (installed := _installed(top)) and (
      installed.resolve() != (folder / file).resolve()):
      yield (f'{place} is {folder / file}, not the installed library of that name, '
             f'{installed}: rename that file to import the library')


# --- comparing ------------------------------------------------------------------


def differences(before: Source, now: Source) -> list[str]:
  """A line for each of the first that differ; none if all mean the same.

  Comments, white space and docstrings mean nothing.

  Args:
    before: when a run began.
    now: since then.
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
  """What differs, line by line."""
  found, dull = [], []
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
      means = [t for t in (was, now) if t and t.strip() and t.strip()[0] != '#']
      (found if means else dull).append(line)
  return found or dull


def _short(line: str) -> str:
  line = line.strip()
  return repr(line if len(line) <= 60 else f'{line[:57]}...')


# --- executing ------------------------------------------------------------------


def execute(source: Source) -> ModuleType:
  """Executes the file of an experiment; what it imports from beside it, when it does.

  Its modules are not those of another experiment, whatever they are called. They go to
  worker processes by value: these could not import them.

  Raises:
    Exception: whatever the code raises.
  """
  module = ModuleType(source.module)
  for name in [n for n in sys.modules if n.startswith(f'{source.module}.')]:
    del sys.modules[name]  # of another experiment of this name
  file = source.path.name
  _set_up(module, source, file)
  module.__package__ = 'experiments'
  _run(module, source, file, Beside(source))
  return module


def _set_up(module: ModuleType, source: Source, file: str) -> None:
  module.__file__ = str(source.path.parent / file)
  module.__spec__ = importlib.machinery.ModuleSpec(
    module.__name__, None, origin=module.__file__)
  sys.modules[module.__name__] = module
  cloudpickle.register_pickle_by_value(module)


def _run(module: ModuleType, source: Source, file: str, beside: 'Beside') -> None:
  data, filename = source.files[file], str(source.folder / file)
  code: Any = data
  if len(source.files) > 1:
    finder = _Finder(source.path, file, lambda f: f in source.files,
                     lambda f: any(n.startswith(f'{f}/') for n in source.files))
    code = ast.fix_missing_locations(_Turned(finder).visit(ast.parse(data, filename)))
    setattr(module, _BESIDE, beside)
  exec(compile(code, filename, 'exec', dont_inherit=True), vars(module))


class _Turned(ast.NodeTransformer):
  """Imports from beside an experiment, turned into calls of `Beside`.

  A call goes with a function to a process where the module is not, and two experiments
  do not find each other's.
  """

  def __init__(self, finder: _Finder):
    self._finder = finder

  def visit_Import(self, node):
    turned = []
    for alias in node.names:
      if not self._finder.beside(alias.name):
        turned.append(ast.copy_location(ast.Import([alias]), node))
        continue
      top = alias.name.partition('.')[0]
      turned.append(self._set(node, alias.asname or top, alias.name,
                              '' if alias.asname else top))
    return turned

  def visit_ImportFrom(self, node):
    name = self._finder.absolute(node)
    if name is None:
      return node
    if node.names[0].name == '*':
      text = f'globals().update({_BESIDE}.public({name!r}))'
      return ast.copy_location(ast.parse(text).body[0], node)
    return [self._set(node, a.asname or a.name, name, a.name, member=True)
            for a in node.names]

  def _set(self, node, target, name, other, *, member=False):
    called = f'{_BESIDE}.member' if member else f'{_BESIDE}.module'
    statement = ast.parse(f'{target} = {called}({name!r}, {other!r})').body[0]
    for part in ast.walk(statement):
      ast.copy_location(part, node)
    return statement


class Beside:
  """The modules beside an experiment, executed when they are first imported."""

  def __init__(self, source: Source):
    self._source = source
    self._modules: dict[str, ModuleType] = {}

  def __reduce__(self):
    return Beside, (self._source,)

  def module(self, name: str, top: str = '') -> ModuleType:
    """`import name`; what it binds is the module, or the top one of its packages."""
    found = self._import(name)
    return self._import(top) if top else found

  def member(self, name: str, member: str) -> Any:
    """`from name import member`."""
    module = self._import(name) if name else None
    if module is not None and hasattr(module, member):
      return getattr(module, member)
    inner = f'{name}.{member}' if name else member
    if self._file(inner) is not None:
      return self._import(inner)
    names = [n for n in vars(module) if not n.startswith('_')] if module else []
    close = nearest(member, names)
    raise ImportError(f'cannot import name {member!r} from {name!r} '
                      f'({self._source.folder / (self._file(name) or name)})'
                      f'{close if "mean" in close else ""}', name=name)

  def public(self, name: str) -> dict[str, Any]:
    """`from name import *`."""
    module = self._import(name)
    names = getattr(module, '__all__', None)
    if names is None:
      names = [n for n in vars(module) if not n.startswith('_')]
    return {n: self.member(name, n) for n in names}

  def _file(self, name: str) -> str | None:
    files = self._source.files
    return _Finder(self._source.path, '', lambda f: f in files, lambda f: any(
      n.startswith(f'{f}/') for n in files)).module(name)

  def _import(self, name: str) -> ModuleType:
    if name in self._modules:
      return self._modules[name]
    package, _, leaf = name.rpartition('.')
    outer = self._import(package) if package else None
    if name in self._modules:  # the package has imported it
      return self._modules[name]
    file = self._file(name)
    if file is None:
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    source = self._source
    module = ModuleType(f'{source.module}.{name}')
    _set_up(module, source, file or name.replace('.', '/'))
    is_package = not file or file.endswith('/__init__.py')
    module.__package__ = module.__name__ if is_package else (
      module.__name__.rpartition('.')[0])
    if is_package:
      module.__path__ = []
    self._modules[name] = module
    try:
      if file:
        _run(module, source, file, self)
    except BaseException:
      del self._modules[name]
      sys.modules.pop(module.__name__, None)
      raise
    if outer is not None:
      setattr(outer, leaf, module)
    return module


def nearest_module(source: Source, name: str) -> str:
  """'; did you mean X?' of the modules beside an experiment, or ''."""
  names = {
    p.stem for p in source.folder.glob('*.py') if p.name != source.path.name} | {
    p.parent.name for p in source.folder.glob('*/__init__.py')}
  close = nearest(name, names)
  return close if 'mean' in close else ''
