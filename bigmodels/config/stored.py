"""Reads the record of an experiment from `config.txt` alone, without calling `config`.

Used to open a finished run if `config` fails, because the data that it reads is gone.
Arrays become `StoredArray`s, which have only a shape.
"""

import ast
import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.config.experiment import Experiment
from bigmodels.config.literals import EMPTY, StoredArray
from bigmodels.core.errors import UserError

_ARRAY = re.compile(r'(\w+) array of shape (\([\d, ]*\)), crc32 [0-9a-f]{8}')


def read(values: Mapping[str, str], find: Callable[[str, str], tuple[Any, str]]
         ) -> Experiment:
  """Returns the record.

  Args:
    values: path -> text, without `experiment` and knobs.
    find: (dotted name, path) -> its object, EMPTY if there is none, and a hint; see
      `literals.parse`.

  Raises:
    UserError: for a value that its text does not determine, such as a closure.
  """
  tree: dict = {}
  for path, text in values.items():
    branch = tree
    for name in path.split('.'):
      branch = branch.setdefault(name, {})
    branch[None] = text
  return Experiment(**{name: _value(node, name, find) for name, node in tree.items()})


def _value(node: dict, path: str, find: Callable) -> Any:
  inside = {name: _value(branch, f'{path}.{name}', find)
            for name, branch in node.items() if name is not None}
  if None not in node:
    return tuple(inside.values()) if all(map(str.isdigit, inside)) else inside
  text = node[None]
  if array := _ARRAY.fullmatch(text):
    return StoredArray(text, np.dtype(array[1]), ast.literal_eval(array[2]))
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    pass
  if text in ('nan', 'inf', '-inf'):
    return float(text)
  found, hint = find(text, path)
  if found is EMPTY:
    raise UserError(f'{path}: {text} is not an object that can be imported{hint}')
  if not callable(found):
    return found  # a member of an enum
  args = [inside.pop(name) for name in [*inside] if name.isdigit()]
  if inspect.isclass(found) and _is_complete(found, inside):
    return found(*args, **inside)
  return functools.partial(found, *args, **inside) if args or inside else found


def _is_complete(kind: type, given: Mapping[str, Any]) -> bool:
  """Whether a class of records has all its required fields, so is one, not a partial.
  """
  if hasattr(kind, '_fields'):
    return {*given} == {*kind._fields}
  return dataclasses.is_dataclass(kind) and all(
    field.name in given or field.default is not dataclasses.MISSING
    or field.default_factory is not dataclasses.MISSING or not field.init
    for field in dataclasses.fields(kind) if field.name not in ('parent', 'name'))
