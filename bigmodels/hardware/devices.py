"""Starting JAX: the backend, compiler options and the compilation cache."""

import contextlib
import ctypes
import functools
import importlib.util
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

import jax
import jaxlib
from jax.experimental.compilation_cache import compilation_cache

from bigmodels.core.errors import UserError
from bigmodels.hardware import program_cache, releases


def require_backend(backend: str | None) -> str:
  """Starts JAX and describes its devices.

  Process 0 prints a line for each known bug of this jaxlib on the backend.

  Args:
    backend: 'cpu', 'gpu' or 'tpu'; None accepts any.

  Returns:
    Such as 'cpu, 2 cores' or 'gpu, 1 x NVIDIA H100'.

  Raises:
    UserError: if JAX uses another backend, or finds no device.
  """
  skip_absent_tpu()
  try:
    devices = jax.devices()
  except RuntimeError as error:
    raise UserError(f'JAX found no device: {str(error).splitlines()[0]}') from error
  found = jax.default_backend()
  if backend and found != backend:
    raise UserError(
      f'--require_backend={backend}: JAX uses {found} here; install its {backend} '
      f'support (README, "On a GPU, on a TPU") or omit the flag')
  if jax.process_index() == 0:
    for line in releases.warnings(jaxlib.__version__, found):
      print(f'warning: {line}', flush=True)
  if found == 'cpu':
    _retain_freed_memory()
    if jax.process_count() > 1:
      # A program with collectives between CPU processes that is read back from the
      # cache gives wrong numbers (jaxlib 0.10.2).
      jax.config.update('jax_enable_compilation_cache', False)
      compilation_cache.reset_cache()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else (
      os.cpu_count())
    return f'cpu, {cores} cores' + (f', {len(devices)} devices' * (len(devices) > 1))
  return f'{found}, {len(devices)} x {devices[0].device_kind}'


def _retain_freed_memory() -> None:
  """Makes glibc retain freed memory, which every step on a CPU allocates again.

  Otherwise it returns to the system, and each page of a new allocation is a page fault,
  which made `cifar_cnn` a quarter slower. Without glibc this does nothing.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError, TypeError):
    return
  for option, value in ((_ARENAS, 1), (_MMAPS, 0), (_TRIM_THRESHOLD, 2**31 - 1),
                        (_TOP_PAD, 2**26)):
    mallopt(option, value)


_TRIM_THRESHOLD, _TOP_PAD, _MMAPS, _ARENAS = -1, -2, -4, -8  # of <malloc.h>


# Others, which fuse all-reduces with products, are refused for some generations.
_TPU_OPTIONS = {'xla_tpu_prefer_async_allgather_to_allreduce': 'true'}


@functools.cache
def compiler_options(platform: str) -> dict[str, str]:
  """The options of XLA for the programs of a run.

  On a CPU they select Eigen for convolutions: those of YNNPACK, jaxlib's default from
  0.10 on, take up to twice as long, and their gradients three times. YNNPACK computes
  the products, and the sums in releases where they are correct.

  On a TPU, parameters that are sharded over hundreds of chips are gathered beside
  products. By default libtpu gathers them by an all-reduce, with twice the traffic, and
  waits for it.

  A release without these options gets none; a TPU that is not here is not asked.

  Args:
    platform: 'cpu', 'gpu' or 'tpu'; or a device kind, such as 'cpu' or 'TPU v5'.
  """
  if platform.lower().startswith('tpu'):
    return _known(_TPU_OPTIONS) if jax.default_backend() == 'tpu' else _TPU_OPTIONS
  if platform != 'cpu':
    return {}
  fusions = ['LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT']
  if not any(bug.in_reductions for bug in releases.known_bugs(
    jaxlib.__version__, platform)):
    fusions.append('LIBRARY_FUSION_TYPE_REDUCE')
  return _known({'xla_cpu_experimental_ynn_fusion_type': ','.join(fusions)})


def _known(options: dict[str, str]) -> dict[str, str]:
  """The options, or none if this release does not have them."""
  try:
    jax.jit(lambda: 0).lower().compile(options)
  except jax.errors.JaxRuntimeError:
    return {}
  return options


@functools.cache
def has_matrix_units() -> bool:
  """Whether this CPU multiplies matrices of bfloat16 faster than of float32.

  It does with AMX, up to seven times, if jaxlib has kernels for it that work, and
  XLA_FLAGS does not exclude it (`--xla_cpu_max_isa=AVX512`).
  """
  limit = re.search(r'--xla_cpu_max_isa=(\w+)', os.environ.get('XLA_FLAGS', ''))
  if limit and not limit[1].upper().startswith('AMX'):
    return False
  try:
    processor = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:  # not Linux
    return False
  return ' amx_bf16' in processor and not releases.refuses_bfloat16_products()


def configure_jax(cache_dir: pathlib.Path) -> str | None:
  """Configures JAX before it starts: compiled programs are cached in a folder.

  Args:
    cache_dir: the folder, made if it does not exist.

  Returns:
    Why programs are not cached, if the folder cannot be written to; else None.
  """
  problem = write_error(cache_dir)
  jax.config.update('jax_compilation_cache_dir', None if problem else str(cache_dir))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
  program_cache.install()
  skip_absent_tpu()
  return problem and f'{problem}; programs are compiled at every start'


_BLOCK = bytes(4096)  # since an empty file fits on a full disk


def write_error(folder: pathlib.Path) -> str | None:
  """Why a folder, which need not exist yet, cannot be written to; None if it can."""
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
def compilation_cache_disabled() -> Iterator[None]:
  """Programs compiled in this context are not read from the cache, nor kept in it."""
  before = jax.config.jax_enable_compilation_cache
  try:
    jax.config.update('jax_enable_compilation_cache', False)
    compilation_cache.reset_cache()  # JAX reads the option once
    yield
  finally:
    jax.config.update('jax_enable_compilation_cache', before)
    compilation_cache.reset_cache()


def skip_absent_tpu() -> None:
  """Keeps JAX, before it starts, from loading libtpu on a machine without a TPU.

  If libtpu is installed, for `--mode=plan`, JAX would load it nevertheless, wait for
  a TPU, and print libtpu's errors.
  """
  found = [p for pattern in ('accel*', 'vfio/[0-9]*', 'nvidia[0-9]*', 'kfd')
           for p in pathlib.Path('/dev').glob(pattern)]
  if (importlib.util.find_spec('libtpu') and not found
      and jax.config.jax_platforms is None):
    jax.config.update('jax_platforms', 'cpu')
