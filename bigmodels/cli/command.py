"""The command line of run.py: runs a mode of an experiment, and sets the exit code."""

import importlib
import os
import pathlib
import re
import sys
import traceback
from types import ModuleType
from typing import Any

from absl import app, flags

from bigmodels.cli import completion, options
from bigmodels.cli.request import Request
from bigmodels.core import console, experiment_files, paths
from bigmodels.core.errors import UserError, escape_controls, of_callback, of_machine
from bigmodels.distributed.cluster import Address


@console.exit_if_lost()
def start(argv: list[str]) -> None:
  """Runs a command line. A `UserError` is printed as a message on stderr.

  Args:
    argv: the name of the program first.

  Raises:
    SystemExit: with 0 for success, 2 for a `UserError`, 130 for Ctrl-C.
    Exception: any other error.
  """
  own: dict[str, Any] = {}

  def parse(argv):
    rest, values = options.parse(argv)
    own.update(values)
    return rest

  if argv[1:2] == ['--complete']:
    print('\n'.join(completion.answers(' '.join(argv[2:]))))
    return
  try:
    argv, overrides = options.split(argv)
    app.run(lambda rest: main(rest, overrides, own), argv, flags_parser=parse)
  except UserError as error:
    _exit_with(error)
  except Exception as error:
    if user_error := of_callback(error) or of_machine(error, paths.CODE):
      _exit_with(user_error)
    if not re.search('RESOURCE_EXHAUSTED|Out of memory', str(error)):  # of XLA
      raise
    print(f'error: out of memory: {str(error).splitlines()[0]} (--mode=plan reports '
          'what a run needs, and what would fit; saved files are kept)',
          file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('stopped immediately; saved files are kept', file=sys.stderr)
    sys.exit(130)


def _exit_with(error: UserError) -> None:
  if flags.FLAGS.is_parsed() and flags.FLAGS.verbosity > 0:
    traceback.print_exc()
  # Lines that come from data are indented, to distinguish them from messages.
  first, *more = escape_controls(str(error)).splitlines() or ['']
  print(f'error: {first}', file=sys.stderr)
  for line in more:
    print(f'  {line.removeprefix("  ")}', file=sys.stderr)
  sys.exit(2)


def main(argv: list[str], overrides: dict[str, str], own: dict[str, Any]) -> None:
  """Runs a mode, or lists the experiments.

  Args:
    argv: the arguments of the command line that are not flags.
    overrides: knob or dotted path -> text.
    own: the flags of the mode.

  Raises:
    UserError: for an invalid path or flag, or an error in the mode.
  """
  FLAGS = flags.FLAGS
  if argv[1:]:
    raise UserError(f'{argv[1]!r}: must be a flag, --NAME=VALUE; see --help')
  if FLAGS.list:
    _list()
    return
  if FLAGS.completion:
    print(completion.script(FLAGS.completion), end='')
    return
  cache_dir = _check_paths()
  if FLAGS.init_from:
    overrides = {**overrides, 'init_from': FLAGS.init_from}
  mode, uncached = _load(FLAGS.mode, cache_dir)
  request = Request(
    experiment=FLAGS.experiment, overrides=overrides, workdir=FLAGS.workdir,
    data_dir=FLAGS.data_dir or os.environ.get('TFDS_DATA_DIR'), cache_dir=cache_dir,
    require_backend=FLAGS.require_backend,
    mesh=None if FLAGS.mesh is None else _mesh(FLAGS.mesh),
    parallel=FLAGS.parallel,
    address=Address(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id),
    hang_timeout=FLAGS.hang_timeout, trust=FLAGS.trust)
  if uncached and getattr(mode, 'USES_CACHE', True):
    print(f'warning: --cache_dir={cache_dir}: {uncached}', flush=True)
  mode.run(request, **own)


def _list() -> None:
  names = experiment_files.files()
  width = max(map(len, names))
  for name, path in names.items():
    found = experiment_files.describe(path)
    print(f'{name:{width}}  {found.summary}')
    if found.needs:
      print(f'{"":{width}}  needs {found.needs}')


def _mesh(text: str):
  from bigmodels.parallel.sharding import MeshShape

  return MeshShape.parse(text)


def _load(name: str, cache_dir: pathlib.Path) -> tuple[ModuleType, str | None]:
  """The mode, with JAX set up if it needs that; and why there is no cache, or None."""
  mode = uncached = None
  try:
    if name in options.MODES:
      mode = importlib.import_module(f'bigmodels.modes.{name}')
    if getattr(mode, 'USES_JAX', True):
      from bigmodels.hardware import devices

      uncached = devices.configure_jax(cache_dir / 'xla')
  except ImportError as error:
    raise UserError(f'a package cannot be imported: {str(error).splitlines()[0]}; pip '
                    'install -r requirements.txt in a new virtual environment'
                    ) from error
  return mode or _execute(name), uncached


def _execute(mode: str) -> ModuleType:
  from bigmodels.config import execution

  return execution.of_file(options.file_of(mode), package='modes')


def _check_paths() -> pathlib.Path:
  """Refuses paths that cannot be used; returns the path of the cache."""
  FLAGS = flags.FLAGS
  try:
    os.getcwd().encode()
  except OSError as error:
    raise UserError(f'the working directory: {error.strerror}') from None
  for name in ('experiment', 'init_from'):
    if FLAGS[name].value is not None:
      paths.checked(FLAGS[name].value, f'--{name}')
  for name in ('workdir', 'data_dir'):
    if FLAGS[name].value is not None:
      paths.folder(FLAGS[name].value, f'--{name}')
  return paths.checked(FLAGS.cache_dir, '--cache_dir')
