"""Peak rates of accelerators, and TPU slices to compile for without having them.

Peaks are the vendors', for dense arrays. TPUs: the pages of Google Cloud for each
version (cloud.google.com/tpu/docs); Jouppi et al., *A Domain-Specific Supercomputer for
Training Deep Neural Networks*, 2020, for the links of v2 and v3; Jouppi et al., *TPU
v4*, 2023, for those of v4. GPUs: NVIDIA's datasheets and architecture papers. *How to
Scale Your Model* (Google DeepMind, 2025, chapter "How to Think About TPUs") assumes
nine tenths of the peak of the TPUs' links.
"""

import contextlib
import importlib.util
import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.experimental import topologies

from bigmodels.core.errors import UserError, nearest


class DeviceSpec(NamedTuple):
  """The peak rates of one JAX device.

  A chip of TPU v2, v3 and 7x is two JAX devices, each with half of its rates; a chip
  of the others is one.

  Attributes:
    name: such as 'TPU v5e' or 'H100 SXM'.
    bfloat16: FLOP/s of products of bfloat16.
    float32: FLOP/s of products of float32 at JAX's default precision: one pass of
      bfloat16 on a TPU, TensorFloat-32 on a GPU that has it.
    memory: bytes.
    bandwidth: bytes/s to and from the memory.
    interconnect: bytes/s that leave over all links to other devices together: ICI,
      NVLink, or PCIe if there are no others.
  """

  name: str
  bfloat16: float
  float32: float
  memory: float
  bandwidth: float
  interconnect: float


def _tpu(name, tflops, gibibytes, bandwidth, interconnect) -> DeviceSpec:
  return DeviceSpec(name, tflops * 1e12, tflops * 1e12, gibibytes * 2**30,
                    bandwidth * 1e9, interconnect * 1e9)


def _gpu(name, tflops, float32, gigabytes, bandwidth, interconnect) -> DeviceSpec:
  return DeviceSpec(name, tflops * 1e12, float32 * 1e12, gigabytes * 1e9,
                    bandwidth * 1e9, interconnect * 1e9)


# By `jax.Device.device_kind`. The memory is what the compiler lets a program use (by
# the error of libtpu 0.0.52 on one too large): up to 1 GiB less than is built in.
_TPUS = {
  'TPU v2': _tpu('TPU v2', 46 / 2, 7.48, 700 / 2, 4 * 62 / 2),
  'TPU v3': _tpu('TPU v3', 123 / 2, 15.48, 900 / 2, 4 * 82 / 2),
  'TPU v4': _tpu('TPU v4', 275, 30.75, 1200, 6 * 50),
  'TPU v5 lite': _tpu('TPU v5e', 197, 15.75, 819, 400 / 2),
  'TPU v5': _tpu('TPU v5p', 459, 95.73, 2765, 1200 / 2),
  'TPU v6 lite': _tpu('TPU v6e', 918, 31.24, 1638, 800 / 2),
  'TPU7x': _tpu('TPU7x', 2307 / 2, 94.74, 7380 / 2, 1200 / 2 / 2),
}
_TPUS |= {'TPU v5e': _TPUS['TPU v5 lite'], 'TPU v5p': _TPUS['TPU v5'],
          'TPU v6e': _TPUS['TPU v6 lite'], 'TPU v7x': _TPUS['TPU7x']}

# By the words that a device_kind must contain; the first match counts. The memory is
# the nominal size (the real one is slightly larger). V100 and T4 have no bfloat16
# units: XLA multiplies it as float32. Half of NVIDIA's NVLink bandwidth is outgoing.
_GPUS = (
  ('V100 PCIE 32GB', _gpu('V100 32GB PCIe', 14, 14, 32, 900, 16)),
  ('V100 PCIE', _gpu('V100 16GB PCIe', 14, 14, 16, 900, 16)),
  ('V100 32GB', _gpu('V100 32GB', 15.7, 15.7, 32, 900, 150)),
  ('V100', _gpu('V100 16GB', 15.7, 15.7, 16, 900, 150)),
  ('T4', _gpu('T4', 8.1, 8.1, 16, 320, 16)),
  ('A100 80GB PCIe', _gpu('A100 80GB PCIe', 312, 156, 80, 1935, 300)),
  ('A100 80GB', _gpu('A100 80GB', 312, 156, 80, 2039, 300)),
  ('A100', _gpu('A100 40GB', 312, 156, 40, 1555, 300)),
  ('A10G', _gpu('A10G', 70, 35, 24, 600, 32)),
  ('L4', _gpu('L4', 121, 60, 24, 300, 32)),
  ('L40S', _gpu('L40S', 362, 183, 48, 864, 32)),
  ('GH200 144G', _gpu('GH200 144GB', 989, 494, 144, 4900, 450)),
  ('GH200', _gpu('GH200 96GB', 989, 494, 96, 4000, 450)),
  ('H100 PCIe', _gpu('H100 PCIe', 756, 378, 80, 2000, 300)),
  ('H100 NVL', _gpu('H100 NVL', 835, 417, 94, 3938, 300)),
  ('H100', _gpu('H100 SXM', 989, 494, 80, 3350, 450)),
  ('H200 NVL', _gpu('H200 NVL', 835, 417, 141, 4800, 450)),
  ('H200', _gpu('H200', 989, 494, 141, 4800, 450)),
  ('B200', _gpu('B200', 2250, 1100, 180, 7700, 900)),
  ('4090', _gpu('RTX 4090', 165.2, 82.6, 24, 1008, 32)),
  ('3090', _gpu('RTX 3090', 71, 35.6, 24, 936, 32)),
)
_OTHER_CARDS = {'MIG', 'Laptop', 'D', 'Ti', 'SUPER'}  # variants with other rates


def find(device_kind: str) -> DeviceSpec | None:
  """The spec for a `jax.Device.device_kind`; None for CPUs and unknown devices."""
  if device_kind in _TPUS:
    return _TPUS[device_kind]
  words = set(re.split(r'[\s-]+', device_kind))
  if words & _OTHER_CARDS:
    return None
  return next((spec for needed, spec in _GPUS if words >= set(needed.split())), None)


class _Family(NamedTuple):
  example: str
  most: int  # chips in a pod
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


def topology_devices(name: str) -> list[jax.Device]:
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
      return list(topologies.get_topology_desc(
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
  elif math.prod(sizes) > row.most:
    problem = f'a pod of {family} has {row.most} chips'
  if problem:
    shapes = [s for s in _SHAPES[dimensions] if _chips(s) <= row.most]
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
