"""From a name and overrides to a resolved experiment, to text, and back."""

import ast
import contextlib
import inspect
import os
import pathlib
import re
import traceback
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bigmodels.config import Experiment, source, tree, trust
from bigmodels.config.literals import imported, write
from bigmodels.config.source import Source
from bigmodels.config.trust import Trust
from bigmodels.core import paths
from bigmodels.core.errors import UserError, nearest

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[2] / 'experiments'


class Resolved(NamedTuple):
  """An experiment with every override applied.

  Attributes:
    name: in `experiments/`, or the absolute path of another file.
    knobs: the arguments that its `config()` was called with, defaults included.
    experiment: the record that came of it.
    source: the code that made it.
    notes: what should be said about that code.
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
  code = source_of(name)
  return code.name, _execute(code)


def source_of(name: str) -> Source:
  """The code of an experiment, read and not executed.

  Args:
    name: see `load`.

  Raises:
    UserError: if there is no such file.
  """
  name, path = _locate(name)
  if not os.path.isfile(path):
    raise _absent(name, path)
  return source.read(name, path)


def _locate(name: str) -> tuple[str, pathlib.Path]:
  """The lasting name of an experiment, and where its file is, or would be."""
  if name.endswith('.py'):
    path = paths.checked(str(paths.resolved(name)), 'experiment')
    return path.stem if path.parent == EXPERIMENTS else str(path), path
  if not re.fullmatch(r'\w+', name):
    raise _absent(name, EXPERIMENTS / name)
  return name, EXPERIMENTS / f'{name}.py'


def _absent(name: str, path: pathlib.Path) -> UserError:
  if name.endswith('.py'):
    return UserError(f'there is no experiment {path}')
  return UserError(f'there is no experiment {name!r}{nearest(name, summaries())}')


def _execute(code: Source) -> Callable[..., Experiment]:
  """The `config` function of an experiment."""
  with _blame(code):
    module = source.execute(code)
  config = getattr(module, 'config', None)
  if not inspect.isfunction(config):
    raise UserError(
      f'{code.path}: an experiment defines config(**knobs) -> Experiment')
  return config


@contextlib.contextmanager
def _blame(code: Source):
  """Turns what an experiment's own code raises into one line that names the place."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    frames = [f for f in traceback.extract_tb(error.__traceback__)
              if code.place(f.filename)]
    message, place = error, f'{code.folder / code.path.name}'
    if frames:
      place = f'{frames[-1].filename}, line {frames[-1].lineno}'
    if isinstance(error, SyntaxError) and error.filename:
      message, place = error.msg, f'{error.filename}, line {error.lineno}'
    message = f'{type(error).__name__}: {message}'
    if isinstance(error, ModuleNotFoundError) and error.name:
      message += source.nearest_module(code, error.name)
    raise UserError(f'{place}: {message}') from error


@contextlib.contextmanager
def _prefix(text: str):
  try:
    yield
  except UserError as error:
    raise UserError(f'{text}{error}') from error


# --- resolving ------------------------------------------------------------------


_Find = Callable[[str, str], tuple[Any, str]]  # see `values.parse`


def resolve(name: str, overrides: Mapping[str, str]) -> Resolved:
  """Calls an experiment's `config` with its knobs set, then edits the result by path.

  Args:
    name: see `load`.
    overrides: knob or dotted path -> text, as the user has typed it.

  Raises:
    UserError: for a name that is not there or a value of the wrong type.
  """
  code = source_of(name)
  config, find = _execute(code), _typed(code)
  knobs = {k: v for k, v in overrides.items() if k in inspect.signature(
    config).parameters}
  resolved = _call(code, config, knobs, '--config.', find)
  return _edit(resolved, {k: v for k, v in overrides.items() if k not in knobs}, find)


def _typed(code: Source) -> _Find:
  """What finds the names that a user has typed, those beside the experiment too."""
  def find(text, path):
    beside = text.partition('.')[0] in code.beside
    return imported(f'{code.module}.{text}' if beside else text, path)
  return find


def _call(code: Source, config: Callable[..., Experiment], texts: Mapping[str, str],
          prefix: str, find: _Find) -> Resolved:
  """What `config` makes of knobs that are given as text."""
  variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  knobs = {k: p.default for k, p in inspect.signature(config).parameters.items()
           if p.kind not in variadic}
  with _blame(code):
    hints = typing.get_type_hints(config)
  with _prefix(prefix):
    for key, text in texts.items():
      if key not in knobs:
        raise UserError(f'{key}: no such knob{nearest(key, knobs)}')
      if knobs[key] is inspect.Parameter.empty or text != write(knobs[key]):
        knobs[key] = tree.parse(text, hints.get(key), knobs[key], key, find)
  lacking = [k for k, v in knobs.items() if v is inspect.Parameter.empty]
  if lacking:
    raise UserError(f'{code.name}: set --config.{lacking[0]}=..., it has no default')
  with _blame(code):
    experiment = config(**knobs)
  if not isinstance(experiment, Experiment):
    raise UserError(f'{code.path}: config() returned a {type(experiment).__name__}, '
                    'wants an Experiment')
  return Resolved(code.name, knobs, experiment, code, code.notes)


def _edit(resolved: Resolved, texts: Mapping[str, str], find: _Find,
          prefix: str = '--config.') -> Resolved:
  """Sets fields of the record by dotted path."""
  legal = {*resolved.knobs, *tree.field_names(resolved.experiment)}
  for path in texts:
    first = path.partition('.')[0]
    if first not in legal:
      raise UserError(f'{prefix}{path}: no knob or field {first!r}'
                      f'{nearest(first, legal)}')
  with _prefix(prefix):
    return resolved._replace(
      experiment=tree.override_all(resolved.experiment, texts, find))


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


def from_text(text: str, where: str, overrides: Mapping[str, str], *,
              copy: pathlib.Path | None = None, trusted: Trust | None = None
              ) -> Resolved:
  """Reads what `to_text` wrote, then applies the overrides.

  The experiment's file is called with the knobs of the text; where the text says
  something else than came of it, the text wins, and over both an override.

  Args:
    text: of a `config.txt`: what it names is checked before it is imported.
    where: the text is from, for errors.
    overrides: knob or dotted path -> text, as the user has typed it.
    copy: folder with a copy of the experiment's code, from when a run began; it is
      what counts where the file has changed since.
    trusted: what else than this checkout may be executed; None for what the user has
      run before on this machine.

  Raises:
    UserError: if the text and the file cannot be brought together, or the text asks for
      what is not trusted.
  """
  trusted = trust.of_user() if trusted is None else trusted
  with _prefix(f'{where}: '):
    wanted = read_values(text)
    if 'experiment' not in wanted:
      raise UserError('no line `experiment = NAME`, so not a config.txt')
    code, notes = _stored_code(wanted['experiment'], copy, trusted)
    config = _execute(code)
    knobs = {k.removeprefix('knob.'): v for k, v in wanted.items()
             if k.startswith('knob.')}
    of_knobs = trust.finder(code.module, wanted, trusted, 'knob.')
    called = _call(code, config, knobs, 'knob.', of_knobs)
    before = called.values()
    edits = {k: v for k, v in wanted.items() if before.get(k) != v
             and k != 'experiment' and not k.startswith('knob.')}
    trust.check_texts(wanted, before, _set(config, knobs), trusted)
    of_text = trust.finder(code.module, wanted, trusted)
    resolved = _edit(called, edits, of_text, '')
    if resolved.values() != wanted:
      raise UserError(
        'it was edited, or the code of the experiment has changed since: '
        + differences(wanted, resolved.values()))
  typed = _typed(code)
  turned = {k: v for k, v in overrides.items() if k in resolved.knobs}
  if turned:
    called = _call(
      code, config, knobs | turned, '--config.',
      lambda text, path: (typed if path in turned else of_knobs)(text, path))
    now = called.values()
    # What the knobs turned now determine is newer than what the text says.
    resolved = _edit(called, {k: v for k, v in edits.items()
                              if before.get(k) == now.get(k)}, of_text)
  resolved = _edit(
    resolved, {k: v for k, v in overrides.items() if k not in turned}, typed)
  return resolved._replace(notes=tuple(dict.fromkeys([*notes, *code.notes])))


def from_file(path: pathlib.Path, overrides: Mapping[str, str], *,
              copy: pathlib.Path | None, trusted: bool = False) -> Resolved:
  """As `from_text`, of a `config.txt`.

  What is executed is remembered as trusted.

  Args:
    path: of the file.
    overrides: knob or dotted path -> text, as the user has typed it.
    copy: folder with a copy of the experiment's code, or None.
    trusted: whether all that it asks for may be imported and executed.

  Raises:
    UserError: see `from_text`.
  """
  resolved = from_text(read(path), str(path), overrides, copy=copy,
                       trusted=trust.of_user(trusted))
  remember(resolved, all_lines=trusted or bool(overrides))
  return resolved


def remember(resolved: Resolved, *, all_lines: bool) -> None:
  """Counts what an experiment executes as trusted, on this machine, from now on.

  Args:
    resolved: what the user runs.
    all_lines: whether it may name what a stored config may not.
  """
  trust.remember(trust.digests(
    resolved.source, resolved.values() if all_lines else {}))


def _set(config: Callable, knobs: Mapping[str, str]) -> set[str]:
  """Texts of the knobs that are not at their defaults."""
  defaults = inspect.signature(config).parameters
  return {text for key, text in knobs.items() if text != write(defaults[key].default)}


def _stored_code(name: str, copy: pathlib.Path | None, trusted: Trust
                 ) -> tuple[Source, list[str]]:
  """The code that a stored run means, and what should be said about it.

  Its own copy is what it means, where the file has changed since. Nothing is executed
  that is neither of this checkout nor trusted.
  """
  name, path = _locate(name)
  now = source.read(name, path) if os.path.isfile(path) else None
  if copy is None or not os.path.isfile(copy / path.name):
    if now is None:
      raise _absent(name, path)
    if path.parent == EXPERIMENTS or trusted.holds(now.digest):
      return now, []
    raise UserError(
      f'experiment: {path} is code that has not been run on this machine as it is; '
      f'{_HINT}')
  then = source.read(name, path, copy)
  changed = source.differences(then, now) if now else [f'{path} is gone']
  if not changed and (path.parent == EXPERIMENTS or trusted.holds(now.digest)):
    return now, []
  said = '; '.join(changed)
  if trusted.holds(then.digest):
    return then, [f'{path.parent}: {said}: this run goes on with its own copy, {copy}'
                  ] if changed else []
  raise UserError(
    f'experiment: {copy / path.name} is code that has not been run on this machine as '
    'it is'
    f'{(changed and f", and not that of {path.parent} ({said})") or ""}; {_HINT}')


def kept_code(resolved: Resolved, copy: pathlib.Path) -> list[str]:
  """How the code of an experiment differs from what a run keeps, line by line."""
  code = resolved.source
  if not os.path.isfile(copy / code.path.name):
    return [f'{code.path.name} is not in {copy}']
  return source.differences(source.read(code.name, code.path, copy), code)


_HINT = 'if you trust this run, say --trust (this executes that code)'


def read(path: pathlib.Path) -> str:
  """The text of a `config.txt`.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    data = path.read_bytes()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror or error}') from error
  if data.startswith((b'\xff\xfe', b'\xfe\xff')):
    raise UserError(f'{path} cannot be read: it is UTF-16 or UTF-32; save it as UTF-8')
  try:
    text = data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = data[:error.start].count(b'\n') + 1
    raise UserError(f'{path} cannot be read: line {line} is not UTF-8') from error
  if '\0' in text:
    line = text[:text.index('\0')].count('\n') + 1
    raise UserError(f'{path} cannot be read: line {line} has a zero byte')
  return text


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
  """The first paths whose texts differ: `path: before -> after; ...`."""
  paths = [path for path in dict.fromkeys([*before, *after])
           if before.get(path) != after.get(path)]
  more = f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else ''
  return '; '.join(
    f'{path}: {before.get(path, "(absent)")} -> {after.get(path, "(absent)")}'
    for path in paths[:_SHOWN]) + more


_SHOWN = 8
