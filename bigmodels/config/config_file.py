"""`config.txt`: a resolved experiment as text, and back."""

import inspect
import os
import pathlib
from collections.abc import Callable, Mapping

from bigmodels.config import literals, resolving, source, tree, trust
from bigmodels.config.literals import write
from bigmodels.config.resolving import Resolved, prefixed
from bigmodels.config.source import Source
from bigmodels.config.trust import Trust
from bigmodels.core import config_text, files
from bigmodels.core.errors import UserError, listed

_HEADER = """\
# A resolved experiment of bigmodels. To run it again:
#   python run.py --experiment=config.txt
# with something else in it, add --config.NAME=VALUE.
"""
_LAST = 'rules'  # the last lines of a text: one without these was cut off


def to_text(resolved: Resolved) -> str:
  """The resolved experiment, one `path = value` per line."""
  values = resolved.values()
  groups = [path.partition('.')[0] for path in values]
  lines = []
  for index, (path, text) in enumerate(values.items()):
    # A blank line around each group of several lines.
    before, group = groups[max(0, index - 1)], groups[index]
    if group != before and max(groups.count(before), groups.count(group)) > 1:
      lines.append('')
    lines.append(f'{path} = {text}')
  return _HEADER + '\n'.join(lines) + '\n'


def with_defaults(values: Mapping[str, str], resolved: Resolved) -> dict[str, str]:
  """The values, and what the experiment has by default, of settings that came later.

  Such a setting has what was before as its default: a number, a text, a function or
  None.

  Args:
    values: path -> text, of a `config.txt` that older code may have written.
    resolved: the experiment, of the code of today.
  """
  whole = any(path.partition('.')[0] == _LAST for path in values)
  defaults = dict(tree.defaults(resolved.experiment)) if whole else {}
  return dict(values) | {
    path: text for path, text in resolved.values().items()
    if path not in values and (defaults.get(path) == text or (
      whole and path.startswith('knob.')))}


def from_text(text: str, where: str, overrides: Mapping[str, str], *,
              copy: pathlib.Path | None = None, trusted: Trust | None = None,
              with_data: bool = True) -> Resolved:
  """Reads what `to_text` wrote, then applies the overrides.

  The experiment's `config` is called with the knobs of the text. The text takes
  precedence over the result, and overrides take precedence over both.

  Args:
    text: content of a `config.txt`. The names in it are checked before they are
      imported.
    where: where the text comes from, for errors.
    overrides: knob or dotted path -> text, as typed by the user.
    copy: folder with a copy of the experiment's code from the start of a run; used if
      the file has changed since.
    trusted: what may be executed besides the code of this checkout; None for what the
      user has run before on this machine.
    with_data: whether `config` must succeed. Otherwise, if it fails, the record is
      that of the text alone, which has no arrays.

  Raises:
    UserError: if the text and the file contradict each other, or the text names code
      that is not trusted.
  """
  trusted = trust.of_user() if trusted is None else trusted
  with prefixed(f'{where}: '):
    values = config_text.read(text)
    if 'experiment' not in values:
      raise UserError('no line `experiment = NAME`, so not a config.txt')
    code, notes = _stored_code(values['experiment'], copy, trusted)
    config = resolving.load(code)
    knobs = {k.removeprefix('knob.'): v for k, v in values.items()
             if k.startswith('knob.')}
    find_knobs = trust.finder(code.module, values, trusted, 'knob.')
    try:
      called = resolving.call(code, config, knobs, 'knob.', find_knobs)
    except UserError as error:
      if with_data or overrides:
        raise
      return _without_data(values, code, trusted, str(error))
    before = called.values()
    edits = {k: v for k, v in values.items() if before.get(k) != v
             and k != 'experiment' and not k.startswith('knob.')}
    trust.check_texts(values, before, _changed(config, knobs), trusted)
    find = trust.finder(code.module, values, trusted)
    resolved = resolving.edit(called, edits, find, '')
    whole = with_defaults(values, resolved)
    later = [path for path in whole if path not in values]
    if later:
      notes = [*notes, f'{where} has no {listed(later)}; the defaults are used']
    values = whole
    if resolved.values() != values:
      raise UserError(
        'it was edited, or the code of the experiment has changed since: '
        + config_text.differences(values, resolved.values()))
  typed = resolving.typed_names(code)
  turned = {k: v for k, v in overrides.items() if k in resolved.knobs}
  if turned:
    called = resolving.call(
      code, config, knobs | turned, '--config.',
      lambda text, path: (typed if path in turned else find_knobs)(text, path))
    now = called.values()
    # What the overridden knobs determine takes precedence over the text.
    resolved = resolving.edit(called, {k: v for k, v in edits.items()
                                       if before.get(k) == now.get(k)}, find)
  resolved = resolving.edit(
    resolved, {k: v for k, v in overrides.items() if k not in turned}, typed)
  return resolved._replace(notes=tuple(dict.fromkeys([*notes, *code.notes])))


def _without_data(values: Mapping[str, str], code: Source, trusted: Trust, why: str
                  ) -> Resolved:
  """The experiment of the text alone."""
  from bigmodels.config import stored

  trust.check_texts(values, {}, set(), trusted)
  lines = {k: v for k, v in values.items()
           if k != 'experiment' and not k.startswith('knob.')}
  knobs = {k.removeprefix('knob.'): literals.plain(v) for k, v in values.items()
           if k.startswith('knob.')}
  try:
    experiment = stored.read(lines, trust.finder(code.module, values, trusted))
  except (UserError, TypeError, ValueError) as error:
    raise UserError(f'{why} (and its config.txt alone does not determine the '
                    f'experiment: {error})') from error
  resolved = Resolved(values['experiment'], knobs, experiment, code, (
    f'its config() fails: {why}', 'opened without its data, from config.txt alone'))
  if resolved.values() != values:
    found = config_text.differences(values, resolved.values())
    raise UserError(f'{why} (and its config.txt alone does not determine the '
                    f'experiment: {found})')
  return resolved


def from_file(path: pathlib.Path, overrides: Mapping[str, str], *,
              copy: pathlib.Path | None, trusted: bool = False,
              with_data: bool = True) -> Resolved:
  """As `from_text`, for the file `config.txt`.

  The executed code is trusted from then on.

  Args:
    path: path of the file.
    overrides: knob or dotted path -> text, as typed by the user.
    copy: folder with a copy of the experiment's code, or None.
    trusted: whether any name in it may be imported and any code executed.
    with_data: see `from_text`.

  Raises:
    UserError: see `from_text`.
  """
  resolved = from_text(files.read_text(path), str(path), overrides, copy=copy,
                       trusted=trust.of_user(trusted), with_data=with_data)
  remember(resolved, all_lines=trusted or bool(overrides))
  return resolved


def remember(resolved: Resolved, *, all_lines: bool) -> None:
  """Trusts the code of an experiment on this machine.

  Args:
    resolved: the experiment that the user runs.
    all_lines: whether to trust, too, the names in its config that a stored config may
      not have.
  """
  trust.remember(trust.digests(
    resolved.source, resolved.values() if all_lines else {}))


def _changed(config: Callable, knobs: Mapping[str, str]) -> set[str]:
  """Texts of the knobs that differ from their defaults."""
  defaults = inspect.signature(config).parameters
  return {text for key, text in knobs.items() if text != write(defaults[key].default)}


def _stored_code(name: str, copy: pathlib.Path | None, trusted: Trust
                 ) -> tuple[Source, list[str]]:
  """The code of a stored run, and lines to print about it.

  It is the run's own copy if the file has changed since.

  Raises:
    UserError: if the code is neither part of this checkout nor trusted.
  """
  name, path = resolving.locate(name)
  now = source.read(name, path) if os.path.isfile(path) else None
  if copy is None or not os.path.isfile(copy / path.name):
    if now is None:
      raise resolving.absent(name)
    if path.parent == resolving.EXPERIMENTS or trusted.holds(now.digest):
      return now, []
    raise UserError(
      f'experiment: {path} has not been run on this machine in its present form; '
      f'{trust.HINT}')
  then = source.read(name, path, copy)
  changed = source.differences(then, now) if now else [f'{path} is gone']
  if not changed and (
    path.parent == resolving.EXPERIMENTS or trusted.holds(now.digest)):
    return now, []
  lines = '; '.join(changed)
  if trusted.holds(then.digest):
    return then, [f'{path.parent}: {lines}: this run is resumed with its own copy, '
                  f'{copy}'] if changed else []
  raise UserError(
    f'experiment: {copy / path.name} has not been run on this machine in its present '
    f'form{(changed and f", and differs from {path.parent} ({lines})") or ""}; '
    f'{trust.HINT}')


def kept_code(resolved: Resolved, copy: pathlib.Path) -> list[str]:
  """The differences between the code of an experiment and a run's copy, as lines.

  Args:
    resolved: the experiment.
    copy: folder of the copy.

  Raises:
    UserError: if a file there cannot be read.
  """
  code = resolved.source
  if not os.path.isfile(copy / code.path.name):
    return [f'{code.path.name} is not in {copy}']
  return source.differences(source.read(code.name, code.path, copy), code)
