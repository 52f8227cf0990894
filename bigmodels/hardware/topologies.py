"""TPU slices to compile for without having them."""

import contextlib
import importlib.util
import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.experimental import topologies as jax_topologies

from bigmodels.core.errors import UserError, nearest


class _Family(NamedTuple):
  example: str
  pod_size: int  # chips
  options: dict[str, str] = {}


# By default libtpu describes a chip of v4 as two devices, each with half of its memory;
# on a TPU VM it is one.
_FAMILIES = {
  'v2': _Family('2x2', 256),
  'v3': _Family('2x2', 1024),
  'v4': _Family('2x2x1', 4096, {'chip_config_name': 'megacore'}),
  'v5e': _Family('4x4', 256),
  'v5p': _Family('2x2x2', 8960),
  'v6e': _Family('4x4', 256),
  'tpu7x': _Family('2x2x1', 9216),
}
# Available shapes, by the number of dimensions, to suggest the nearest one.
_SHAPES = {
  2: ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16', '16x32', '32x32'),
  3: ('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16',
      '8x16x16', '16x16x16', '16x16x24'),
}


def devices_of(name: str) -> list[jax.Device]:
  """Describes the devices of a TPU slice, to compile for them without having them.

  A `jax.sharding.Mesh` can consist of them; `jax.jit(f).lower(...)` of shapes with
  shardings over it compiles, and nothing runs. This needs libtpu, which contains the
  compiler, and works with any backend and in several processes at once. JAX must not
  have started libtpu before: on a machine without a TPU set `JAX_PLATFORMS=cpu`.

  Args:
    name: family and shape in chips, such as 'v4:2x2x1', 'v5e:4x4' or 'v5p:2x2x2'.

  Returns:
    Two devices for each chip of v2, v3 and tpu7x, one for each of the others.

  Raises:
    UserError: if no such slice exists, or libtpu is not installed.
  """
  family, shape = _checked(name)
  if importlib.util.find_spec('libtpu') is None and not os.environ.get(
      'TPU_LIBRARY_PATH'):
    raise UserError('compiling for TPUs needs libtpu, which is not installed: pip '
                    'install "jax[tpu]"')
  # A host has 2x2 chips, or all of a smaller slice.
  host = [min(2, int(size)) for size in shape.split('x')[:2]]
  with _settings():
    try:
      return list(jax_topologies.get_topology_desc(
        platform='tpu', topology_name=f'{family}:{shape}',
        chips_per_host_bounds=[*host, 1], **_FAMILIES[family].options).devices)
    except Exception as error:
      reason = str(error).splitlines()[0] if str(error) else type(error).__name__
      raise UserError(f'libtpu cannot describe {family}:{shape}: {reason}') from error


def hlo_text_options(device_kind: str) -> dict[str, str]:
  """Compiler options with which the text of a program contains every collective.

  libtpu 0.0.52 offloads collectives to the sparse cores of TPU v5p, v6e and 7x in a
  form that jaxlib 0.10.2 cannot read; these options keep them on the other cores.
  """
  if device_kind not in ('TPU v5', 'TPU v6 lite', 'TPU7x'):
    return {}
  return {f'xla_tpu_enable_sparse_core_collective_offload_{kind}': 'false'
          for kind in ('all_gather', 'all_reduce', 'reduce_scatter')}


def _checked(name: str) -> tuple[str, str]:
  """The family and the shape. libtpu ends the process for some wrong ones."""
  known = ', '.join(f'{f}:{row.example}' for f, row in _FAMILIES.items())
  known = f'(a slice of each: {known})'
  family, _, shape = name.strip().lower().partition(':')
  if family not in _FAMILIES:
    raise UserError(f'no TPU family {family!r}{nearest(family, _FAMILIES)} {known}')
  row = _FAMILIES[family]
  dimensions = row.example.count('x') + 1
  if not re.fullmatch(r'[1-9]\d*(x[1-9]\d*)*', shape):
    raise UserError(f'{name!r}: needs a shape of {family} in chips; did you mean '
                    f"'{family}:{row.example}'? {known}")
  sizes = [int(size) for size in shape.split('x')]
  problem = ''
  if len(sizes) != dimensions:
    problem = f'a slice of {family} has {dimensions} dimensions'
  elif any(size > 1 and size % 2 for size in sizes[:2]):
    problem = f'a host of {family} has 2x2 chips'
  elif math.prod(sizes) > row.pod_size:
    problem = f'a pod of {family} has {row.pod_size} chips'
  if problem:
    shapes = [s for s in _SHAPES[dimensions] if _chips(s) <= row.pod_size]
    close = min(shapes, key=lambda s: abs(math.log(_chips(s) / math.prod(sizes))))
    raise UserError(f"no TPU slice {name!r}: {problem}; did you mean "
                    f"'{family}:{close}'? {known}")
  return family, shape


def _chips(shape: str) -> int:
  return math.prod(int(size) for size in shape.split('x'))


@contextlib.contextmanager
def _settings() -> Iterator[None]:
  """Sets the variables that libtpu reads when it is loaded.

  Without them it queries the metadata server and reports on stderr that it cannot,
  writes logs to /tmp, and is loaded by one process at a time only. On a machine with
  a TPU nothing is set.
  """
  values = {'TPU_SKIP_MDS_QUERY': '1', 'TPU_WORKER_HOSTNAMES': 'localhost',
            'TPU_ACCELERATOR_TYPE': 'v5litepod-16', 'TPU_LOG_DIR': 'disabled',
            'ALLOW_MULTIPLE_LIBTPU_LOAD': '1'}
  if any(any(pathlib.Path('/dev').glob(p)) for p in ('accel*', 'vfio/[0-9]*')):
    values = {}
  added = {key: value for key, value in values.items() if key not in os.environ}
  os.environ.update(added)
  try:
    yield
  finally:
    for key in added:
      os.environ.pop(key, None)
