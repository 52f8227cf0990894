"""Descriptions of TPU slices."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from bigmodels.core.errors import UserError
from bigmodels.hardware import device_specs, topologies

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SLICES = {  # name: (devices, their kind)
  'v2:2x2': (8, 'TPU v2'), 'v3:4x4': (32, 'TPU v3'), 'v4:2x2x1': (4, 'TPU v4'),
  'v4:2x2x2': (8, 'TPU v4'), 'v5e:1x1': (1, 'TPU v5 lite'),
  'v5e:4x4': (16, 'TPU v5 lite'), 'v5p:2x2x2': (8, 'TPU v5'),
  'v5p:8x8x8': (512, 'TPU v5'), 'v6e:16x16': (256, 'TPU v6 lite'),
  ' V6E:2x4 ': (8, 'TPU v6 lite'), 'tpu7x:2x2x2': (16, 'TPU7x')}
# Prints the number of devices of each slice and their kind, and compiles for one.
DESCRIBE = '''
import os, sys
import jax, jax.numpy as jnp
from bigmodels.core.errors import UserError
from bigmodels.hardware import topologies
before = dict(os.environ)
for name in sys.argv[1:]:
  try:
    devices = topologies.devices_of(name)
  except UserError:  # the libtpu of jax 0.8.0 does not support tpu7x
    assert name.startswith('tpu7x')
    continue
  print(f'{name}|{len(devices)}|{devices[0].device_kind}')
assert dict(os.environ) == before
here = jax.sharding.SingleDeviceSharding(devices[0])
x = jax.ShapeDtypeStruct((128, 128), jnp.float32, sharding=here)
jax.jit(lambda x: x @ x).lower(x).compile()
assert jax.default_backend() == 'cpu' and jnp.ones(3).sum() == 3
'''


@pytest.mark.parametrize(('name', 'problem', 'suggestion'), [
  ('v5x:2x2', "no TPU family 'v5x'", 'v5'),
  ('v7x:2x2x2', "no TPU family 'v7x'", "'tpu7x'"),
  ('a100:8', "no TPU family 'a100'", 'choose from tpu7x, v2'),
  ('', "no TPU family ''", 'choose from tpu7x, v2'),
  ('v5e', 'needs a shape', "'v5e:4x4'"),
  ('v5e:', 'needs a shape', "'v5e:4x4'"),
  ('v5e-16', "no TPU family 'v5e-16'", "'v5e'"),
  ('v5e:4x', 'needs a shape', "'v5e:4x4'"),
  ('v5e:0x2', 'needs a shape', "'v5e:4x4'"),
  ('v5e:3x5', 'has 2x2 chips', "'v5e:4x4'"),
  ('v5e:32x32', 'a pod of v5e has 256 chips', "'v5e:16x16'"),
  ('v5e:2x2x2', 'has 2 dimensions', "'v5e:2x4'"),
  ('v4:2x2', 'has 3 dimensions', "'v4:2x2x1'"),
  ('v5p:3x2x2', 'has 2x2 chips', "'v5p:2x2x4'")])
def test_a_slice_that_does_not_exist(name, problem, suggestion):
  with pytest.raises(UserError) as error:
    topologies.devices_of(name)
  message = str(error.value)
  assert problem in message and suggestion in message.partition('(')[0]
  assert all(example in message for example in ('v2:2x2', 'v5p:2x2x2', 'tpu7x:2x2x1'))


def test_without_libtpu_the_error_says_what_to_install(monkeypatch):
  monkeypatch.delenv('TPU_LIBRARY_PATH', raising=False)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=r'pip install "jax\[tpu\]"'):
    topologies.devices_of('v5e:4x4')


@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None,
                    reason='libtpu is not installed: pip install "jax[tpu]"')
def test_slices_are_described_quietly_in_two_processes_at_once():
  environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
  processes = [
    subprocess.Popen([sys.executable, '-c', DESCRIBE, *SLICES], text=True,
                     env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(2)]
  for process in processes:
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, '')
    found = {name: (int(devices), kind) for name, devices, kind in (
      line.split('|') for line in out.splitlines())}
    assert {'tpu7x:2x2x2': SLICES['tpu7x:2x2x2']} | found == SLICES
  assert all(device_specs.find(kind) for _, kind in SLICES.values())
