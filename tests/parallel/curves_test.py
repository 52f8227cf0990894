"""Any mesh, the same curve: eight devices in every layout against one."""

import functools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
# Relative: float32 adds up in another order, and the difference grows with the steps.
TOLERANCE = 1e-5
SMALL = ('mlp', 'batch statistics')
SLOW = pytest.mark.slow('train on eight devices', together=True)
NAMES = (*SMALL, *(pytest.param(name, marks=SLOW) for name in (
  'mlp, streamed', 'cifar_cnn')))
LAYOUTS = ('jit data:8', 'data:2,fsdp:4', 'fsdp:8', 'data:2,fsdp:2,tensor:2', 'pmap',
           'accumulate 4', 'accumulate 2, fsdp:8', 'accumulate 2, pmap')


@functools.cache
def trained(*names) -> dict:
  """What `curves.py` prints for networks; the small ones share a process."""
  done = subprocess.run([sys.executable, str(HERE / 'curves.py'), *names],
                        capture_output=True, text=True, timeout=600, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def curves(name) -> dict:
  return trained(*SMALL if name in SMALL else (name,))[name]


@pytest.mark.parametrize('name', NAMES)
def test_something_is_learned(name):
  losses = curves(name)['plain']['losses']
  assert len(losses) >= 20 and np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('name', NAMES)
def test_the_same_curve(name, layout):
  if layout not in curves(name):
    pytest.skip('streamed batches differ only in their sharding')
  plain, other = curves(name)['plain'], curves(name)[layout]
  if name == 'batch statistics' and layout.startswith('accumulate'):
    # Each microbatch has its own statistics: near the whole batch's, not the same.
    off = np.abs(np.array(other['losses']) - plain['losses'])
    assert 1e-3 < off.max() < 1
    return
  np.testing.assert_allclose(other['losses'], plain['losses'], rtol=TOLERANCE)
  assert other['counted'] == plain['counted'] == 32
  for metric, value in plain['evaluated'].items():
    assert other['evaluated'][metric] == pytest.approx(value, rel=TOLERANCE), metric


def test_microbatches_are_the_same_on_every_mesh():
  of = curves('batch statistics')
  np.testing.assert_allclose(of['accumulate 2, fsdp:8']['losses'],
                             of['accumulate 2, pmap']['losses'], rtol=TOLERANCE)


@SLOW
def test_parameters_are_sharded():
  of = curves('cifar_cnn')
  whole = of['plain']['bytes']
  assert of['jit data:8']['bytes'] == of['pmap']['bytes'] == whole
  # All but what has fewer than 4,096 elements.
  assert of['fsdp:8']['bytes'] < whole / 8 * 1.2
  assert of['data:2,fsdp:4']['bytes'] < whole / 4 * 1.2
  assert of['data:2,fsdp:2,tensor:2']['bytes'] < whole / 4 * 1.2


@pytest.mark.parametrize('name', ['mlp', 'cnn'])
def test_initial_parameters_have_the_same_bits_on_every_mesh(name):
  of = trained(*SMALL)['initial'][name]
  assert len(of) == 7 and len(of['']) >= 6
  for mesh, found in of.items():
    assert found == of[''], mesh
