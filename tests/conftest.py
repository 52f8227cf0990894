"""What several tests share: the command line as a user has it, and the real data."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest
from absl import flags

from bigmodels.parallel import devices

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / 'shared'
devices.skip_absent_tpu()


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory) -> pathlib.Path:
  """One cache for the whole session: every program is compiled once."""
  return tmp_path_factory.mktemp('cache')


@pytest.fixture
def compiled_quickly():
  """Programs that run once: XLA spends no time on making them fast."""
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture
def parsed_flags():
  """Grain's worker processes are set up by flags."""
  before = flags.FLAGS.is_parsed()
  flags.FLAGS.mark_as_parsed()
  yield
  if not before:
    flags.FLAGS.unparse_flags()


@pytest.fixture
def command(cache_dir):
  """(flags) -> the arguments of a process of run.py, as a user would start it."""
  return lambda *flags: [
    sys.executable, str(ROOT / 'run.py'), f'--cache_dir={cache_dir}', *flags]


@pytest.fixture
def run_py(command, tmp_path):
  """(flags) -> the finished process of run.py, started in an empty folder."""

  def run(*flags: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
      command(*flags), capture_output=True, text=True, timeout=300, check=False,
      cwd=tmp_path, env=os.environ | {'JAX_PLATFORMS': 'cpu'}, **options)

  return run


@pytest.fixture(scope='session')
def shared_tfds() -> pathlib.Path:
  """Real TFDS datasets, where they are at hand."""
  if not (SHARED / 'tfds').is_dir():
    pytest.skip('the real datasets of ../shared/tfds are not here')
  return SHARED / 'tfds'


@pytest.fixture
def request_for(cache_dir):
  """(experiment, workdir, overrides) -> what a mode is asked for, in this process."""
  from bigmodels.request import Request

  devices.prepare(cache_dir / 'xla')

  def make(experiment, workdir=None, data_dir=None, require_backend=None, **overrides):
    return Request(
      experiment=None if experiment is None else str(experiment),
      overrides={k.replace('__', '.'): str(v) for k, v in overrides.items()},
      workdir=None if workdir is None else str(workdir),
      data_dir=None if data_dir is None else str(data_dir),
      cache_dir=cache_dir, require_backend=require_backend)

  return make


@pytest.fixture
def tiny() -> pathlib.Path:
  """An experiment file that trains in a second."""
  return ROOT / 'tests' / 'forks' / 'tiny.py'
