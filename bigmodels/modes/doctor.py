"""--mode=doctor: reports the machine and its software, and checks their results.

It needs no experiment, no network and no cache. It prints plain text, for bug reports.
"""

import contextlib
import importlib.util
import os
import pathlib
import platform
import sys
import time

import jax
import jaxlib

from bigmodels.cli.request import Request
from bigmodels.core.errors import UserError
from bigmodels.core.version import VERSION
from bigmodels.data.cached import array_cache, scratch
from bigmodels.data.tfds import builders
from bigmodels.hardware import devices, program_cache, releases
from bigmodels.hardware.self_check import check
from bigmodels.hardware.self_check.programs import PROGRAMS

USES_CACHE = False  # this mode checks the cache
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy',
             'tensorflow-datasets')
# Package that is not in requirements.txt -> what needs it.
_OPTIONAL = {
  'libtpu': '--mode=plan --topology, and a TPU; pip install "jax[tpu]"',
  'gymnasium': 'environments.Gymnasium; pip install -r requirements-agents.txt',
  'gymnax': 'environments.Gymnax; pip install -r requirements-agents.txt',
  'ale-py': 'environments.Atari; pip install -r requirements-agents.txt',
  'rlax': 'learners of agents; pip install -r requirements-agents.txt',
  'torch': 'tests against PyTorch; pip install -r requirements-reference.txt',
  'transformers': 'tests against Hugging Face; pip install -r '
                  'requirements-reference.txt',
}


def run(request: Request) -> None:
  """Prints what is installed, then checks the cache and the backend.

  Raises:
    UserError: if the required backend is not available, the backend computes wrongly,
      or cached files are damaged.
  """
  for name in ('experiment', 'workdir', 'overrides', 'mesh'):
    if getattr(request, name):
      flag = {'overrides': 'config'}.get(name, name)
      raise UserError(f'--{flag}: --mode=doctor takes no experiment and no run')
  _show_machine()
  _show_packages()
  wrong = _show_cache(request.cache_dir)
  _show_data(request.data_dir)
  backend = _show_devices(request.require_backend)
  _self_check(backend)
  if wrong:
    raise UserError(f'--cache_dir: {len(wrong)} files there differ from what was '
                    f'written: {"; ".join(wrong[:3])}; a run recreates them when it '
                    'next needs them. Check the disk')


def _row(name: str, text: object) -> None:
  print(f'{name:20} {text}', flush=True)


def _show_machine() -> None:
  _row('system', platform.platform())
  _row('processor', f'{_processor()}, {_cores()} cores')
  try:
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    _row('memory', f'{memory / 1e9:.1f} GB')
  except (AttributeError, ValueError, OSError):
    _row('memory', 'unknown')
  _row('Python', f'{platform.python_version()}, {sys.executable}')
  _row('bigmodels', VERSION)


def _processor() -> str:
  with contextlib.suppress(OSError):  # only Linux has it
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return platform.processor() or platform.machine()


def _cores() -> int | None:
  """The number of cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count()


def _show_packages() -> None:
  for name in _PACKAGES:
    _row(name, releases.installed(name) or 'not installed')
  for name, use in _OPTIONAL.items():
    _row(name, releases.installed(name) or f'not installed; needed for {use}')
  if importlib.util.find_spec('libtpu') is None:
    _row('planning for TPUs', 'not possible without libtpu')
  else:
    _row('planning for TPUs', 'possible: --mode=plan --topology=v5e:4x4')


def _show_cache(folder: pathlib.Path) -> tuple[str, ...]:
  """Returns a line for each damaged file."""
  problem = devices.write_error(folder)
  if problem:
    _row('cache', f'{folder}: problem: {problem}; choose another with --cache_dir. '
                  'Without a cache, programs are compiled at every start, and TFDS '
                  'data cannot be decoded')
  else:
    _row('cache', f'{folder}: writable')
  for name, part in (('compiled programs', 'xla'), ('decoded data', 'decoded')):
    files, size = scratch.size_of(folder / part)
    _row(f'  {name}', f'{files:,} files, {size / 1e6:,.1f} MB')
  count, wrong = program_cache.verify(folder / 'xla')
  if count:
    _row('', f'{count:,} compiled programs compared with their checksums: '
             f'{f"{len(wrong):,} wrong" if wrong else "all right"}')
  for line in wrong:
    print(f'wrong: {line}', flush=True)
  return wrong + _show_decoded(folder / 'decoded')


def _show_decoded(folder: pathlib.Path) -> tuple[str, ...]:
  """Compares all decoded data with its checksums; returns the damaged files."""
  found = array_cache.examine(folder)
  if found.files or found.damaged:
    _row('', f'{found.files:,} files of arrays, {found.nbytes / 1e6:,.1f} MB, compared '
             'with their checksums: ' + (
               f'{len(found.damaged):,} wrong' if found.damaged else 'all right'))
  for line in found.damaged:
    print(f'wrong: {line}', flush=True)
  if found.older:
    _row('', 'from an older version, without checksums; it will be decoded again when '
             f'next read: {", ".join(found.older)}')
  left = scratch.left_over(folder)
  if left:
    size = sum(scratch.size_of(each)[1] for each in left)
    _row('', f'{len(left)} folder{"s" * (len(left) > 1)} that killed runs left, '
             f'{size / 1e6:,.1f} MB: removed when a run next reads TFDS data')
  return found.damaged


def _show_data(data_dir: str | None) -> None:
  folder = builders.root(data_dir)
  try:
    if folder.is_dir():
      prepared = [f'{builders.name_of(p, folder)}:{p.name}'
                  for p in builders.prepared_in(folder)]
      found = ', '.join(prepared) or 'no dataset is prepared there'
    elif folder.exists():
      found = 'problem: is not a folder; choose another with --data_dir'
    else:
      found = 'does not exist; --mode=download creates it'
  except OSError as error:
    found = f'cannot be read: {error.strerror}'
  _row('data', f'{folder}: {found}')


def _show_devices(required: str | None) -> str:
  """Starts JAX and returns its backend."""
  _row('device', devices.require_backend(required))
  backend = jax.default_backend()
  if not releases.warnings(jaxlib.__version__, backend):
    _row('known wrong results', f'none of jaxlib {jaxlib.__version__} on {backend}')
  return backend


def _self_check(backend: str) -> None:
  """Runs the programs of the self-check and reports those with wrong results.

  Raises:
    UserError: if there are any.
  """
  start, wrong, other_bits = time.perf_counter(), [], 0
  _row('self-check', f'{len(PROGRAMS)} programs, each compiled with default options, '
                     'as in a run, and without optimizations')
  with devices.compilation_cache_disabled():
    findings = check.check_all(PROGRAMS, devices.compiler_options(backend),
                               threads=min(4, 2 * (_cores() or 1)))
    for number, finding in enumerate(findings, 1):
      other_bits += not finding.repeats
      if finding.wrong(backend):
        wrong.append(finding.name)
        print(f'wrong: {finding.describe()}', flush=True)
      if number % 50 == 0 and number < len(PROGRAMS):
        _row('', f'{number} done, {time.perf_counter() - start:.0f} s')
  if other_bits and backend == 'gpu':
    _row('', f'{other_bits} differ in their last bits from run to run, as sums on a '
             'GPU can')
  seconds = time.perf_counter() - start
  if not wrong:
    _row('self-check', f'{len(PROGRAMS)} programs: all right, {seconds:.0f} s')
    return
  _row('self-check', f'{len(PROGRAMS)} programs: {len(wrong)} wrong, {seconds:.0f} s')
  known = releases.known_bugs(jaxlib.__version__, backend)
  raise UserError(
    f'jaxlib {jaxlib.__version__} on {backend} computes {len(wrong)} of '
    f'{len(PROGRAMS)} programs wrongly: {"; ".join(wrong)}; '
    + (releases.REMEDY if known else 'install another release of jaxlib, and report it'
       ))
