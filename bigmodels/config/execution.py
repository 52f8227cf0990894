"""Executes the code of an experiment or a mode, and the modules beside it."""

import ast
import contextlib
import importlib.machinery
import pathlib
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import cloudpickle

from bigmodels.config.source import Imports, Source, read
from bigmodels.core.errors import UserError, nearest

_BESIDE = '__beside__'  # replaces an import from beside the file


def execute(source: Source) -> ModuleType:
  """Executes a file; the modules beside it are executed when they are imported.

  Its modules are separate from modules of the same name beside other files. They are
  pickled by value, since worker processes could not import them.

  Raises:
    UserError: if the code raises; see `blamed`.
  """
  module = ModuleType(source.module)
  for name in [n for n in sys.modules if n.startswith(f'{source.module}.')]:
    del sys.modules[name]  # another file of this name
  file = source.path.name
  _set_up(module, source, file)
  module.__package__ = source.package
  with blamed(source):
    _run(module, source, file, Beside(source))
  return module


def of_file(path: pathlib.Path, *, package: str) -> ModuleType:
  """Executes a plug-in that the command line names; see `execute`.

  Args:
    path: of the file.
    package: see `Source`.

  Raises:
    UserError: if it cannot be read, or raises.
  """
  code = read(str(path), path)._replace(package=package)
  for note in code.notes:
    print(note, file=sys.stderr)
  return execute(code)


@contextlib.contextmanager
def blamed(source: Source, note: str = '') -> Iterator[None]:
  """Turns any error into a `UserError` that names the last line of this code in it.

  Args:
    source: the code.
    note: the end of the message.

  Raises:
    UserError: for any `Exception` that is raised inside.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    frames = [f for f in traceback.extract_tb(error.__traceback__)
              if source.has(f.filename)]
    message, place = error, str(source.folder / source.path.name)
    if frames:
      place = f'{frames[-1].filename}, line {frames[-1].lineno}'
    if isinstance(error, SyntaxError) and error.filename:
      message, place = error.msg, f'{error.filename}, line {error.lineno}'
    message = f'{type(error).__name__}: {message}'
    if isinstance(error, ModuleNotFoundError) and error.name:
      message += _nearest_module(source, error.name)
    raise UserError(f'{place}: {message}{note}') from error


def _nearest_module(source: Source, name: str) -> str:
  """'; did you mean X?' of the modules beside the file, or ''."""
  close = nearest(name, {
    p.stem for p in source.folder.glob('*.py') if p.name != source.path.name} | {
    p.parent.name for p in source.folder.glob('*/__init__.py')})
  return close if 'mean' in close else ''


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
    tree = _ReplaceImports(Imports.of(source, file)).visit(ast.parse(data, filename))
    code = ast.fix_missing_locations(tree)
    setattr(module, _BESIDE, beside)
  exec(compile(code, filename, 'exec', dont_inherit=True), vars(module))


class _ReplaceImports(ast.NodeTransformer):
  """Replaces imports from beside the file with calls of `Beside`.

  Such a call can be pickled with a function and sent to a process without the module.
  Two experiments do not share modules of the same name.
  """

  def __init__(self, imports: Imports):
    self._imports = imports

  def visit_Import(self, node):
    statements = []
    for alias in node.names:
      if not self._imports.beside(alias.name):
        statements.append(ast.copy_location(ast.Import([alias]), node))
        continue
      top = alias.name.partition('.')[0]
      statements.append(self._set(
        node, alias.asname or top, alias.name, '' if alias.asname else top))
    return statements

  def visit_ImportFrom(self, node):
    name = self._imports.absolute(node)
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
  """The modules beside a file, executed when they are first imported."""

  def __init__(self, source: Source):
    self._source = source
    self._modules: dict[str, ModuleType] = {}

  def __reduce__(self):
    return Beside, (self._source,)

  def module(self, name: str, top: str = '') -> ModuleType:
    """`import name`; returns the module, or its outermost package `top`.

    Raises:
      ModuleNotFoundError: if there is no such module.
    """
    found = self._import(name)
    return self._import(top) if top else found

  def member(self, name: str, member: str) -> Any:
    """`from name import member`.

    Raises:
      ImportError: if there is no such module or member.
    """
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
    """`from name import *`. Raises ImportError as `member`."""
    module = self._import(name)
    names = getattr(module, '__all__', None)
    if names is None:
      names = [n for n in vars(module) if not n.startswith('_')]
    return {n: self.member(name, n) for n in names}

  def _file(self, name: str) -> str | None:
    return Imports.of(self._source).module(name)

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
