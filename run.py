"""Trains, evaluates or prints one experiment. See README.md.

  python run.py --list
  python run.py --experiment=digits_cnn
  python run.py --experiment=digits_cnn --config.learning_rate=3e-4 --workdir=runs/a
  python run.py --workdir=runs/a
  python run.py --mode=doctor
"""

import importlib
import math
import os
import pathlib
import re
import sys
import traceback

from bigmodels.hardware import releases

if __name__ == '__main__':
  problem = releases.unsupported()
  if problem:  # before an import that fails for it
    print(f'error: {problem}', file=sys.stderr)
    sys.exit(2)
  # Read when jaxlib is imported. '1' is what JAX sets, and processes inherit.
  if releases.logs_what_is_no_error() and (
    os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1'):
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

from bigmodels.core import console, paths

if __name__ == '__main__':
  console.keep()  # before a package holds on to a stream

from absl import app, flags, logging

from bigmodels.core.errors import UserError, nearest, of_callback, of_machine, shown

CODE = pathlib.Path(__file__).resolve().parent / 'bigmodels'
MODES = [p.stem for p in (CODE / 'modes').glob('[!_]*.py')]

flags.DEFINE_string('experiment', None, 'a name in experiments/ or the path of a .py '
                    'file; or the config.txt of a run')
flags.DEFINE_string('workdir', None, 'the folder of the run; a fresh one under runs/ '
                    'if left out')
flags.DEFINE_string('mode', 'train', ', '.join(sorted(MODES)))
flags.DEFINE_string('data_dir', None, 'where TFDS datasets are; $TFDS_DATA_DIR or '
                    "TFDS's own default if left out")
flags.DEFINE_string('cache_dir', '~/.cache/bigmodels', 'where compiled programs and '
                    'decoded data are kept from run to run')
flags.DEFINE_string('init_from', None, 'a workdir to take the parameters from; the '
                    'same as --config.init_from')
flags.DEFINE_enum('require_backend', None, ['cpu', 'gpu', 'tpu'], 'stop if JAX would '
                  'use another')
flags.DEFINE_string('mesh', None, 'devices along each axis, such as data:4,fsdp:2, '
                    'one of them -1 for the rest; instead of the one in the experiment')
flags.DEFINE_enum('parallel', 'jit', ['jit', 'pmap'], 'how a step is spread over the '
                  'devices: by the compiler, or one program on each')
flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0, where JAX does not '
                    'find the processes of a run by itself')
flags.DEFINE_integer('num_processes', None, 'of the run, with --coordinator')
flags.DEFINE_integer('process_id', None, 'of this one, from 0, with --coordinator')
flags.DEFINE_float('hang_timeout', 120, 'seconds without a word from another process '
                   'before this one ends', lower_bound=1)
flags.DEFINE_string('topology', None, 'with --mode=plan: TPUs not at hand, such as '
                    'v5e:4x4')
flags.DEFINE_multi_string('prompt', None, 'with --mode=sample: a text to go on from, '
                          'or to translate; may be given several times')
flags.DEFINE_string('prompt_file', None, 'with --mode=sample: a file with a prompt on '
                    'each line')
flags.DEFINE_integer('tokens', None, 'with --mode=sample: most tokens to write; 256, '
                     'or what there is room for, if left out')
flags.DEFINE_float('temperature', None, 'with --mode=sample: logits are divided by '
                   'it; 1 if left out, 0 takes the likeliest token')
flags.DEFINE_integer('top_k', None, 'with --mode=sample: draw from so many of the '
                     'likeliest tokens')
flags.DEFINE_float('top_p', None, 'with --mode=sample: draw from the fewest tokens '
                   'whose probabilities add up to this')
flags.DEFINE_integer('beams', None, 'with --mode=sample: hypotheses of a beam search, '
                     'which draws nothing')
flags.DEFINE_multi_string('stop', None, 'with --mode=sample: end before this text; may '
                          'be given several times')
flags.DEFINE_integer('samples', 1, 'with --mode=sample: texts for each prompt')
flags.DEFINE_integer('sample_seed', 0, 'with --mode=sample: seed of the draws')
flags.DEFINE_bool('trust', False, 'import and execute whatever a stored run names, '
                  'one that --workdir, config.txt or classifier opens')
flags.DEFINE_bool('list', False, 'list the experiments')


def read_overrides(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """Splits `--config.PATH=VALUE` and `--config.PATH VALUE` off a command line."""
  rest, overrides = _split(argv)
  return rest, dict(overrides)


def _split(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
  """As `read_overrides`, with all that is given of each."""
  rest, overrides = [], []
  arguments = iter(argv)
  for argument in arguments:
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
        raise UserError(f'--config.{path}: wants a value, --config.{path}=VALUE')
    overrides.append((path, value))
  return rest, overrides


def main(argv: list[str], overrides: dict[str, str]) -> None:
  FLAGS = flags.FLAGS
  if argv[1:]:
    raise UserError(f'{argv[1]!r}: wants flags, --NAME=VALUE; see --help')
  if FLAGS.list:
    from bigmodels.config import resolving

    names = resolving.summaries()
    for name, text in names.items():
      print(f'{name:{max(map(len, names))}}  {text}')
    return
  if FLAGS.mode not in MODES:
    raise UserError(f'--mode={FLAGS.mode}: no such mode{nearest(FLAGS.mode, MODES)}')
  cache_dir = _check_paths()
  if FLAGS.init_from:
    overrides = {**overrides, 'init_from': FLAGS.init_from}
  if not math.isfinite(FLAGS.hang_timeout):
    raise UserError(f'--hang_timeout={FLAGS.hang_timeout}: must be a finite number')

  try:
    from bigmodels.cli.request import Request, Sampling
    from bigmodels.distributed.cluster import Address
    from bigmodels.hardware import devices
    from bigmodels.parallel.sharding import MeshShape
  except ImportError as error:
    raise UserError(f'a package cannot be imported: {str(error).splitlines()[0]}; pip '
                    'install -r requirements.txt in a new virtual environment'
                    ) from error

  uncached = devices.prepare(cache_dir / 'xla')
  mesh = None if FLAGS.mesh is None else MeshShape.parse(FLAGS.mesh)
  data_dir = FLAGS.data_dir or os.environ.get('TFDS_DATA_DIR')
  if FLAGS.topology and FLAGS.mode != 'plan':
    raise UserError(f'--topology={FLAGS.topology}: only --mode=plan knows devices that '
                    'are not here')
  for name in Sampling._fields:
    if FLAGS[name].present and FLAGS.mode != 'sample':
      raise UserError(f'--{name}: only --mode=sample writes text')
  if uncached and FLAGS.mode not in ('print', 'shapes', 'doctor'):
    print(f'warning: --cache_dir={cache_dir}: {uncached}', flush=True)
  mode = importlib.import_module(f'bigmodels.modes.{FLAGS.mode}')
  mode.run(Request(
    FLAGS.experiment, overrides, FLAGS.workdir, data_dir, cache_dir,
    FLAGS.require_backend, mesh,
    FLAGS.parallel, Address(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id),
    FLAGS.hang_timeout, FLAGS.topology,
    Sampling(*(FLAGS[name].value for name in Sampling._fields)), FLAGS.trust))


def _check_paths() -> pathlib.Path:
  """Refuses paths that cannot be meant; returns the cache's."""
  FLAGS = flags.FLAGS
  try:
    os.getcwd().encode()
  except OSError as error:
    raise UserError(f'the folder that this was started in: {error.strerror}') from None
  for name in ('experiment', 'init_from', 'prompt_file'):
    if FLAGS[name].value is not None:
      paths.checked(FLAGS[name].value, f'--{name}')
  for name in ('workdir', 'data_dir'):
    if FLAGS[name].value is not None:
      paths.folder(FLAGS[name].value, f'--{name}')
  return paths.checked(FLAGS.cache_dir, '--cache_dir')


def _check_argv(argv: list[str]) -> None:
  """Refuses bytes that are not UTF-8."""
  for argument in argv:
    try:
      argument.encode()
    except UnicodeEncodeError:
      raise UserError(f'{argument!r}: must be UTF-8') from None


def _check_once(overrides: list[tuple[str, str]]) -> None:
  """Refuses what is given twice: the first would count for nothing, in silence."""
  for path, value in overrides:
    others = [v for p, v in overrides if p == path and v != value]
    if others:
      raise UserError(f'--config.{path}: given twice, as {value!r} and as '
                      f'{others[0]!r}')
  for flag in flags.FLAGS.get_key_flags_for_module(sys.modules[__name__]):
    if flag.present > 1 and not isinstance(flag, flags.MultiFlag):
      raise UserError(f'--{flag.name}: given {flag.present} times')


def _start(argv: list[str]) -> None:
  """Everything a user can mend ends here: one message on stderr, exit 2."""
  try:
    _check_argv(argv)
    argv, overrides = _split(argv)

    def checked(rest):
      _check_once(overrides)
      main(rest, dict(overrides))

    app.run(checked, argv, flags_parser=_parse)
  except UserError as error:
    _mendable(error)
  except Exception as error:
    if mendable := of_callback(error) or of_machine(error, CODE):
      _mendable(mendable)
    if not re.search('RESOURCE_EXHAUSTED|Out of memory', str(error)):  # of XLA
      raise
    print(f'error: out of memory: {str(error).splitlines()[0]} (--mode=plan tells what '
          'a run needs, and what would fit; what is saved stays)', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('stopped at once; what was saved before stays', file=sys.stderr)
    sys.exit(130)


def _mendable(error: UserError) -> None:
  if flags.FLAGS.is_parsed() and flags.FLAGS.verbosity > 0:
    traceback.print_exc()
  # What comes from data may have lines of its own; they cannot be taken for ours.
  first, *more = shown(str(error)).splitlines() or ['']
  print(f'error: {first}', file=sys.stderr)
  for line in more:
    print(f'  {line.removeprefix("  ")}', file=sys.stderr)
  sys.exit(2)


def _parse(argv: list[str]) -> list[str]:
  try:
    rest = flags.FLAGS(argv)
    if flags.FLAGS['verbosity'].using_default_value:
      logging.set_verbosity(logging.FATAL)  # what matters is said by our own errors
    return rest
  except SystemExit:
    sys.exit(0)  # --help, which absl takes for a failure
  except flags.UnrecognizedFlagError as error:
    here = flags.FLAGS.get_key_flags_for_module(sys.modules[__name__])
    known = ['config', *(flag.name for flag in here)]
    raise UserError(f'--{error.flagname}: no such flag'
                    f'{nearest(error.flagname, known)}') from None
  except flags.Error as error:
    raise UserError(str(error)) from None


if __name__ == '__main__':
  with console.complete():
    _start(sys.argv)
