"""What one device of each kind can do at most, and TPU slices that are not at hand.

Peaks are the vendors' own, for dense arrays. TPUs: the pages of Google Cloud for each
version (cloud.google.com/tpu/docs), Jouppi et al. (2020, "A Domain-Specific
Supercomputer for Training Deep Neural Networks") for the links of v2 and v3, Jouppi et
al. (2023, "TPU v4") for those of v4. GPUs: NVIDIA's datasheets and architecture papers.
"How to Scale Your Model" (Google DeepMind, 2025, chapter "How to Think About TPUs")
reckons with a tenth less than the peak of the TPUs' links.
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


class Chip(NamedTuple):
  """What one JAX device can do at most.

  A chip of TPU v2, v3 and 7x is two JAX devices, and each has half of it; a chip of
  the others is one.

  Attributes:
    name: such as 'TPU v5e' or 'H100 SXM'.
    bfloat16: FLOP/s of products of bfloat16.
    float32: FLOP/s of products of float32 at JAX's default precision: one pass of
      bfloat16 on a TPU, TensorFloat-32 on a GPU that has it.
    memory: bytes.
    bandwidth: bytes/s to and from the memory.
    interconnect: bytes/s that leave by all links to other devices together: ICI,
      NVLink, or PCIe where there is no other.
  """

  name: str
  bfloat16: float
  float32: float
  memory: float
  bandwidth: float
  interconnect: float


def _tpu(name, tflops, gibibytes, bandwidth, interconnect) -> Chip:
  return Chip(name, tflops * 1e12, tflops * 1e12, gibibytes * 2**30, bandwidth * 1e9,
              interconnect * 1e9)


def _gpu(name, tflops, float32, gigabytes, bandwidth, interconnect) -> Chip:
  return Chip(name, tflops * 1e12, float32 * 1e12, gigabytes * 1e9, bandwidth * 1e9,
              interconnect * 1e9)


# By `jax.Device.device_kind`. The memory is what the compiler grants a program (libtpu
# 0.0.52 says so to one that is too large): up to a gibibyte less than is built in.
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

# The words that a device_kind must have; the first row that fits. The memory is as sold
# (there is a little more). V100 and T4 have no units for bfloat16: XLA multiplies it as
# float32. Half of the bandwidth that NVIDIA gives for NVLink leaves a device.
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
_OTHER_CARDS = {'MIG', 'Laptop', 'D', 'Ti', 'SUPER'}  # share a name, do less


def find(device_kind: str) -> Chip | None:
  """The chip that a `jax.Device.device_kind` names; None for a CPU and the unknown."""
  if device_kind in _TPUS:
    return _TPUS[device_kind]
  words = set(re.split(r'[\s-]+', device_kind))
  if words & _OTHER_CARDS:
    return None
  return next((chip for needed, chip in _GPUS if words >= set(needed.split())), None)


class _Family(NamedTuple):
  example: str
  most: int  # chips in a pod
  options: dict[str, str] = {}


# By default libtpu takes a chip of v4 for two devices, each with half of its memory;
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
# Shapes that are sold, by the number of dimensions, for the nearest legal choice.
_SOLD = {
  2: ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16', '16x32', '32x32'),
  3: ('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16',
      '8x16x16', '16x16x16', '16x16x24'),
}


def topology(name: str) -> list[jax.Device]:
  """Devices of a TPU slice that need not be there: programs are compiled for them.

  They can be given to `jax.sharding.Mesh`, and `jax.jit(f).lower(...)` of shapes with
  shardings over it compiled; nothing runs. It takes libtpu, which is also the compiler,
  and works beside any backend and in several processes at once. JAX must not have
  started libtpu itself before: on a machine without a TPU set `JAX_PLATFORMS=cpu`.

  Args:
    name: family and shape in chips, such as 'v4:2x2x1', 'v5e:4x4' or 'v5p:2x2x2'.

  Returns:
    Two devices for each chip of v2, v3 and tpu7x, one for each of the others.

  Raises:
    UserError: if there is no such slice, or libtpu is not installed.
  """
  family, shape = _checked(name)
  if importlib.util.find_spec('libtpu') is None and not os.environ.get(
      'TPU_LIBRARY_PATH'):
    raise UserError('a TPU is described and compiled for by libtpu, which is not '
                    'installed: pip install "jax[tpu]"')
  # The chips of a host are 2x2, or all there are.
  host = [min(2, int(size)) for size in shape.split('x')[:2]]
  with _settings():
    try:
      return list(topologies.get_topology_desc(
        platform='tpu', topology_name=f'{family}:{shape}',
        chips_per_host_bounds=[*host, 1], **_FAMILIES[family].options).devices)
    except Exception as error:
      reason = str(error).splitlines()[0] if str(error) else type(error).__name__
      raise UserError(f'libtpu cannot describe {family}:{shape}: {reason}') from error


def text_options(device_kind: str) -> dict[str, str]:
  """Compiler options with which a program's text tells every collective.

  What libtpu 0.0.52 makes of collectives that it hands to the sparse cores (of TPU v5p,
  v6e and 7x), jaxlib 0.10.2 cannot read; the cores for products do them with these.
  """
  if device_kind not in ('TPU v5', 'TPU v6 lite', 'TPU7x'):
    return {}
  return {f'xla_tpu_enable_sparse_core_collective_offload_{kind}': 'false'
          for kind in ('all_gather', 'all_reduce', 'reduce_scatter')}


def _checked(name: str) -> tuple[str, str]:
  """The family and the shape, refused here: a zero in it ends libtpu's process."""
  known = ', '.join(f'{f}:{row.example}' for f, row in _FAMILIES.items())
  known = f'(a slice of each: {known})'
  family, _, shape = name.strip().lower().partition(':')
  if family not in _FAMILIES:
    raise UserError(f'no TPU family {family!r}{nearest(family, _FAMILIES)} '
                    f'{known}')
  row = _FAMILIES[family]
  dimensions = row.example.count('x') + 1
  if not re.fullmatch(r'[1-9]\d*(x[1-9]\d*)*', shape):
    raise UserError(f'{name!r} names no shape of {family} in chips; did you mean '
                    f"'{family}:{row.example}'? {known}")
  sizes = [int(size) for size in shape.split('x')]
  problem = ''
  if len(sizes) != dimensions:
    problem = f'a slice of {family} has {dimensions} dimensions'
  elif any(size > 1 and size % 2 for size in sizes[:2]):
    problem = f'the chips of a host of {family} are 2x2'
  elif math.prod(sizes) > row.most:
    problem = f'a pod of {family} has {row.most} chips'
  if problem:
    sold = [s for s in _SOLD[dimensions] if _chips(s) <= row.most]
    close = min(sold, key=lambda s: abs(math.log(_chips(s) / math.prod(sizes))))
    raise UserError(f"no TPU slice {name!r}: {problem}; did you mean "
                    f"'{family}:{close}'? {known}")
  return family, shape


def _chips(shape: str) -> int:
  return math.prod(int(size) for size in shape.split('x'))


@contextlib.contextmanager
def _settings() -> Iterator[None]:
  """What libtpu reads when it is loaded, and takes from the cloud otherwise.

  Without these it complains on stderr that it cannot ask, writes logs to /tmp, and
  only one process at a time may load it. Where there is a TPU nothing is changed.
  """
  wanted = {'TPU_SKIP_MDS_QUERY': '1', 'TPU_WORKER_HOSTNAMES': 'localhost',
            'TPU_ACCELERATOR_TYPE': 'v5litepod-16', 'TPU_LOG_DIR': 'disabled',
            'ALLOW_MULTIPLE_LIBTPU_LOAD': '1'}
  if any(any(pathlib.Path('/dev').glob(p)) for p in ('accel*', 'vfio/[0-9]*')):
    wanted = {}
  added = {key: value for key, value in wanted.items() if key not in os.environ}
  os.environ.update(added)
  try:
    yield
  finally:
    for key in added:
      os.environ.pop(key, None)
