"""Signatures of functions and modules: their parameters and annotations."""

import functools
import inspect
import typing
from typing import Any

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def signature(function: Any) -> dict[str, inspect.Parameter]:
  """Returns the parameters by name; of a Linen module without `parent` and `name`."""
  try:
    parameters = dict(inspect.signature(function).parameters)
  except (TypeError, ValueError):  # some built-ins have none
    return {}
  if inspect.isclass(function) and issubclass(function, module_class()):
    parameters = {k: p for k, p in parameters.items() if k not in ('parent', 'name')}
  return parameters


def module_class() -> type:
  """Returns Linen's `Module`, whose import takes long."""
  import flax.linen as nn

  return nn.Module


def given_arguments(config: functools.partial) -> dict[str, Any]:
  """Returns the arguments of a partial, by name, or by position without one."""
  positional = positional_names(config)
  names = [*positional, *map(str, range(len(positional), len(config.args)))]
  return dict(zip(names, config.args, strict=False)) | config.keywords


def positional_names(config: functools.partial) -> list[str]:
  """Returns the names of the parameters that a call may give by position."""
  kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
  return [n for n, p in signature(config.func).items() if p.kind in kinds]


def annotation_of(value: Any, name: str) -> Any:
  """Returns the annotation of a field of a partial or record, or None."""
  target = value.func if isinstance(value, functools.partial) else type(value)
  parameter = signature(target).get(name)
  annotation = parameter.annotation if parameter else None
  if not isinstance(annotation, str):
    return annotation
  try:
    return typing.get_type_hints(
      target.__init__ if inspect.isclass(target) else target).get(name)
  except Exception:  # a library may name types that only it imports
    return None
