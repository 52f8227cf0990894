"""Peak rates of accelerators.

Peaks are the vendors', for dense arrays. TPUs: the pages of Google Cloud for each
version (cloud.google.com/tpu/docs); Jouppi et al., *A Domain-Specific Supercomputer for
Training Deep Neural Networks*, 2020, for the links of v2 and v3; Jouppi et al., *TPU
v4*, 2023, for those of v4. GPUs: NVIDIA's datasheets and architecture papers. *How to
Scale Your Model* (Google DeepMind, 2025, chapter "How to Think About TPUs") assumes
nine tenths of the peak of the TPUs' links.
"""

import re
from typing import NamedTuple


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
