"""What several tests share: the tiers, the command line as a user has it, real data."""

import collections
import gc
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import pytest
from absl import flags

from bigmodels.hardware import devices
from tests import slices

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / 'shared'
DESELECTED = pytest.StashKey[dict]()
devices.skip_absent_tpu()
# What tests run is not trusted for good.
_STATE = tempfile.TemporaryDirectory()
os.environ['XDG_STATE_HOME'] = _STATE.name
# Most programs of tests run once: they are compiled with few optimizations, in less
# time, and so are those of the processes that tests start.
XLA_FLAGS = ['--xla_llvm_disable_expensive_passes=true']
if jax.__version_info__ < (0, 11):
  XLA_FLAGS += ['--xla_backend_optimization_level=0',
                '--xla_cpu_use_fusion_emitters=false']  # a choice that later ones lack
else:  # at level 0 jaxlib 0.12.0.1 computes changes of hue wrongly
  XLA_FLAGS += ['--xla_backend_optimization_level=1']
os.environ['XLA_FLAGS'] = ' '.join([*XLA_FLAGS, os.environ.get('XLA_FLAGS', '')])


def pytest_addoption(parser):
  parser.addoption('--slice', metavar='K/N', help='of the tests that are selected, '
                   'every N-th file or slow test, from the K-th')


@pytest.hookimpl(trylast=True)  # when -m has selected
def pytest_collection_modifyitems(config, items):
  if config.getoption('slice') is not None:
    items[:], left = slices.share(items, config.getoption('slice'))
    if left:
      config.hook.pytest_deselected(items=left)


def pytest_collection_finish():
  """Collects garbage less often: tracing makes objects by the million."""
  gc.collect()
  gc.freeze()
  gc.set_threshold(50_000, 20, 50)


def pytest_deselected(items):
  """Counts the slow tests that are left out, by their kind."""
  left = items[0].config.stash.setdefault(DESELECTED, collections.Counter())
  left.update(mark.args[0] for item in items
              if (mark := item.get_closest_marker('slow')))


def pytest_sessionfinish(session):
  if hasattr(session.config, 'workeroutput'):  # xdist: only its workers know
    session.config.workeroutput['left'] = dict(session.config.stash.get(DESELECTED, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
  if left := getattr(node, 'workeroutput', {}).get('left'):
    node.config.stash[DESELECTED] = left


@pytest.hookimpl(tryfirst=True)  # before fixtures
def pytest_runtest_setup(item):
  """Seeds PyTorch: its layers draw their parameters from a global generator."""
  if 'torch' in sys.modules:
    sys.modules['torch'].manual_seed(0)


def pytest_unconfigure(config):
  left = config.stash.get(DESELECTED, {})
  reporter = config.pluginmanager.get_plugin('terminalreporter')
  if left and reporter and not hasattr(config, 'workeroutput'):
    kinds = ', '.join(f'{count} {kind}' for kind, count in sorted(left.items()))
    reporter.write_line(f'{sum(left.values())} slow tests not run: {kinds}. '
                        'To run them: python -m pytest -m slow')


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory) -> pathlib.Path:
  """One cache for the whole session: every program is compiled once."""
  return tmp_path_factory.mktemp('cache')


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
def plots():
  """Lets runs of `request_for` draw the plots of their reports."""


@pytest.fixture
def request_for(cache_dir, request, monkeypatch):
  """(experiment, workdir, overrides) -> what a mode is asked for, in this process.

  Drawing takes longer than training what is small: only tests that ask for the fixture
  `plots` have plots.
  """
  from bigmodels.cli.request import Request

  devices.configure_jax(cache_dir / 'xla')
  if 'plots' not in request.fixturenames:
    monkeypatch.setattr('bigmodels.training.results.plots_of', lambda *_, **__: {})

  def make(experiment, workdir=None, data_dir=None, require_backend=None, **overrides):
    return Request(
      experiment=None if experiment is None else str(experiment),
      overrides={k.replace('__', '.'): str(v) for k, v in overrides.items()},
      workdir=None if workdir is None else str(workdir),
      data_dir=None if data_dir is None else str(data_dir),
      cache_dir=cache_dir, require_backend=require_backend)

  return make


@pytest.fixture(scope='session')
def tiny() -> pathlib.Path:
  """An experiment file that trains in a second."""
  return ROOT / 'tests' / 'forks' / 'tiny.py'
