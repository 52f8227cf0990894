"""An experiment record as the code of an experiment, which a run can keep."""

import dataclasses
import functools
import inspect
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from bigmodels.config import Experiment, resolving, tree
from bigmodels.config.literals import (
  dotted_name,
  imported,
  is_function,
  is_group,
  is_record,
  literal,
)
from bigmodels.config.resolving import Resolved
from bigmodels.config.source import Source
from bigmodels.core.errors import UserError

NAME = 'experiment.py'


def resolved(experiment: Experiment, folder: pathlib.Path) -> Resolved:
  """An experiment that was made as an object, with code that makes it again.

  Args:
    experiment: the record.
    folder: where a run will keep that code.

  Raises:
    UserError: naming what no code can make, such as a lambda.
  """
  path = folder / NAME
  source = Source(str(path), path, folder, {NAME: text(experiment).encode()})
  found = resolving.call(source, resolving.load(source), {}, '',
                         resolving.typed_names(source))
  given, made = (dict(tree.describe_fields(x)) for x in (experiment, found.experiment))
  for name in [*given, *made]:
    if given.get(name) != made.get(name):
      raise UserError(f'{name}: {given.get(name)} cannot be written as code, which '
                      f'gives {made.get(name)}; write the experiment to a file')
  return found


def text(experiment: Experiment) -> str:
  """The code: a module with `config() -> Experiment`.

  Raises:
    UserError: see `resolved`.
  """
  modules: set[str] = set()
  body = _code(experiment, '', modules, 1)
  lines = ['"""An experiment that was made as an object in Python."""', '',
           *(f'import {name}' for name in sorted(modules)), '', '',
           'def config() -> bigmodels.config.Experiment:', f'  return {body}', '']
  return '\n'.join(lines)


def _code(value: Any, path: str, modules: set[str], depth: int) -> str:
  """The expression that makes a value; adds the modules that it needs."""
  plain = literal(value)
  if plain is not None and not (is_record(value) and hasattr(value, '_fields')):
    if 'nan' in plain or 'inf' in plain:
      raise UserError(f'{path}: {plain} has no literal; write the experiment to a file')
    return plain

  def inside(name, item):
    return _code(item, f'{path}.{name}' if path else str(name), modules, depth + 1)

  if isinstance(value, functools.partial):
    modules.add('functools')
    return _call('functools.partial', [
      _code(value.func, path, modules, depth), *(
        inside(i, item) for i, item in enumerate(value.args))], {
          name: inside(name, item) for name, item in value.keywords.items()}, depth)
  if made := _made_by(value):
    return _call(_name(made.func, path, modules), [], {
      name: inside(name, item) for name, item in made.keywords.items()}, depth)
  if is_record(value):
    return _call(_name(type(value), path, modules), [], {
      name: inside(name, getattr(value, name)) for name in tree.field_names(value)
      if not _is_default(value, name)}, depth)
  if isinstance(value, Mapping):
    return '{' + ', '.join(f'{literal(key)}: {inside(key, item)}'
                           for key, item in value.items()) + '}'
  if is_group(value):
    items = [inside(i, item) for i, item in enumerate(value)]
    if isinstance(value, list):
      return f'[{", ".join(items)}]'
    return f'({", ".join(items)}{"," * (len(items) == 1)})'
  if not is_function(value):
    raise UserError(f'{path}: a {type(value).__name__} cannot be written as code, '
                    'which a run keeps to be opened again; write the experiment to a '
                    'file')
  return _name(value, path, modules)


def _made_by(value: Any) -> functools.partial | None:
  """The call of a library's function that returned closures, or a tuple of them.

  Such are the schedules and transformations of optax. `resolved` compares the result.
  """
  parts = [*value] if isinstance(value, tuple) and is_record(value) else [value]
  inner = [part for part in parts if inspect.isfunction(part) and (
    '<locals>' in part.__qualname__)]
  outer = {f'{part.__module__}.{part.__qualname__.partition(".<locals>")[0]}'
           for part in inner}
  if len(outer) != 1 or not all(map(inspect.isfunction, parts)):
    return None
  function = imported(outer.pop())[0]
  if not inspect.isfunction(function):
    return None
  enclosed = {name: item for part in inner
              for name, item in inspect.getclosurevars(part).nonlocals.items()}
  parameters = inspect.signature(function).parameters
  given = {name: enclosed[name] for name in parameters if name in enclosed}
  if any(p.default is p.empty and name not in given for name, p in parameters.items()):
    return None
  return functools.partial(function, **given)


def _call(name: str, items: list[str], named: dict[str, str], depth: int) -> str:
  arguments = [*items, *(f'{key}={item}' for key, item in named.items())]
  line = f'{name}({", ".join(arguments)})'
  if len(line) + 2 * depth <= 88 and '\n' not in line:
    return line
  start = '\n' + '  ' * (depth + 1)
  return f'{name}({start}{f",{start}".join(arguments)})'


def _name(value: Any, path: str, modules: set[str]) -> str:
  """The dotted name of a function or class, by which it can be imported."""
  name = dotted_name(value)
  module, _, last = name.rpartition('.')
  if not module:
    return name
  spec = getattr(sys.modules.get(value.__module__), '__spec__', None)
  # The module of an experiment's file, and that of a script, have no loader.
  if getattr(spec, 'loader', None) is None or imported(name)[0] is not value:
    kind = 'class' if inspect.isclass(value) else 'function'
    raise UserError(
      f'{path or "experiment"}: the {kind} {getattr(value, "__qualname__", last)} is '
      f'defined in {module}, from which no other process can import it; write it, or '
      'the whole experiment, to a .py file')
  while module and not _is_module(module):  # a class within a class
    module = module.rpartition('.')[0]
  modules.add(module)
  return name


def _is_module(name: str) -> bool:
  return inspect.ismodule(imported(name)[0]) if '.' in name else bool(
    imported(f'{name}.__name__')[0])


def _is_default(record: Any, name: str) -> bool:
  """Whether a field has its default, which need not be written."""
  if not dataclasses.is_dataclass(record):
    defaults = getattr(record, '_field_defaults', {})
    return name in defaults and defaults[name] is getattr(record, name)
  field = next(f for f in dataclasses.fields(record) if f.name == name)
  value = getattr(record, name)
  if field.default is not dataclasses.MISSING:
    return value is field.default or (
      literal(value) is not None and literal(value) == literal(field.default))
  return False
