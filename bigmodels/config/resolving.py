"""From the name of an experiment and overrides to a resolved experiment."""

import contextlib
import inspect
import os
import pathlib
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from bigmodels.config import Experiment, execution, source, tree
from bigmodels.config.literals import EMPTY, imported, parse, write
from bigmodels.config.source import Source
from bigmodels.core import paths
from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.core.experiment_files import EXPERIMENTS, summaries

Find = Callable[[str, str], tuple[Any, str]]  # see `literals.parse`


class Resolved(NamedTuple):
  """An experiment with every override applied.

  Attributes:
    name: name in `experiments/`, or the absolute path of another file.
    knobs: the arguments of its `config()`, including defaults.
    experiment: the record that it returned, as overridden.
    source: its code.
    notes: lines to print about that code.
  """

  name: str
  knobs: Mapping[str, Any]
  experiment: Experiment
  source: Source
  notes: tuple[str, ...] = ()

  def values(self) -> dict[str, str]:
    """Path -> text of everything that determines the run."""
    knobs = {f'knob.{k}': write(v) for k, v in self.knobs.items()}
    return {'experiment': self.name} | knobs | dict(tree.describe_fields(
      self.experiment))


# --- finding --------------------------------------------------------------------


def locate(name: str) -> tuple[str, pathlib.Path]:
  """Finds the file of an experiment.

  Args:
    name: name of a file in `experiments/`, or the path of any `.py` file.

  Returns:
    The name, independent of the working directory; and the path, whether or not the
    file exists.

  Raises:
    UserError: if the name is not valid.
  """
  if name.endswith('.py'):
    path = paths.checked(str(paths.resolved(name)), 'experiment')
    return path.stem if path.parent == EXPERIMENTS else str(path), path
  if not re.fullmatch(r'\w+', name):
    raise absent(name)
  return name, EXPERIMENTS / f'{name}.py'


def absent(name: str) -> UserError:
  """The error for an experiment without a file."""
  return UserError(f'there is no experiment {name}' if name.endswith('.py') else
                   f'there is no experiment {name!r}{nearest(name, summaries())}')


def source_of(name: str) -> Source:
  """Reads the code of an experiment, without executing it.

  Args:
    name: see `locate`.

  Raises:
    UserError: if there is no such file.
  """
  name, path = locate(name)
  if not os.path.isfile(path):
    raise absent(name)
  return source.read(name, path)


def load(code: Source) -> Callable[..., Experiment]:
  """Executes the code of an experiment and returns its `config` function.

  Raises:
    UserError: if that fails, or there is no such function.
  """
  config = getattr(execution.execute(code), 'config', None)
  if not inspect.isfunction(config):
    raise UserError(
      f'{code.path}: an experiment defines config(**knobs) -> Experiment')
  return config


# --- resolving ------------------------------------------------------------------


def resolve(name: str, overrides: Mapping[str, str]) -> Resolved:
  """Calls an experiment's `config` with its knobs, then sets fields of the result.

  Args:
    name: see `locate`.
    overrides: knob or dotted path -> text, as typed by the user.

  Raises:
    UserError: for an unknown name or a value of the wrong type.
  """
  code = source_of(name)
  config, find = load(code), typed_names(code)
  knobs = {k: v for k, v in overrides.items() if k in inspect.signature(
    config).parameters}
  resolved = call(code, config, knobs, '--config.', find)
  return edit(resolved, {k: v for k, v in overrides.items() if k not in knobs}, find)


def typed_names(code: Source) -> Find:
  """Finds names typed by the user, including those of modules beside the experiment."""
  def find(text, path):
    beside = text.partition('.')[0] in code.beside
    return imported(f'{code.module}.{text}' if beside else text, path)
  return find


def call(code: Source, config: Callable[..., Experiment], texts: Mapping[str, str],
         prefix: str, find: Find) -> Resolved:
  """Calls `config` with knobs that are given as text.

  Args:
    code: code of the experiment.
    config: its `config` function.
    texts: knob -> text.
    prefix: prefix of the names of knobs in errors.
    find: see `literals.parse`.

  Raises:
    UserError: for an unknown knob, a text of the wrong type, or an error in `config`.
  """
  variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  knobs = {k: p.default for k, p in inspect.signature(config).parameters.items()
           if p.kind not in variadic}
  given = []
  with execution.blamed(code):
    hints = typing.get_type_hints(config)
  with prefixed(prefix):
    for key, text in texts.items():
      if key not in knobs:
        raise UserError(f'{key}: no such knob{nearest(key, knobs)}')
      if knobs[key] is EMPTY or text != write(knobs[key]):
        knobs[key] = parse(text, hints.get(key), knobs[key], key, find)
        given.append(f'{prefix}{key}={one_line(text, 80)}')
  missing = [k for k, v in knobs.items() if v is EMPTY]
  if missing:
    raise UserError(f'{code.name}: set --config.{missing[0]}=..., it has no default')
  # A value may be out of range only for what `config` makes of it.
  with execution.blamed(code, f' (with {listed(given)})' if given else ''):
    try:
      experiment = config(**knobs)
    except ValueError as error:  # `raise ValueError('knob: what is wrong')` in it
      if str(error).partition(': ')[0] in knobs:
        raise UserError(f'{prefix}{error}') from error
      raise
  if not isinstance(experiment, Experiment):
    raise UserError(f'{code.path}: config() must return an Experiment, got a '
                    f'{type(experiment).__name__}')
  return Resolved(code.name, knobs, experiment, code, code.notes)


def edit(resolved: Resolved, texts: Mapping[str, str], find: Find,
         prefix: str = '--config.') -> Resolved:
  """Sets fields of the record.

  Args:
    resolved: the experiment.
    texts: dotted path -> text.
    find: see `literals.parse`.
    prefix: prefix of the paths in errors.

  Raises:
    UserError: for an unknown path or a text of the wrong type.
  """
  legal = {*resolved.knobs, *tree.field_names(resolved.experiment)}
  for path in texts:
    first = path.partition('.')[0]
    if first not in legal:
      raise UserError(f'{prefix}{path}: no knob or field {first!r}'
                      f'{nearest(first, legal)}')
  with prefixed(prefix):
    return resolved._replace(
      experiment=tree.override_all(resolved.experiment, texts, find))


@contextlib.contextmanager
def prefixed(text: str) -> Iterator[None]:
  """Adds a prefix to the message of any `UserError` raised inside.

  Raises:
    UserError: with the prefix.
  """
  try:
    yield
  except UserError as error:
    raise UserError(f'{text}{error}') from error
