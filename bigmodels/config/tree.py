"""Config trees: records, modules and `functools.partial`s, before they are built.

`functools.partial` is the config object: `inspect.signature` gives the names, types
and defaults of any library's function without a wrapper. A tree is completed with
values that only the run knows, flattened to text, and edited by path.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
import shlex
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from bigmodels.config.literals import (
  EMPTY,
  is_function,
  is_group,
  is_record,
  literal,
  parse,
  record_class,
  write,
)
from bigmodels.config.signatures import (
  VARIADIC,
  annotation_of,
  given_arguments,
  module_class,
  positional_names,
  signature,
)
from bigmodels.core.errors import UserError, nearest
from bigmodels.core.from_run import FROM_RUN

# --- completing -----------------------------------------------------------------


def complete(config: Any, run_context: Mapping[str, Callable[[], Any]]) -> Any:
  """Builds a config tree, supplying the required arguments that only the run knows.

  Innermost partials come first. A required argument whose name is in `run_context` is
  supplied, and so is one whose default is `FROM_RUN`. A partial with all its required
  arguments is then called; any other remains a function, for its caller to call. A
  partial in a field of a Linen module that is annotated as `Callable` also remains a
  function, for the module to call. A bare function that is given as an argument,
  such as a loss, is called by position: its required positional arguments are not
  supplied unless the run knows the first of them.

  Args:
    config: a partial, a function, a tuple of these, or any other value, which is kept.
    run_context: name -> a function that computes the value, called only if an argument
      needs it: `steps` (length of the run), `num_outputs` (of the model, from the
      labels), `mean` and `std` (of the training inputs, `[channels]`), and more; see
      `training.run_context`.
  """
  if isinstance(config, tuple) and is_group(config):
    return tuple(complete(c, run_context) for c in config)
  if not is_function(config):
    return config
  made, whole = _supply(config, run_context)
  if whole:
    return made()
  return made if made.args or made.keywords else made.func


def _supply(config, run_context, by_caller: Collection[str] = ()
            ) -> tuple[functools.partial, bool]:
  """A partial with arguments from the run, and whether it can be called.

  Args:
    config: a partial or a function.
    run_context: see `complete`.
    by_caller: names of arguments that the caller passes; they are not supplied.
  """
  made = config if isinstance(config, functools.partial) else functools.partial(config)
  positional = positional_names(made)
  made = functools.partial(
    made.func,
    *(_complete_argument(made, name, a, run_context)
      for name, a in itertools.zip_longest(positional[: len(made.args)], made.args)),
    **{k: _complete_argument(made, k, v, run_context)
       for k, v in made.keywords.items()})
  given = given_arguments(made)
  missing = [name for name, p in signature(made.func).items()
             if p.default is EMPTY and name not in given and p.kind not in VARIADIC]
  optional = [name for name, p in signature(made.func).items()
              if p.default is FROM_RUN and name not in given]
  supplied = {name: run_context[name]() for name in (*missing, *optional)
              if name in run_context and name not in by_caller}
  return functools.partial(made, **supplied), supplied.keys() >= {*missing} and bool(
    supplied or isinstance(config, functools.partial))


def _complete_argument(config: functools.partial, name: str | None, value, run_context):
  if isinstance(value, functools.partial) and inspect.isclass(config.func) and (
    issubclass(config.func, module_class())):
    annotation = annotation_of(config, name)
    either = [a for a in typing.get_args(annotation) if a is not type(None)]
    if len(either) == 1 and type(None) in typing.get_args(annotation):
      annotation, = either  # Callable | None
    if Callable in (annotation, typing.get_origin(annotation)):
      return _supply(value, run_context)[0]
  if inspect.isfunction(value):
    names = [name for name in positional_names(functools.partial(value))
             if signature(value)[name].default is EMPTY]
    if names and names[0] not in run_context:
      made, _ = _supply(value, run_context, by_caller=names)
      return made if made.keywords else value
  return complete(value, run_context)


# --- describing -----------------------------------------------------------------


def describe_fields(record: Any) -> Iterator[tuple[str, str]]:
  """As `describe`, without a line for the record itself."""
  for name in field_names(record):
    yield from describe(_get(record, name), name)


def describe(value: Any, path: str = '', inside: tuple[int, ...] = ()
             ) -> Iterator[tuple[str, str]]:
  """Flattens a config tree to (path, text) pairs, in stable order, with defaults.

  Args:
    value: a config tree.
    path: path of the value.
    inside: ids of the closure variables on the way to the value.
  """
  names = field_names(value)
  if literal(value) is not None:
    names = []
  if not names or (not isinstance(value, Mapping) and not is_group(value)):
    yield path, write(value)
  for name in names:
    yield from describe(_get(value, name), _join(path, name), inside)
  # Closures of one function differ in the variables they enclose.
  for name, cell in _enclosed(value):
    if id(cell) not in inside:
      yield from describe(cell, _join(path, name), (*inside, id(cell)))


def _enclosed(value) -> list[tuple[str, Any]]:
  function = value.func if isinstance(value, functools.partial) else value
  if not inspect.isfunction(function) or '<locals>' not in function.__qualname__:
    return []
  return sorted(inspect.getclosurevars(function).nonlocals.items())


def _join(path: str, name: Any) -> str:
  return f'{path}.{name}' if path else str(name)


def field_names(value: Any) -> list[str]:
  """The names of the fields of a value that are set."""
  if is_record(value) and dataclasses.is_dataclass(value):
    hidden = ('parent', 'name') if isinstance(value, module_class()) else ()
    return [f.name for f in dataclasses.fields(value) if f.name not in hidden]
  if is_record(value):
    return list(value._fields)
  if isinstance(value, Mapping):
    return [str(k) for k in value]
  if is_group(value):
    return [str(i) for i in range(len(value))]
  if isinstance(value, functools.partial):
    given, parameters = given_arguments(value), signature(value.func)
    # An argument that the run or a caller supplies has no value yet.
    shown = [n for n, p in parameters.items()
             if p.kind not in VARIADIC and (
               n in given or p.default not in (EMPTY, FROM_RUN))]
    return [n for n in given if n not in parameters] + shown
  return []


def defaults(value: Any, path: str = '') -> Iterator[tuple[str, str]]:
  """Flattens the numbers, texts, functions, and None that fields have by default.

  Args:
    value: a config tree.
    path: path of the value.

  Returns:
    (path, text) pairs, in the order of `describe`.
  """
  if literal(value) is not None:
    return
  function = value.func if isinstance(value, functools.partial) else type(value)
  known = signature(function) if is_record(value) or isinstance(
    value, functools.partial) else {}
  for name in field_names(value):
    default = known[name].default if name in known else EMPTY
    if isinstance(default, (bool, int, float, str, type(None), types.FunctionType)):
      yield _join(path, name), write(default)
    yield from defaults(_get(value, name), _join(path, name))


def named(value: Any, name: str, path: str = '') -> Iterator[tuple[str, Any]]:
  """The fields of one name, anywhere in a config tree: their paths and values.

  Args:
    value: a config tree.
    name: name of the fields.
    path: path of the value.
  """
  for field in field_names(value):
    found, where = _get(value, field), _join(path, field)
    if field == name:
      yield where, found
    else:
      yield from named(found, name, where)


def replaced(value: Any, path: str, new: Any) -> Any:
  """A copy of a config tree with another value of a field.

  Args:
    value: a config tree.
    path: dotted path of the field, which must exist.
    new: its new value.
  """
  name, _, rest = path.partition('.')
  return _replace(
    value, {name: replaced(_get(value, name), rest, new) if rest else new})


def argument_names(function: Callable) -> set[str]:
  """The names of the parameters of a function, or of a partial of one."""
  return {*signature(getattr(function, 'func', function))}


def _get(value, name: str):
  """The value of a field, EMPTY if it has none."""
  if isinstance(value, functools.partial):
    given = given_arguments(value)
    default = signature(value.func)[name].default if name not in given else None
    return given.get(name, EMPTY if default is FROM_RUN else default)
  if isinstance(value, Mapping):
    return next(item for key, item in value.items() if str(key) == name)
  return value[int(name)] if is_group(value) else getattr(value, name)


# --- overriding -----------------------------------------------------------------


def override(value: Any, path: str, text: str) -> Any:
  """Returns a copy of a config tree with a field set from text.

  Args:
    value: a config tree.
    path: dotted path of the field.
    text: text of its new value, parsed to its type.

  Raises:
    UserError: naming the path, and the nearest legal name or the type it must have.
  """
  return override_all(value, {path: text})


def override_all(value: Any, texts: Mapping[str, str],
                 find: Callable[[str, str], tuple[Any, str]] | None = None) -> Any:
  """As `override`, for several fields; a record is checked after all of them are set.

  If a function or record is replaced by another, arguments that both accept are kept.

  Args:
    value: a config tree.
    texts: dotted path -> text.
    find: finds the object of a dotted name; see `literals.parse`.

  Raises:
    UserError: see `override`.
  """
  tree: dict = {}
  for path, text in texts.items():
    branch = tree
    for name in path.split('.'):
      branch = branch.setdefault(name, {})
    branch[None] = text
  return _override(value, tree, '', find)


def _override(value, tree, walked, find):
  if not isinstance(value, functools.partial) and is_function(value):
    value = functools.partial(value)
  legal = _legal(value)
  changes = {}
  for name, branch in tree.items():
    if name not in legal:
      where = f'{walked} ({write(value)})' if walked else 'the experiment'
      raise UserError(f'{where} has no field {name!r}{nearest(name, legal)}' if legal
                      else f'{where} is a plain value: it has no field {name!r}')
    changes[name] = _change(
      _get(value, name), annotation_of(value, name), branch, _join(walked, name), find)
  with _blame(walked, legal):
    return _replace(value, changes)


def _legal(value) -> list[str]:
  """The names of the fields of a value that can be set."""
  names, is_made = field_names(value), isinstance(value, functools.partial)
  function = value.func if is_made else value
  return names + [
    n for n, p in signature(function).items() if n not in names and (
      p.kind not in VARIADIC)] * (is_made or is_function(value))


def _change(current, annotation, branch, path, find):
  """The value that replaces `current`."""
  record = type(current) if is_record(current) else record_class(annotation)
  new, deeper = current, {k: v for k, v in branch.items() if k is not None}
  if None in branch:
    try:
      new = parse(branch[None], annotation, current, path, find)
    except UserError as error:
      below = _below(record if current is None else current, branch[None], path)
      raise UserError(f'{error}{below}') from None
    if is_function(new):
      new = _keep_arguments(current, new)
  elif current is None and record:
    new = functools.partial(record)
  if deeper:
    new = _override(new, deeper, path, find)
  if record and is_function(new) and (is_record(current) or current is None):
    with _blame(path, deeper):
      return new()
  return new


def _below(value, text: str, path: str) -> str:
  """A hint of how the fields of a record are set, such as those of a call in `text`."""
  names = _legal(value)
  if literal(value) is not None or is_group(value) or not names:
    return ''
  try:
    call = ast.parse(text.strip(), mode='eval').body
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    call = None
  if not isinstance(call, ast.Call):
    return f'; its fields are {", ".join(f"--config.{path}.{n}=" for n in names)}'
  given = dict(zip(names, call.args, strict=False)) | {
    each.arg: each.value for each in call.keywords if each.arg}
  settings = {f'.{name}': str(getattr(item, 'value', ast.unparse(item)))
              for name, item in given.items()}
  function = ast.unparse(call.func)
  if function.rpartition('.')[2] != write(value).rpartition('.')[2]:
    settings = {'': function, **settings}
  elif is_record(value):  # fields that exclude each other, as those of a duration
    settings |= {f'.{name}': 'None' for name, p in signature(type(value)).items()
                 if p.default is None and name not in given and (
                   _get(value, name) is not None)}
  return '; set ' + ' '.join(
    f'--config.{path}{name}={shlex.quote(item)}' for name, item in settings.items())


def _keep_arguments(current, new):
  given = {}
  if isinstance(current, functools.partial):
    given = given_arguments(current)
  elif is_record(current):
    given = {name: _get(current, name) for name in field_names(current)}
  taken = {k: p for k, p in signature(new).items() if p.kind not in (
    *VARIADIC, inspect.Parameter.POSITIONAL_ONLY)}
  given = {k: v for k, v in given.items() if k in taken}
  return functools.partial(new, **given) if given else new


@contextlib.contextmanager
def _blame(path, fields):
  """Adds the path to the error of a record, which names only the field."""
  try:
    yield
  except UserError:
    raise
  except (TypeError, ValueError) as error:
    names_field = str(error).partition(':')[0].partition('.')[0] in fields
    raise UserError(_join(path, error) if names_field else f'{path}: {error}') from None


def _replace(value, changes: Mapping[str, Any]):
  if isinstance(value, functools.partial):
    given, positional = given_arguments(value) | changes, positional_names(value)
    names = [*positional, *map(str, range(len(positional), len(value.args)))]
    names = [n for n in names[: len(value.args)] if n not in value.keywords]
    keywords = {k: v for k, v in given.items() if k not in names}
    return functools.partial(value.func, *(given[n] for n in names), **keywords)
  if isinstance(value, Mapping):
    return {k: changes.get(str(k), item) for k, item in value.items()}
  if is_group(value):
    return type(value)(changes.get(str(i), item) for i, item in enumerate(value))
  if hasattr(value, '_replace'):
    return value._replace(**changes)
  if isinstance(value, module_class()):
    return value.clone(**changes)
  return dataclasses.replace(value, **changes)
