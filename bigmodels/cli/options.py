"""The flags of run.py: common flags, flags of one mode, and overrides.

The flags of a mode are the keyword arguments of its `run`, as the knobs of an
experiment are those of its `config`. They are read from the text of its file, so that
the command line is checked before anything is imported.
"""

import ast
import contextlib
import itertools
import math
import os
import pathlib
import re
import sys
from typing import Any

from absl import flags, logging

from bigmodels.cli import help
from bigmodels.core import experiment_files, paths, plugin_files
from bigmodels.core.errors import UserError, nearest

MODES = plugin_files.names(pathlib.Path(__file__).resolve().parents[1] / 'modes')

flags.DEFINE_string('experiment', None, 'a name in experiments/ or the path of a .py '
                    'file; or the config.txt of a run')
flags.DEFINE_string('workdir', None, 'folder of the run; a new one under runs/ if left '
                    'out')
flags.DEFINE_string('mode', 'train', f'{", ".join(MODES)}, or the path of a .py file; '
                    'for the flags of a mode: --mode=NAME --help')
flags.DEFINE_string('data_dir', None, 'folder of TFDS datasets; $TFDS_DATA_DIR or '
                    "TFDS's own default if left out")
flags.DEFINE_string('cache_dir', paths.CACHE, 'folder of compiled programs and decoded '
                    'data that runs share')
flags.DEFINE_string('init_from', None, 'a workdir to read the initial parameters from; '
                    'the same as --config.init_from')
flags.DEFINE_enum('require_backend', None, ['cpu', 'gpu', 'tpu'], 'stop if JAX uses '
                  'another')
flags.DEFINE_string('mesh', None, 'devices along each axis, such as data:4,fsdp:2, '
                    'one of them -1 for the rest; instead of the one in the experiment')
flags.DEFINE_enum('parallel', 'jit', ['jit', 'pmap'], 'whether the compiler partitions '
                  'a step over the devices, or each runs one program')
flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0, where JAX does not '
                    'detect the cluster')
flags.DEFINE_integer('num_processes', None, 'of the run, with --coordinator')
flags.DEFINE_integer('process_id', None, 'of this one, from 0, with --coordinator')
flags.DEFINE_float('hang_timeout', 120, 'seconds without a message from another '
                   'process before this one ends', lower_bound=1)
flags.register_validator('hang_timeout', math.isfinite, 'must be a finite number')
flags.DEFINE_bool('trust', False, 'import and execute anything that a stored run '
                  'names, whether opened by --workdir, config.txt or classifier')
flags.DEFINE_bool('list', False, 'list the experiments')
flags.DEFINE_enum('completion', None, ['bash', 'zsh'], 'print what completes command '
                  'lines in a shell: eval "$(python run.py --completion=bash)"')

# Annotation of an argument of `run`, without `| None` -> how its flag is defined.
_DEFINE = {'str': flags.DEFINE_string, 'int': flags.DEFINE_integer,
           'float': flags.DEFINE_float, 'bool': flags.DEFINE_bool,
           'list[str]': flags.DEFINE_multi_string}


def split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """Separates `--config.PATH=VALUE` and `--config.PATH VALUE` from other arguments.

  Returns:
    The other arguments; and path -> text.

  Raises:
    UserError: for an override without a name or value, given twice, or not in UTF-8.
  """
  rest, overrides = [], {}
  arguments = iter(argv)
  for argument in arguments:
    try:
      argument.encode()
    except UnicodeEncodeError:
      raise UserError(f'{argument!r}: must be UTF-8') from None
    name, equals, value = argument.partition('=')
    if not name.startswith(('--config.', '-config.')) and name != '--config':
      rest.append(argument)
      continue
    path = name.lstrip('-').removeprefix('config').removeprefix('.')
    if not path:
      raise UserError(f'{argument}: name a knob or field, --config.NAME=VALUE')
    if not equals:
      value = next(arguments, '--')
      if value.startswith('--'):
        raise UserError(f'--config.{path}: must have a value, --config.{path}=VALUE')
    if overrides.setdefault(path, value) != value:
      raise UserError(f'--config.{path}: given twice, as {overrides[path]!r} and as '
                      f'{value!r}')
  return rest, overrides


def file_of(mode: str) -> pathlib.Path:
  """The file of a mode.

  Args:
    mode: a name in `bigmodels/modes/`, or the path of any `.py` file.

  Raises:
    UserError: if there is no such file.
  """
  return plugin_files.file_of(mode, MODES, flag='--mode', what='mode')


def of_mode(mode: str) -> flags.FlagValues:
  """The flags of one mode, from the signature and docstring of its `run`.

  Args:
    mode: see `file_of`.

  Raises:
    UserError: if its file has no `run`, or an argument of it cannot be a flag.
  """
  path = file_of(mode)
  run = _run_of(path)
  texts = experiment_files.arguments_of(ast.get_docstring(run) or '')
  found = flags.FlagValues()
  for argument, default in zip(run.args.kwonlyargs, run.args.kw_defaults, strict=True):
    name, annotation = argument.arg, argument.annotation
    kind = ast.unparse(annotation).removesuffix(' | None') if annotation else ''
    try:
      _DEFINE[kind](name, _default(kind, default), texts.get(name, ''),
                    flag_values=found)
    except (KeyError, ValueError):
      raise UserError(
        f'{path}, line {argument.lineno}: {name}: a flag must be annotated as one of '
        f'{", ".join(_DEFINE)}, or that | None, and have a literal default of that '
        'type') from None
    if name in flags.FLAGS or name == 'config':
      raise UserError(f'{path}, line {argument.lineno}: {name}: choose another name, '
                      'every mode has a flag with this one')
  return found


def _default(kind: str, default: ast.expr) -> Any:
  """The value of a literal, of the annotated type.

  Raises:
    ValueError: if it is not a literal, or of another type.
  """
  value = ast.literal_eval(default)
  types = {'str': str, 'int': int, 'float': float | int, 'bool': bool,
           'list[str]': list | tuple}[kind]
  if value is not None and (not isinstance(value, types) or (
    isinstance(value, bool) and kind != 'bool')):
    raise ValueError(value)
  return value


def _run_of(path: pathlib.Path) -> ast.FunctionDef:
  run = plugin_files.function_of(path, 'run')
  if run is None:
    raise UserError(f'{path}: a mode defines run(request)')
  if len(run.args.posonlyargs + run.args.args) != 1:
    raise UserError(f'{path}, line {run.lineno}: run must take one argument, request, '
                    'and its flags after a *: run(request, *, ...)')
  return run


def parse(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
  """Parses a command line without overrides.

  Returns:
    The arguments that are not flags, starting with the name of the program; and the
    flags of the mode.

  Raises:
    UserError: for an unknown flag, a wrong value, or a flag given twice.
    SystemExit: after --help.
  """
  known, own = flags.FLAGS, flags.FlagValues()
  try:
    argv = [argv[0], *known.read_flags_from_files(argv[1:], force_gnu=False)]
    mode = _given('mode', argv)
    mode = known['mode'].default if mode is None else mode
    own = of_mode(mode)
    known.append_flag_values(own)
    legal = [*flags_of_every_mode(), *map(own.__getitem__, own)]
    if {'--help', '-help', '-h', '--h'} & {*argv}:
      experiment = _given('experiment', argv)
      print(help.text(mode, file_of(mode), own, known, experiment, MODES), end='')
      sys.exit(0)
    rest = known(argv)
    for flag in legal:
      if flag.present > 1 and not isinstance(flag, flags.MultiFlag):
        raise UserError(f'--{flag.name}: given {flag.present} times')
  except SystemExit:
    sys.exit(0)  # after --help, where absl would exit with 1
  except flags.UnrecognizedFlagError as error:
    raise _unknown(error.flagname, [flag.name for flag in legal], argv) from None
  except flags.Error as error:
    raise UserError(str(error)) from None
  finally:
    known.remove_flag_values(name for name in own if name in known)
  if known.mode != mode:
    raise UserError(f'--mode={mode}: is the value of another flag; give each flag as '
                    '--NAME=VALUE')
  if known['verbosity'].using_default_value:
    logging.set_verbosity(logging.FATAL)  # our own errors report what matters
  return rest, {name: own[name].value for name in own}


def flags_of_every_mode() -> list[flags.Flag]:
  """The flags that do not depend on the mode."""
  return flags.FLAGS.get_key_flags_for_module(__name__)


def _given(flag: str, argv: list[str]) -> str | None:
  """The value of a flag, before the command line is parsed."""
  found = None
  for argument, following in zip(argv, [*argv[1:], None], strict=True):
    name, equals, value = argument.partition('=')
    if name in (f'--{flag}', f'-{flag}'):
      found = value if equals else following or found
  return found


def _settable(argv: list[str]) -> set[str]:
  """What --config.NAME may name, as far as files show it: fields, and knobs."""
  found, experiment = {*experiment_files.fields()}, _given('experiment', argv) or ''
  if experiment and not experiment.endswith('.txt'):
    described = experiment_files.describe(experiment_files.named(experiment))
    return found | {knob.name for knob in described.knobs}
  config = experiment or os.path.join(_given('workdir', argv) or '', 'config.txt')
  with contextlib.suppress(OSError, ValueError):
    found |= {*re.findall(r'^knob\.(\w+) =', pathlib.Path(config).read_text(),
                          re.MULTILINE)}
  return found


def _unknown(name: str, legal: list[str], argv: list[str]) -> UserError:
  if name.partition('.')[0] in _settable(argv):
    return UserError(f'--{name}: no such flag; --config.{name} sets it in the '
                     'experiment')
  if name in MODES:
    return UserError(f'--{name}: no such flag; did you mean --mode={name}?')
  others = {mode: [argument.arg for argument in _run_of(path).args.kwonlyargs]
            for mode, path in MODES.items()}
  modes = [f'--mode={mode}' for mode, names in others.items() if name in names]
  if modes:
    return UserError(f'--{name}: is a flag of {" and ".join(modes)} only')
  names = itertools.chain(['config'], legal, *others.values())
  return UserError(f'--{name}: no such flag{nearest(name, set(names))}')
