"""Recipes: trees of records, modules and `functools.partial`s, before they are built.

`functools.partial` is the config object: `inspect.signature` gives the names, types
and defaults of any library's function without a wrapper. Here such a tree is
completed with what only the run knows, flattened to text, and edited by path.
"""

import ast
import collections.abc
import dataclasses
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from bigmodels.errors import UserError, nearest

_EMPTY = inspect.Parameter.empty
_PLAIN = (bool, int, float, str, bytes, types.NoneType)
# Where a library's private functions are known to the public.
_PUBLIC = ('jax.nn', 'jax.numpy', 'jax.nn.initializers')


# --- completing -----------------------------------------------------------------


def complete(recipe: Any, facts: Mapping[str, Callable[[], Any]]) -> Any:
  """Builds a recipe, supplying the required arguments that only the run knows.

  One rule, applied to nested partials first: a required argument that is named in
  `facts` is supplied; a partial that then lacks nothing is called; whatever still
  lacks something else is a function that somebody will call, and stays one.

  Args:
    recipe: a partial, a function, a tuple of these, or anything else (kept).
    facts: name -> a function that works the fact out, called only if it is wanted:
      `steps` (length of the run), `outputs` (what the labels need of a model),
      `mean` and `std` (of the training inputs, per channel).
  """
  if isinstance(recipe, tuple) and not hasattr(recipe, '_fields'):
    return tuple(complete(r, facts) for r in recipe)
  if not _is_recipe(recipe):
    return recipe
  target, args, kwargs = _parts(recipe)
  parameters = _signature(target)
  args = [complete(a, facts) for a in args]
  kwargs = {k: complete(v, facts) for k, v in kwargs.items()}
  bound = set(list(parameters)[: len(args)]) | set(kwargs)
  lacking = [
    name
    for name, p in parameters.items()
    if p.default is _EMPTY and name not in bound and p.kind not in _VARIADIC
  ]
  supplied = {name: facts[name]() for name in lacking if name in facts}
  kwargs |= supplied
  if len(supplied) < len(lacking):
    return functools.partial(target, *args, **kwargs) if args or kwargs else target
  if isinstance(recipe, functools.partial) or supplied:
    return target(*args, **kwargs)
  return recipe


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _is_recipe(value: Any) -> bool:
  return isinstance(value, functools.partial) or (
    callable(value) and hasattr(value, '__name__') and hasattr(value, '__module__')
  )


def _parts(recipe):
  if isinstance(recipe, functools.partial):
    return recipe.func, recipe.args, recipe.keywords
  return recipe, (), {}


def _signature(function) -> dict[str, inspect.Parameter]:
  try:
    parameters = dict(inspect.signature(function).parameters)
  except (TypeError, ValueError):  # some built-ins have none
    return {}
  if inspect.isclass(function) and issubclass(function, _module_class()):
    parameters = {k: p for k, p in parameters.items() if k not in ('parent', 'name')}
  return parameters


def _module_class():
  import flax.linen as nn

  return nn.Module


# --- describing -----------------------------------------------------------------


def describe(value: Any, path: str = '') -> Iterator[tuple[str, str]]:
  """Flattens a recipe to (path, text) pairs, defaults included, in a stable order."""
  if _is_literal(value):
    yield path, repr(value)
  elif isinstance(value, Mapping):
    if not value:
      yield path, '{}'
    for key, item in value.items():
      yield from describe(item, _join(path, key))
  elif isinstance(value, list | tuple) and not hasattr(value, '_fields'):
    for index, item in enumerate(value):
      yield from describe(item, _join(path, index))
  else:
    yield path, _name(value)
    for name in field_names(value):
      yield from describe(_get(value, name), _join(path, name))


def describe_fields(record: Any) -> Iterator[tuple[str, str]]:
  """As `describe`, without a line for the record itself."""
  for name in field_names(record):
    yield from describe(_get(record, name), name)


def _join(path: str, name: Any) -> str:
  return f'{path}.{name}' if path else str(name)


def _is_literal(value) -> bool:
  if isinstance(value, list | tuple) and not hasattr(value, '_fields'):
    return all(_is_literal(v) for v in value)
  return isinstance(value, _PLAIN)


def _name(value) -> str:
  """The dotted name that the class or function of a value can be imported by."""
  value = value.func if isinstance(value, functools.partial) else value
  if not hasattr(value, '__name__') or not hasattr(value, '__module__'):
    value = type(value)
  qualname = getattr(value, '__qualname__', value.__name__)
  module = value.__module__ or 'builtins'
  parts = module.split('.')
  candidates = ['.'.join(parts[: n + 1]) for n in range(len(parts))]
  for candidate in sorted((*candidates, *_PUBLIC), key=lambda c: '._' in c):
    if getattr(sys.modules.get(candidate), qualname, None) is value:
      return f'{candidate}.{qualname}' if candidate != 'builtins' else qualname
  return f'{module}.{qualname}'


def field_names(value) -> list[str]:
  """The names that a dotted path can go on with from here."""
  if dataclasses.is_dataclass(value) and not inspect.isclass(value):
    hidden = ('parent', 'name') if isinstance(value, _module_class()) else ()
    return [f.name for f in dataclasses.fields(value) if f.name not in hidden]
  if hasattr(value, '_fields'):
    return list(value._fields)
  if isinstance(value, Mapping):
    return [str(k) for k in value]
  if isinstance(value, list | tuple):
    return [str(i) for i in range(len(value))]
  if isinstance(value, functools.partial):
    parameters = _signature(value.func)
    names = [n for n, p in parameters.items() if p.kind not in _VARIADIC]
    extra = [str(i) for i in range(len(names), len(value.args))]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values()):
      extra = [str(i) for i in range(len(value.args))]
      names = [n for n in names if parameters[n].kind is not _POSITIONAL]
    # What the run supplies or somebody will pass in a call has no value to show.
    shown = [n for n in names if _get(value, n) is not _EMPTY]
    return extra + shown
  return []


_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY


def _get(value, name: str):
  """The value one step down a path."""
  if isinstance(value, functools.partial):
    if name.isdigit():
      return value.args[int(name)]
    if name in value.keywords:
      return value.keywords[name]
    parameters = _signature(value.func)
    position = list(parameters).index(name)
    return value.args[position] if position < len(value.args) else (
      parameters[name].default)
  if isinstance(value, Mapping):
    return value[name]
  if isinstance(value, list | tuple) and not hasattr(value, '_fields'):
    return value[int(name)]
  return getattr(value, name)


# --- overriding -----------------------------------------------------------------


def override(value: Any, path: str, text: str) -> Any:
  """Returns a copy of a recipe with the text, parsed to its type, at a dotted path.

  Raises:
    UserError: naming the path, the nearest legal name, or the type wanted.
  """
  return _override(value, path.split('.'), text, '')


def _override(value, names, text, walked):
  name, *rest = names
  if inspect.isclass(value) or inspect.isfunction(value):
    value = functools.partial(value)
  legal = _settable(value)
  if name not in legal:
    where = f'{walked} ({_name(value)})' if walked else 'the experiment'
    if not legal:
      raise UserError(f'{where} is a plain value: it has no field {name!r}')
    raise UserError(f'{where} has no field {name!r}{nearest(name, legal)}')
  here = _join(walked, name)
  current = _get(value, name)
  if rest:
    new = _override(current, rest, text, here)
  else:
    new = parse(text, _annotation(value, name), current, here)
  try:
    return _replace(value, name, new)
  except (TypeError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f'{here}: {error}') from None


def _settable(value) -> list[str]:
  names = field_names(value)
  if isinstance(value, functools.partial):
    kinds = _signature(value.func)
    names += [n for n, p in kinds.items() if n not in names and p.kind not in _VARIADIC]
  return names


def _replace(value, name: str, new):
  if isinstance(value, functools.partial):
    args, position = list(value.args), list(_signature(value.func))
    index = int(name) if name.isdigit() else position.index(name)
    if index < len(args) and name not in value.keywords:
      args[index] = new
      return functools.partial(value.func, *args, **value.keywords)
    return functools.partial(value.func, *args, **value.keywords | {name: new})
  if isinstance(value, Mapping):
    return {**value, name: new}
  if hasattr(value, '_replace'):
    return value._replace(**{name: new})
  if isinstance(value, list | tuple):
    items = list(value)
    items[int(name)] = new
    return type(value)(items)
  if isinstance(value, _module_class()):
    return value.clone(**{name: new})
  return dataclasses.replace(value, **{name: new})


def _annotation(value, name: str):
  """The annotation of a field, or None where there is none that can be read."""
  target = value.func if isinstance(value, functools.partial) else type(value)
  try:
    hints = typing.get_type_hints(
      target.__init__ if inspect.isclass(target) and not dataclasses.is_dataclass(target)
      else target)
  except Exception:  # annotations of libraries may name what only they can import
    return None
  return hints.get(name)


def parse(text: str, annotation: Any, current: Any, path: str) -> Any:
  """Reads the text of a value as the type wanted.

  The type is that of the current value where it is a plain one, else what the
  annotation allows. Functions are written by the dotted name that imports them.

  Args:
    text: as typed by the user: `3e-4`, `(32, 64)`, `true`, `jax.nn.gelu`.
    annotation: of the parameter or field, or None.
    current: the value it has now.
    path: for the error.

  Raises:
    UserError: if the text is no such value.
  """
  try:
    literal = ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    literal = {'true': True, 'false': False, 'none': None}.get(text.lower(), text)
  wanted = _wanted(annotation, current)
  for kind in wanted:
    found, value = _fit(literal, text, kind)
    if found:
      return value
  names = ' or '.join(dict.fromkeys(_say(kind) for kind in wanted)) or 'no value'
  now = 'unset' if current is _EMPTY else _short(current)
  got = f'the {_say(type(literal))} {text!r}'
  raise UserError(f'{path}: wants {names} (now {now}), got {got}')


def _short(value) -> str:
  return repr(value) if _is_literal(value) else _name(value)


def _wanted(annotation, current) -> list[Any]:
  """The alternatives a value may be of, best first."""
  allowed = [] if annotation in (None, _EMPTY) else _alternatives(annotation)
  if current is _EMPTY or current is None:
    return allowed or list(_PLAIN)
  if isinstance(current, list | tuple) and not allowed:
    return [tuple]
  if isinstance(current, _PLAIN):
    # A library's "array-like" also allows bool and complex: keep to the kind it is.
    literals = [a for a in allowed if typing.get_origin(a) is typing.Literal]
    loose = [a for a in allowed if a in (types.NoneType, str, tuple, Callable)
             or typing.get_origin(a) in (tuple, collections.abc.Callable)]
    widest = [float] if isinstance(current, int) and float in allowed and not (
      isinstance(current, bool)) else []
    return [*literals, *([type(current)] if not literals or current not in {
      a for kind in literals for a in typing.get_args(kind)} else []), *widest, *loose]
  if callable(current) and not any(a in (int, float, str) for a in allowed):
    return [Callable, *([types.NoneType] if types.NoneType in allowed else [])]
  return allowed or [type(current)]


def _alternatives(annotation) -> list[Any]:
  if typing.get_origin(annotation) in (typing.Union, types.UnionType):
    return [a for arg in typing.get_args(annotation) for a in _alternatives(arg)]
  if annotation is Any:
    return [*_PLAIN, tuple, Callable]
  return [annotation]


def _fit(literal, text: str, kind) -> tuple[bool, Any]:
  """Whether a parsed literal is of a kind, and the value as that kind."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if origin is typing.Literal:
    return literal in arguments, literal
  if kind in (Callable, collections.abc.Callable) or (
    origin is collections.abc.Callable):
    function = _import(text)
    return callable(function), function
  if (origin or kind) in (tuple, list, collections.abc.Sequence):
    items = literal if isinstance(literal, list | tuple) else None
    if items is None:
      return False, None
    if arguments and arguments[-1] is Ellipsis:
      arguments = (arguments[0],) * len(items)
    elif arguments and origin is not tuple:
      arguments = arguments * len(items)
    if arguments and len(arguments) != len(items):
      return False, None
    fits = [
      next((f for a in _alternatives(wanted) if (f := _fit(item, str(item), a))[0]),
           (False, None))
      for item, wanted in zip(items, arguments or (Any,) * len(items), strict=True)
    ]
    return all(found for found, _ in fits), tuple(v for _, v in fits)
  if kind is bool or isinstance(literal, bool):
    return kind is bool and isinstance(literal, bool), literal
  if kind is float:
    return isinstance(literal, int | float), (
      float(literal) if isinstance(literal, int | float) else None)
  if kind is str:
    return True, literal if isinstance(literal, str) else text
  return inspect.isclass(kind) and isinstance(literal, kind), literal


def _import(text: str):
  """The function of a dotted name such as `jax.nn.gelu`, or None."""
  module, _, name = text.rpartition('.')
  try:
    return getattr(importlib.import_module(module or 'builtins'), name, None)
  except (ImportError, ValueError, TypeError):
    return None


def _say(kind) -> str:
  if typing.get_origin(kind) is typing.Literal:
    return ' or '.join(repr(a) for a in typing.get_args(kind))
  if kind is types.NoneType:
    return 'None'
  if kind is Callable or typing.get_origin(kind) is collections.abc.Callable:
    return "a function's dotted name, such as jax.nn.relu"
  if kind is jax.Array:
    return 'array'
  return str(kind) if typing.get_args(kind) else getattr(kind, '__name__', str(kind))
