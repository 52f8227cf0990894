"""From a name and overrides to a resolved experiment, to text, and back."""

import ast
import contextlib
import importlib.util
import inspect
import pathlib
import re
import sys
import traceback
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cloudpickle

from bigmodels import recipes
from bigmodels.errors import UserError, nearest
from bigmodels.experiment import Experiment
from bigmodels.values import write

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
    knobs = {f'knob.{k}': write(v) for k, v in self.knobs.items()}
    return {'experiment': self.name} | knobs | dict(recipes.describe_fields(
      self.experiment))


# --- finding --------------------------------------------------------------------


def summaries() -> dict[str, str]:
  """Name -> first line of the docstring, of every file in `experiments/`."""
  found = {}
  for path in sorted(EXPERIMENTS.glob('[!_]*.py')):
    try:
      text = ast.get_docstring(ast.parse(path.read_bytes())) or ''
    except (SyntaxError, ValueError) as error:
      text = f'(cannot be read: {error})'
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
    if not path.is_file():
      raise UserError(f'there is no experiment {path}')
  elif not re.fullmatch(r'\w+', name) or not path.is_file():
    raise UserError(f'there is no experiment {name!r}{nearest(name, summaries())}')
  # A name that shadows no library and is the same in every run, for `config.txt`.
  module_name = 'experiments.' + re.sub(r'\W|^(?=\d)', '_', path.stem)
  spec = importlib.util.spec_from_file_location(module_name, path)
  module = importlib.util.module_from_spec(spec)
  sys.modules[module_name] = module
  cloudpickle.register_pickle_by_value(module)  # a worker could not import it
  with _blame(path):
    spec.loader.exec_module(module)
  config = getattr(module, 'config', None)
  if not inspect.isfunction(config):
    raise UserError(f'{path}: an experiment defines config(**knobs) -> Experiment')
  return name, config


@contextlib.contextmanager
def _blame(path: pathlib.Path):
  """Turns what an experiment's own code raises into one line that names the place."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__)
             if f.filename == str(path)]
    message, place = error, f'{path}, line {lines[-1]}' if lines else path
    if isinstance(error, SyntaxError) and error.filename:
      message, place = error.msg, f'{error.filename}, line {error.lineno}'
    message = f'{type(error).__name__}: {message}'
    raise UserError(f'{place}: {message}') from error


@contextlib.contextmanager
def _prefix(text: str):
  try:
    yield
  except UserError as error:
    raise UserError(f'{text}{error}') from error


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
  knobs = {k: v for k, v in overrides.items() if k in inspect.signature(
    config).parameters}
  resolved = _call(name, config, knobs, '--config.')
  return _edit(resolved, {k: v for k, v in overrides.items() if k not in knobs})


def _call(name: str, config: Callable[..., Experiment], texts: Mapping[str, str],
          prefix: str) -> Resolved:
  """What `config` makes of knobs that are given as text."""
  path = pathlib.Path(inspect.getfile(config))
  variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  knobs = {k: p.default for k, p in inspect.signature(config).parameters.items()
           if p.kind not in variadic}
  with _blame(path):
    hints = typing.get_type_hints(config)
  with _prefix(prefix):
    for key, text in texts.items():
      if key not in knobs:
        raise UserError(f'{key}: no such knob{nearest(key, knobs)}')
      if knobs[key] is inspect.Parameter.empty or text != write(knobs[key]):
        knobs[key] = recipes.parse(text, hints.get(key), knobs[key], key)
  lacking = [k for k, v in knobs.items() if v is inspect.Parameter.empty]
  if lacking:
    raise UserError(f'{name}: set --config.{lacking[0]}=..., it has no default')
  with _blame(path):
    experiment = config(**knobs)
  if not isinstance(experiment, Experiment):
    raise UserError(f'{path}: config() returned a {type(experiment).__name__}, '
                    'wants an Experiment')
  return Resolved(name, knobs, experiment)


def _edit(resolved: Resolved, paths: Mapping[str, str],
          prefix: str = '--config.') -> Resolved:
  """Sets fields of the record by dotted path."""
  legal = {*resolved.knobs, *recipes.field_names(resolved.experiment)}
  for path in paths:
    first = path.partition('.')[0]
    if first not in legal:
      raise UserError(f'{prefix}{path}: no knob or field {first!r}'
                      f'{nearest(first, legal)}')
  with _prefix(prefix):
    return resolved._replace(
      experiment=recipes.override_all(resolved.experiment, paths))


# --- text -----------------------------------------------------------------------

_HEADER = """\
# A resolved experiment of bigmodels. To run it again:
#   python run.py --experiment=config.txt
# with something else in it, add --config.NAME=VALUE.
"""


def to_text(resolved: Resolved) -> str:
  """The resolved experiment, one `path = value` a line."""
  values = resolved.values()
  groups = [path.partition('.')[0] for path in values]
  lines = []
  for index, (path, text) in enumerate(values.items()):
    # A blank line around whatever takes more than one.
    before, group = groups[max(0, index - 1)], groups[index]
    if group != before and max(groups.count(before), groups.count(group)) > 1:
      lines.append('')
    lines.append(f'{path} = {text}')
  return _HEADER + '\n'.join(lines) + '\n'


def from_text(text: str, where: str, overrides: Mapping[str, str]) -> Resolved:
  """Reads what `to_text` wrote, then applies the overrides.

  The experiment's file is called with the knobs of the text; where the text says
  something else than came of it, the text wins, and over both an override.

  Raises:
    UserError: if the text and the file cannot be brought together.
  """
  with _prefix(f'{where}: '):
    wanted = read_values(text)
    if 'experiment' not in wanted:
      raise UserError('no line `experiment = NAME`, so not a config.txt')
    name, config = load(wanted['experiment'])
    knobs = {k.removeprefix('knob.'): v for k, v in wanted.items()
             if k.startswith('knob.')}
    called = _call(name, config, knobs, 'knob.')
    before = called.values()
    edits = {k: v for k, v in wanted.items() if before.get(k) != v
             and k != 'experiment' and not k.startswith('knob.')}
    resolved = _edit(called, edits, '')
    if resolved.values() != wanted:
      raise UserError(
        'it was edited, or the code of the experiment has changed since; it differs '
        f'in\n{differences(wanted, resolved.values())}')
  turned = {k: v for k, v in overrides.items() if k in resolved.knobs}
  if turned:
    called = _call(name, config, knobs | turned, '--config.')
    now = called.values()
    # What the knobs turned now determine is newer than what the text says.
    resolved = _edit(called, {k: v for k, v in edits.items()
                              if before.get(k) == now.get(k)})
  return _edit(resolved, {k: v for k, v in overrides.items() if k not in turned})


def read(path: pathlib.Path) -> str:
  """The text of a `config.txt`.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    return path.read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'{path} cannot be read: {error}') from error


def read_values(text: str) -> dict[str, str]:
  """Path -> text, of what `to_text` wrote.

  Raises:
    UserError: with the number of a line that is no `path = value`.
  """
  values: dict[str, str] = {}
  for number, line in enumerate(text.splitlines(), 1):
    if not line.strip() or line.lstrip().startswith('#'):
      continue
    path, equals, value = (part.strip() for part in line.partition('='))
    if not (path and equals and value):
      raise UserError(
        f'line {number} is no `path = value`: {line.strip()[:80]!r}')
    if path in values:
      raise UserError(f'line {number}: {path} is there twice')
    values[path] = value
  return values


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> str:
  """One line for each path whose text differs: `path: before -> after`."""
  paths = dict.fromkeys([*before, *after])
  return '\n'.join(
    f'  {p}: {before.get(p, "(absent)")} -> {after.get(p, "(absent)")}'
    for p in paths
    if before.get(p) != after.get(p)
  )
