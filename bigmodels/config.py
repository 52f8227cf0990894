"""From a name and overrides to a resolved experiment, to text, and back."""

import ast
import importlib.util
import inspect
import pathlib
import re
import sys
import traceback
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bigmodels import recipes
from bigmodels.errors import UserError, nearest
from bigmodels.experiment import Experiment

EXPERIMENTS = pathlib.Path(__file__).resolve().parent.parent / 'experiments'


class Resolved(NamedTuple):
  """An experiment with every override applied.

  Attributes:
    name: in `experiments/`, or the absolute path of another file.
    knobs: the arguments that its `config()` was called with, defaults included.
    experiment: the record that came of it.
  """

  name: str
  knobs: Mapping[str, Any]
  experiment: Experiment

  def values(self) -> dict[str, str]:
    """Path -> text of everything that determines the run."""
    knobs = {f'knob.{k}': repr(v) for k, v in self.knobs.items()}
    return {'experiment': self.name} | knobs | dict(recipes.describe_fields(
      self.experiment))


# --- finding --------------------------------------------------------------------


def summaries() -> dict[str, str]:
  """Name -> first line of the docstring, of every file in `experiments/`."""
  found = {}
  for path in sorted(EXPERIMENTS.glob('[!_]*.py')):
    text = ast.get_docstring(ast.parse(path.read_text())) or ''
    found[path.stem] = text.partition('\n')[0]
  return found


def load(name: str) -> tuple[str, Callable[..., Experiment]]:
  """Returns the lasting name and the `config` function of an experiment.

  Args:
    name: of a file in `experiments/`, or the path of any `.py` file.

  Raises:
    UserError: if there is no such file, or it cannot be an experiment.
  """
  path = EXPERIMENTS / f'{name}.py'
  if name.endswith('.py'):
    path = pathlib.Path(name).expanduser().resolve()
    name = path.stem if path.parent == EXPERIMENTS else str(path)
  elif not re.fullmatch(r'\w+', name) or not path.is_file():
    hint = nearest(name, summaries())
    raise UserError(f'--experiment: there is no experiment {name!r}{hint}')
  if not path.is_file():
    raise UserError(f'--experiment: there is no file {path}')
  module_name = f'experiments.{path.stem}' if path.parent == EXPERIMENTS else path.stem
  if module_name in sys.modules and path.parent != EXPERIMENTS:
    module_name = f'experiment_{path.stem}'
  spec = importlib.util.spec_from_file_location(module_name, path)
  module = importlib.util.module_from_spec(spec)
  sys.modules[module_name] = module
  with _blame(path):
    spec.loader.exec_module(module)
  config = getattr(module, 'config', None)
  if not inspect.isfunction(config):
    raise UserError(f'{path}: an experiment defines config(**knobs) -> Experiment')
  return name, config


class _blame:
  """Turns what an experiment's own code raises into one line that names the place."""

  def __init__(self, path):
    self.path = path

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    if error is None or not isinstance(error, Exception) or kind is UserError:
      return
    lines = [f.lineno for f in traceback.extract_tb(trace)
             if f.filename == str(self.path)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [0])[-1]
    message = error.msg if isinstance(error, SyntaxError) else error
    raise UserError(
      f'{self.path}, line {line}: {kind.__name__}: {message}') from error


# --- resolving ------------------------------------------------------------------


def resolve(name: str, overrides: Mapping[str, str]) -> Resolved:
  """Calls an experiment's `config` with its knobs set, then edits the result by path.

  Args:
    name: see `load`.
    overrides: knob or dotted path -> text.

  Raises:
    UserError: for a name that is not there or a value of the wrong type.
  """
  name, config = load(name)
  parameters = inspect.signature(config).parameters
  hints = typing.get_type_hints(config)
  knobs = {k: p.default for k, p in parameters.items()}
  paths = {}
  for key, text in overrides.items():
    if key in parameters:
      try:
        knobs[key] = recipes.parse(text, hints.get(key), parameters[key].default, key)
      except UserError as error:
        raise UserError(f'--config.{error}') from None
    else:
      paths[key] = text
  lacking = [k for k, v in knobs.items() if v is inspect.Parameter.empty]
  if lacking:
    raise UserError(f'{name}: set --config.{lacking[0]}=..., it has no default')
  with _blame(pathlib.Path(inspect.getfile(config))):
    experiment = config(**knobs)
  if not isinstance(experiment, Experiment):
    raise UserError(f'{name}: config() returned a {type(experiment).__name__}, '
                    'wants an Experiment')
  return Resolved(name, knobs, _override(experiment, paths, knobs))


def _override(experiment, paths: Mapping[str, str], knobs) -> Experiment:
  legal = [*knobs, *recipes.field_names(experiment)]
  for path, text in paths.items():
    first = path.partition('.')[0]
    if first not in legal:
      raise UserError(
        f'--config.{path}: no knob or field {first!r}{nearest(first, legal)}')
    try:
      experiment = recipes.override(experiment, path, text)
    except UserError as error:
      raise UserError(f'--config.{error}') from None
  return experiment


# --- text -----------------------------------------------------------------------

_HEADER = """\
# A resolved experiment of bigmodels. To run it again:
#   python run.py --experiment=config.txt
"""


def to_text(resolved: Resolved) -> str:
  """The resolved experiment, one `path = value` a line."""
  lines, before = [], 'experiment'
  for path, text in resolved.values().items():
    group = path.partition('.')[0]
    lines += [''] if group != before and '.' in path else []
    before = group
    lines.append(f'{path} = {text}')
  return _HEADER + '\n'.join(lines) + '\n'


def from_text(text: str, where: str, overrides: Mapping[str, str]) -> Resolved:
  """Reads what `to_text` wrote, then applies the overrides.

  The experiment's file is called with the knobs of the text; where the text says
  something else than came of it, the text wins.

  Raises:
    UserError: if the text and the file cannot be brought together.
  """
  wanted = read_values(text)
  if 'experiment' not in wanted:
    raise UserError(f'{where}: no line `experiment = NAME`, so not a config.txt')
  name = wanted['experiment']
  knobs = {k.removeprefix('knob.'): v for k, v in wanted.items()
           if k.startswith('knob.')}
  resolved = resolve(name, {k: _unquote(v) for k, v in knobs.items()})
  now = resolved.values()
  # Longer paths last: replacing a function resets what hangs on it.
  for path in sorted(wanted, key=lambda p: p.count('.')):
    if path in now and now[path] != wanted[path] and not path.startswith('knob.'):
      experiment = _override(
        resolved.experiment, {path: _unquote(wanted[path])}, resolved.knobs)
      resolved = resolved._replace(experiment=experiment)
      now = resolved.values()
  if now != wanted:
    raise UserError(
      f'{where}: the code of experiment {name} has changed since; it differs in\n'
      + differences(wanted, now)
    )
  if not overrides:
    return resolved
  given = {k: _unquote(v) for k, v in knobs.items()}
  given |= {k: v for k, v in overrides.items() if k in resolved.knobs}
  paths = {k: v for k, v in overrides.items() if k not in resolved.knobs}
  fresh = resolve(name, given) if len(paths) < len(overrides) else resolved
  return fresh._replace(
    experiment=_override(fresh.experiment, paths, fresh.knobs))


def read_values(text: str) -> dict[str, str]:
  """Path -> text, of what `to_text` wrote."""
  lines = [line.partition(' = ') for line in text.splitlines()
           if ' = ' in line and not line.startswith('#')]
  return {path: value for path, _, value in lines}


def _unquote(text: str) -> str:
  """What a user would have typed for a value that was printed with `repr`."""
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
  return value if isinstance(value, str) else text


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> str:
  """One line for each path whose text differs: `path: before -> after`."""
  paths = dict.fromkeys([*before, *after])
  return '\n'.join(
    f'  {p}: {before.get(p, "(absent)")} -> {after.get(p, "(absent)")}'
    for p in paths
    if before.get(p) != after.get(p)
  )
