"""The text of --help: flags by group, those of a mode, the knobs of an experiment."""

import ast
import os
import pathlib
import shutil
import textwrap

from absl import flags

from bigmodels.core import experiment_files, paths

_GROUPS = {
  'the run': ('experiment', 'workdir', 'mode', 'init_from', 'trust'),
  'data and caches': ('data_dir', 'cache_dir'),
  'devices': ('require_backend', 'mesh', 'parallel'),
  'several processes': ('coordinator', 'num_processes', 'process_id', 'hang_timeout'),
  'help': ('list', 'completion')}
_EXAMPLES = """\
examples:
  python run.py --experiment=digits_cnn --config.learning_rate=3e-4 --workdir=runs/a
  python run.py --workdir=runs/a                    resumes
  python run.py --workdir=runs/a --mode=eval
  python run.py --mode=runs --workdir=runs          lists runs
  python run.py --experiment=digits_cnn --help      lists the knobs of an experiment
  python run.py --mode=sample --help                lists the flags of a mode
"""


def text(mode: str, path: pathlib.Path, own: flags.FlagValues, common: flags.FlagValues,
         experiment: str | None, modes: dict[str, pathlib.Path]) -> str:
  """The help for a command line.

  Args:
    mode: name of the mode, or path of its file.
    path: its file.
    own: its flags.
    common: the flags of every mode.
    experiment: value of --experiment, or None.
    modes: name -> file of every mode.
  """
  if experiment is not None and mode == 'train':
    return _experiment(experiment)
  parts = []
  if mode == 'train':
    width = max(map(len, modes))
    parts += [
      'Trains, evaluates or inspects one experiment.\n\n' + _EXAMPLES,
      'modes, each with flags of its own:\n' + ''.join(
        f'  {name:{width}}  {_summary(file)}\n' for name, file in modes.items())]
  else:
    parts.append(_docstring(path).strip() + '\n')
  if len(own):
    parts.append(f'flags of --mode={mode}:\n' + ''.join(_flag(own[n]) for n in own))
  for group, names in _GROUPS.items():
    parts.append(f'{group}:\n' + ''.join(_flag(common[name]) for name in names))
    if group == 'the run':
      parts[-1] += _wrapped(
        '--config.NAME=VALUE', 'sets a knob of the experiment, or a field of its '
        'record by path, such as --config.model.dropout')
  return '\n'.join(parts)


def _experiment(name: str) -> str:
  path = paths.expanded(name) if name.endswith('.py') else (
    experiment_files.files().get(name))
  if path is None or not os.path.isfile(path):
    return f'{name}: no such experiment; --list lists them\n'
  found = experiment_files.describe(path)
  lines = [f'{name}: {found.docstring or found.summary}\n\nknobs of {name}:\n']
  for knob in found.knobs:
    kind = f' ({knob.type})' if knob.type else ''
    default = f'default {knob.default}' if knob.default else 'must be given'
    notes = '; '.join(filter(None, (knob.help, default)))
    lines.append(_wrapped(f'--config.{knob.name}{kind}', notes))
  lines.append(f"""
Fields of the record are set by their paths, which --mode=print lists:
  python run.py --experiment={name} --mode=print
All flags: python run.py --help
""")
  return ''.join(lines)


def _docstring(path: pathlib.Path) -> str:
  return ast.get_docstring(ast.parse(path.read_bytes())) or path.stem


def _summary(path: pathlib.Path) -> str:
  first = ' '.join(_docstring(path).partition('\n\n')[0].split())
  return first.partition(': ')[2] or first


def _flag(flag: flags.Flag) -> str:
  name = f'--[no]{flag.name}' if flag.boolean else f'--{flag.name}'
  notes = [flag.help]
  if isinstance(flag, flags.MultiFlag):
    notes.append('may be given several times')
  elif flag.default not in (None, False):
    notes.append(f'default {flag.default}')
  return _wrapped(name, '; '.join(filter(None, notes)))


def _wrapped(name: str, help: str) -> str:
  width = max(60, min(100, shutil.get_terminal_size().columns))
  return textwrap.fill(f'{name}: {help}', width, initial_indent='  ',
                       subsequent_indent='      ', break_on_hyphens=False) + '\n'
