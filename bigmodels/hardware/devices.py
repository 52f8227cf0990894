"""Which devices there are, and what a run may ask of them."""

import contextlib
import ctypes
import functools
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Iterator

import jax
import jaxlib
from jax.experimental.compilation_cache import compilation_cache

from bigmodels.core.errors import UserError
from bigmodels.hardware import program_cache, releases


def require(backend: str | None) -> str:
  """Starts JAX and says on what, such as 'cpu, 2 cores' or 'gpu, 1 x NVIDIA H100'.

  Process 0 prints a line for what this jaxlib is known to compute wrongly there.

  Args:
    backend: 'cpu', 'gpu' or 'tpu', or None for whatever there is.

  Raises:
    UserError: if another one would be used.
  """
  try:
    devices = jax.devices()
  except RuntimeError as error:
    raise UserError(f'JAX found no device: {str(error).splitlines()[0]}') from error
  found = jax.default_backend()
  if backend and found != backend:
    raise UserError(
      f'--require_backend={backend}: JAX uses {found} here; install its {backend} '
      f'support (README, "On a GPU, on a TPU") or leave the flag out')
  if jax.process_index() == 0:
    for line in releases.warnings(jaxlib.__version__, found):
      print(f'warning: {line}', flush=True)
  if found == 'cpu':
    _keep_memory()
    if jax.process_count() > 1:
      # Read back from the cache, a program with collectives between processes of CPUs
      # gives wrong numbers (jaxlib 0.10.2).
      jax.config.update('jax_enable_compilation_cache', False)
      compilation_cache.reset_cache()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else (
      os.cpu_count())
    return f'cpu, {cores} cores' + (f', {len(devices)} devices' * (len(devices) > 1))
  return f'{found}, {len(devices)} x {devices[0].device_kind}'


def _keep_memory() -> None:
  """Has glibc keep freed memory: a step on a CPU asks for the same again and again.

  Given back to the system and asked for anew, every page of it is a page fault, which
  made `cifar_cnn` a quarter slower. Elsewhere than on Linux with glibc, nothing.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError, TypeError):
    return
  for option, value in ((_ARENAS, 1), (_MMAPS, 0), (_TRIM_THRESHOLD, 2**31 - 1),
                        (_TOP_PAD, 2**26)):
    mallopt(option, value)


_TRIM_THRESHOLD, _TOP_PAD, _MMAPS, _ARENAS = -1, -2, -4, -8  # of <malloc.h>


@functools.cache
def compiler_options(platform: str) -> dict[str, str]:
  """What XLA is told beside a program: on a CPU, to have Eigen do its convolutions.

  Those of YNNPACK, which jaxlib takes by default from 0.10 on, take up to twice as
  long, and their gradients three times. Its products stay, and its sums where they are
  right. A release without this choice gets no options.
  """
  if platform != 'cpu':
    return {}
  fusions = ['LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT']
  if not any(wrong.of_reductions for wrong in releases.known_wrong(
    jaxlib.__version__, platform)):
    fusions.append('LIBRARY_FUSION_TYPE_REDUCE')
  options = {'xla_cpu_experimental_ynn_fusion_type': ','.join(fusions)}
  try:
    jax.jit(lambda: 0).lower().compile(options)
  except jax.errors.JaxRuntimeError:
    return {}
  return options


def prepare(folder: pathlib.Path) -> str | None:
  """Before JAX starts: keeps compiled programs in a folder, from run to run.

  Returns:
    why they are not kept, if nothing can be written there; else None.
  """
  problem = unwritable(folder)
  jax.config.update('jax_compilation_cache_dir', None if problem else str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
  program_cache.check()
  skip_absent_tpu()
  return problem and f'{problem}; programs are compiled at every start'


_BLOCK = bytes(4096)  # an empty file fits on a full disk


def unwritable(folder: pathlib.Path) -> str | None:
  """Why nothing can be written to a folder that may still be to make; or None."""
  try:
    while not folder.exists() and folder != folder.parent:
      folder = folder.parent
    if not folder.is_dir():
      return f'{folder} is not a folder'
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
      file.write(_BLOCK)
    return None
  except OSError as error:
    return f'{folder} cannot be written to: {error.strerror}'


@contextlib.contextmanager
def uncached() -> Iterator[None]:
  """Has programs compiled in here anew, whatever is kept of them."""
  before = jax.config.jax_enable_compilation_cache
  try:
    jax.config.update('jax_enable_compilation_cache', False)
    compilation_cache.reset_cache()  # JAX asks once, and remembers
    yield
  finally:
    jax.config.update('jax_enable_compilation_cache', before)
    compilation_cache.reset_cache()


def skip_absent_tpu() -> None:
  """Before JAX starts: has it do without libtpu where there is no TPU.

  With libtpu installed, for `--mode=plan`, JAX would start it all the same, wait for
  it, and print its complaints.
  """
  there = pathlib.Path('/dev')
  found = [p for pattern in ('accel*', 'vfio/[0-9]*', 'nvidia[0-9]*', 'kfd')
           for p in there.glob(pattern)]
  if (importlib.util.find_spec('libtpu') and not found
      and jax.config.jax_platforms is None):
    jax.config.update('jax_platforms', 'cpu')
