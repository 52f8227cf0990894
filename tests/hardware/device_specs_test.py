"""The table of accelerators."""

import jax
import pytest

from bigmodels.hardware import device_specs


@pytest.mark.parametrize(('kind', 'name'), [
  ('TPU v3', 'TPU v3'), ('TPU v4', 'TPU v4'), ('TPU v5 lite', 'TPU v5e'),
  ('TPU v5', 'TPU v5p'), ('TPU v5p', 'TPU v5p'), ('TPU v6 lite', 'TPU v6e'),
  ('TPU7x', 'TPU7x'),
  ('Tesla V100-SXM2-16GB', 'V100 16GB'), ('Tesla V100-SXM2-32GB', 'V100 32GB'),
  ('Tesla V100-PCIE-32GB', 'V100 32GB PCIe'), ('Tesla T4', 'T4'),
  ('NVIDIA A100-SXM4-40GB', 'A100 40GB'), ('NVIDIA A100-SXM4-80GB', 'A100 80GB'),
  ('NVIDIA A100 80GB PCIe', 'A100 80GB PCIe'), ('NVIDIA A10G', 'A10G'),
  ('NVIDIA L4', 'L4'), ('NVIDIA L40S', 'L40S'),
  ('NVIDIA H100 80GB HBM3', 'H100 SXM'), ('NVIDIA H100 PCIe', 'H100 PCIe'),
  ('NVIDIA H200', 'H200'), ('NVIDIA GH200 480GB', 'GH200 96GB'),
  ('NVIDIA B200', 'B200'), ('NVIDIA GeForce RTX 4090', 'RTX 4090'),
  ('NVIDIA GeForce RTX 3090', 'RTX 3090')])
def test_find(kind, name):
  assert device_specs.find(kind).name == name


@pytest.mark.parametrize('kind', [
  'cpu', '', 'TPU v9', 'TPU', 'NVIDIA A10', 'NVIDIA L40', 'NVIDIA H100 80GB HBM3 MIG '
  '1g.10gb', 'NVIDIA GeForce RTX 4090 Laptop GPU', 'NVIDIA GeForce RTX 4090 D',
  'NVIDIA GeForce RTX 3090 Ti', 'AMD Instinct MI300X'])
def test_unknown_devices_have_no_spec(kind):
  assert device_specs.find(kind) is None


def test_a_cpu_has_no_spec():
  assert device_specs.find(jax.devices('cpu')[0].device_kind) is None


@pytest.mark.parametrize(('kind', 'operations'), [
  # FLOPs that a byte from the memory must bring, of "How to Scale Your Model".
  ('TPU v5 lite', 240), ('TPU v5', 164), ('TPU v6 lite', 562),
  ('NVIDIA H100 80GB HBM3', 295)])
def test_peaks_are_consistent(kind, operations):
  spec = device_specs.find(kind)
  assert spec.bfloat16 / spec.bandwidth == pytest.approx(operations, rel=0.03)


def test_a_device_is_half_a_chip_where_a_chip_is_two():
  v3, v4 = (device_specs.find(f'TPU v{n}') for n in (3, 4))
  assert v3.memory < 16 * 2**30 < v4.memory
  assert device_specs.find('TPU7x').bfloat16 == 2307e12 / 2
