"""Imports of packages that another package imports, but that are not needed here."""

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
  """A module that is imported when it is first used."""

  __path__ = ()

  def __getattr__(self, name: str) -> Any:
    if name.startswith('__'):
      raise AttributeError(name)
    if sys.modules.get(self.__name__) is self:
      del sys.modules[self.__name__]
    return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def deferred(*names: str, annotations: Iterable[str] = ()) -> Iterator[None]:
  """Makes imports in this context import these modules when they are first used.

  Args:
    *names: dotted names, packages before the modules in them. Those that are imported
      already stay.
    annotations: attributes of these that are looked up when they are imported, but only
      in annotations.
  """
  given = {name: _Deferred(name) for name in names if name not in sys.modules}
  sys.modules.update(given)
  for name, module in given.items():
    vars(module).update(dict.fromkeys(annotations, Any))
    package, _, attribute = name.rpartition('.')
    if package in given:
      setattr(given[package], attribute, module)
  try:
    yield
  finally:
    for name, module in given.items():
      if sys.modules.get(name) is module:
        del sys.modules[name]
