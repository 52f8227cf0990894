"""Converts values to text and back, for `config.txt` and `--config.NAME=VALUE`."""

import ast
import collections.abc
import contextlib
import dataclasses
import functools
import importlib
import inspect
import os
import sys
import types
import typing
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, nearest

EMPTY = inspect.Parameter.empty
_PLAIN = (types.NoneType, bool, int, float, bytes, str)
_WORDS = {'true': True, 'false': False, 'none': None,
          'nan': np.nan, 'inf': np.inf, '-inf': -np.inf}
# Public modules for functions that libraries define in private modules.
_PUBLIC = ('jax.nn', 'jax.numpy', 'jax.nn.initializers')


class StoredArray:
  """An array of which a config has only the text.

  Attributes:
    text: of the config.
    dtype, shape: of the array.
  """

  def __init__(self, text: str, dtype: np.dtype, shape: tuple[int, ...]):
    self.text, self.dtype, self.shape = text, dtype, shape

  def __len__(self):
    return self.shape[0]

  def __array__(self, dtype=None, copy=None):
    raise UserError(f'the run has only the shape of its {self.text}: its data is gone')


# --- to text --------------------------------------------------------------------


def is_group(value: Any) -> bool:
  """Whether a value is a plain list or tuple, not a record."""
  return isinstance(value, list | tuple) and not hasattr(value, '_fields')


def is_record(value: Any) -> bool:
  """Whether a value is an instance with named fields, such as a Flax module."""
  return not inspect.isclass(value) and (
    dataclasses.is_dataclass(value) or hasattr(value, '_fields'))


def is_function(value: Any) -> bool:
  """Whether a value is a function, a class, a named callable or a partial of one."""
  return isinstance(value, functools.partial) or (
    callable(value) and hasattr(value, '__name__') and hasattr(value, '__module__'))


def literal(value: Any) -> str | None:
  """The Python literal of a number, string, ... or a container of these; or None."""
  if type(value) in _PLAIN:
    return repr(value)
  if isinstance(value, np.generic):
    return literal(value.item())
  if isinstance(value, np.dtype):
    return repr(value.name)
  if isinstance(value, os.PathLike):
    return repr(os.fspath(value))
  if isinstance(value, Mapping):
    pairs = [(literal(k), literal(v)) for k, v in value.items()]
    texts = [None if None in pair else ': '.join(pair) for pair in pairs]
    left, right = '{', '}'
  elif is_group(value):
    texts = [literal(item) for item in value]
    left, right = '[]' if isinstance(value, list) else (
      '(', ',)' if len(value) == 1 else ')')
  else:
    return None
  return None if None in texts else f'{left}{", ".join(texts)}{right}'


def write(value: Any) -> str:
  """A value as text: a literal, a dotted name, or an array's dtype and checksum."""
  text = literal(value)
  if text is not None:
    return text
  if isinstance(value, StoredArray):
    return value.text
  if isinstance(getattr(value, 'dtype', None), np.dtype) and hasattr(value, 'shape'):
    array = np.asarray(value)
    data = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return f'{array.dtype} array of shape {array.shape}, crc32 {zlib.crc32(data):08x}'
  return dotted_name(value)


def dotted_name(value: Any) -> str:
  """The import name of a function, a class, or the class of a record."""
  value = value.func if isinstance(value, functools.partial) else value
  if not hasattr(value, '__name__') or not hasattr(value, '__module__'):
    member = getattr(value, 'name', None)  # of an enum
    if isinstance(member, str) and getattr(type(value), member, None) is value:
      return f'{dotted_name(type(value))}.{member}'
    value = type(value)
  qualname = getattr(value, '__qualname__', value.__name__)
  module = value.__module__ or 'builtins'
  parts = module.split('.')
  candidates = ['.'.join(parts[: n + 1]) for n in range(len(parts))]
  for candidate in sorted((*candidates, *_PUBLIC), key=lambda c: '._' in c):
    if getattr(sys.modules.get(candidate), qualname, None) is value:
      return f'{candidate}.{qualname}' if candidate != 'builtins' else qualname
  return f'{module}.{qualname}'


def plain(text: str) -> Any:
  """The value of a literal; the text itself if it is none."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


# --- from text ------------------------------------------------------------------


def parse(text: str, annotation: Any, current: Any, path: str,
          find: Callable[[str, str], tuple[Any, str]] | None = None) -> Any:
  """Parses the text of a value to the type of a parameter or field.

  The type is that of the current value if it is a plain value, else a type that the
  annotation allows. A function or class is given by its dotted name. For the dotted
  name of a record's class, the class is returned.

  Args:
    text: as typed by the user: `3e-4`, `(32, 64)`, `true`, `jax.nn.gelu`.
    annotation: annotation of the parameter or field, or None.
    current: its value, EMPTY if it has none.
    path: path of the parameter or field, for the error.
    find: (dotted name, path) -> the object of that name, EMPTY if there is none, and a
      hint for the error; None for `imported`, which imports any name.

  Raises:
    UserError: if the text does not have the type.
  """
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    value = _WORDS.get(text.lower(), text)
  kinds = _allowed(annotation, current)
  hint = ''
  # Any text is a valid str, so it is tried last.
  for kind in sorted(kinds, key=lambda k: k is str):
    if kind is str and hint and text.partition('.')[0] in sys.modules:
      break  # a misspelt name
    if _imports(kind):
      if value is text and (str not in kinds or '.' in text):
        named, hint = (find or imported)(text, path)
        if _suits(named, kind):
          return named
      continue
    found, fitted = _fit(value, text, kind)
    if found:
      return fitted
  names = ' or '.join(dict.fromkeys(map(_type_name, kinds))) or 'left unchanged'
  now = 'unset' if current is EMPTY else _short(write(current))
  got = _short(repr(text)) if value is text else _short(text) if value is None else (
    f'the {_type_name(type(value))} {_short(text)}')
  raise UserError(f'{path}: must be {names} (now {now}), got {got}{hint}')


def record_class(annotation: Any) -> Any:
  """The dataclass that an annotation such as `Monitor | None` allows, or None."""
  classes = [typing.get_args(kind)[0] for kind in _alternatives(annotation)
             if typing.get_origin(kind) is type]
  return classes[0] if len(classes) == 1 and dataclasses.is_dataclass(classes[0]) else (
    None)


def _allowed(annotation, current) -> list[Any]:
  """The types that a value may have, best first."""
  allowed = _alternatives(annotation)
  if current is EMPTY or current is None:
    return allowed or _alternatives(Any)
  if isinstance(current, _PLAIN):
    # A library's "array-like" also allows bool and complex: keep the current type.
    literals = [a for a in allowed if typing.get_origin(a) is typing.Literal]
    kinds = [*literals]
    if not any(current in typing.get_args(kind) for kind in literals):
      kinds.append(type(current))
    if type(current) is int and float in allowed:
      kinds.append(float)
    return kinds + [a for a in allowed if a in (types.NoneType, str, tuple, Callable)
                    or typing.get_origin(a) in (tuple, Callable, type)]
  if is_group(current) or isinstance(current, Mapping):
    return allowed if annotation is not Any and allowed else [
      tuple if is_group(current) else dict]
  optional = [types.NoneType] if types.NoneType in allowed and (
    annotation is not Any) else []
  if isinstance(current, os.PathLike):
    return [*optional, type(current)]
  if is_record(current):
    records = [a for a in allowed if typing.get_origin(a) is type]
    return [*(records or [type[Any]]), *optional]
  if is_function(current) and not {int, float, str} & {a for a in allowed
                                                       if inspect.isclass(a)}:
    return [Callable, *optional]
  return allowed or [type(current)]


def _alternatives(annotation) -> list[Any]:
  if annotation in (None, EMPTY):
    return []
  if typing.get_origin(annotation) in (typing.Union, types.UnionType):
    return list(dict.fromkeys(
      a for arg in typing.get_args(annotation) for a in _alternatives(arg)))
  if annotation is Any:
    return [*_PLAIN, tuple, dict, Callable]
  if typing.get_origin(annotation) is collections.abc.Callable or (
    annotation is typing.Callable):
    return [Callable]
  if inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
    return [type[annotation]]
  return [annotation]


def _fit(value, text: str, kind) -> tuple[bool, Any]:
  """Whether a literal has a type, and the value converted to that type."""
  origin = typing.get_origin(kind) or kind
  if origin is typing.Literal:
    if text in typing.get_args(kind):  # 'none' may be one of the choices
      return True, text
    return (type(value), value) in [(type(a), a) for a in typing.get_args(kind)], value
  if origin in (dict, Mapping):
    if not isinstance(value, dict):
      return False, None
    of_keys, of_items = typing.get_args(kind) or (Any, Any)
    keys, items = _fit_items(list(value), of_keys), _fit_items(value.values(), of_items)
    return keys[0] and items[0], dict(zip(keys[1], items[1], strict=True))
  if origin in (tuple, list, collections.abc.Sequence):
    of = typing.get_args(kind) or (Any, ...)
    if not isinstance(value, list | tuple):
      return False, None
    if origin is not tuple or of[1:] == (Ellipsis,):
      return _fit_items(value, of[0])
    fits = [_fit_items([v], k) for v, k in zip(value, of, strict=False)]
    return len(of) == len(value) and all(f[0] for f in fits), tuple(
      f[1][0] for f in fits)
  if kind is float and type(value) is int:
    fits = abs(value) < 2**1023
    return fits, float(value) if fits else None
  if kind is str:
    return True, value if isinstance(value, str) else text
  if inspect.isclass(kind) and issubclass(kind, os.PathLike):
    return isinstance(value, str), kind(str(value))
  return kind in _PLAIN and type(value) is kind, value


def _fit_items(items, annotation) -> tuple[bool, tuple]:
  """As `_fit`, for items of a container that share one annotation."""
  if annotation is Any:
    return True, tuple(items)
  kinds = _alternatives(annotation)
  fits = [next((fit for kind in kinds if (kind is not str or isinstance(item, str))
                and (fit := _fit(item, '', kind))[0]), (False, None)) for item in items]
  return all(found for found, _ in fits), tuple(fitted for _, fitted in fits)


def _imports(kind) -> bool:
  """Whether values of a type are given by dotted names."""
  return kind is Callable or typing.get_origin(kind) is type or (
    inspect.isclass(kind) and kind not in _PLAIN and not typing.get_origin(kind)
    and not issubclass(kind, tuple | list | dict | os.PathLike))


def _suits(value, kind) -> bool:
  try:
    if kind is Callable:
      return callable(value) and value is not EMPTY
    if typing.get_origin(kind) is type:
      base = typing.get_args(kind)[0]
      return inspect.isclass(value) and value is not EMPTY and (
        base is Any or issubclass(value, base))
    return isinstance(value, kind)
  except TypeError:  # a protocol without runtime checks
    return False


def imported(text: str, path: str = '') -> tuple[Any, str]:
  """Imports the object of a dotted name such as `jax.nn.gelu`.

  This executes code, so use it only for names that the user has typed.

  Returns:
    The object, EMPTY if there is none; and a hint for the error, which may be ''.
  """
  del path
  first, *rest = (text if '.' in text else f'builtins.{text}').split('.')
  if not all(map(str.isidentifier, (first, *rest))):
    return EMPTY, ''
  try:
    value, module = importlib.import_module(first), first
    for name in rest:
      # Attributes first: a package may export a function under its module's name.
      if not hasattr(value, name) and module in sys.modules:
        value = sys.modules[module]
      module = f'{module}.{name}'
      if not hasattr(value, name) and inspect.ismodule(value):
        with contextlib.suppress(ModuleNotFoundError):
          value = importlib.import_module(module)
          continue
      value = getattr(value, name)
    return value, ''
  except AttributeError as error:
    place = getattr(error.obj, '__name__', error.obj)
    close = nearest(error.name, [n for n in dir(error.obj) if not n.startswith('_')])
    return EMPTY, f'; {place} has no {error.name!r}' + close * ('mean' in close)
  except ImportError as error:
    return EMPTY, f'; {error}' if '.' in text else ''
  except Exception as error:  # anything that a module raises
    return EMPTY, f'; importing it raised {type(error).__name__}: {error}'


def _type_name(kind) -> str:
  origin = typing.get_origin(kind)
  if origin is typing.Literal:
    return ' or '.join(repr(a) for a in typing.get_args(kind) or (Any, Any))
  if kind is types.NoneType:
    return 'None'
  if origin is Mapping:
    keys, items = (_type_name(a) for a in typing.get_args(kind) or (Any, Any))
    return f'a map {{{keys}: {items}}}'
  if kind is Callable:
    return "a function's dotted name, such as jax.nn.relu"
  if origin is type:
    base = typing.get_args(kind)[0]
    return "a class's dotted name" if base is Any else dotted_name(base)
  return str(kind) if origin else getattr(kind, '__name__', str(kind))


def _short(text: str) -> str:
  return text if len(text) <= 80 else f'{text[:77]}...'
