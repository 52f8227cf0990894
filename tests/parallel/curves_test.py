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
SLOW = pytest.mark.slow('train on eight devices', together=True)
# Together they have every strategy, axis and way to accumulate.
FEW = ('data:2,fsdp:2,tensor:2', 'pmap', 'accumulate 4', 'accumulate 2, fsdp:8')
LAYOUTS = ('jit data:8', 'data:2,fsdp:4', 'fsdp:8', *FEW, 'accumulate 2, pmap')
STREAMED = ('fsdp:8', 'pmap', 'accumulate 2, pmap')  # differ only in their sharding
NAMES = ('mlp', *(pytest.param(name, marks=SLOW) for name in (
  'batch statistics', 'mlp, streamed', 'cifar_cnn')))


@functools.cache
def printed(*arguments) -> dict:
  """What `curves.py` prints."""
  done = subprocess.run([sys.executable, str(HERE / 'curves.py'), *arguments],
                        capture_output=True, text=True, timeout=600, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def curves(name, layout='plain') -> dict:
  """The curve of a network in a layout; several layouts share a process."""
  layouts = ('plain', *(STREAMED if name == 'mlp, streamed' else LAYOUTS))
  few = ('plain', *FEW)
  if name == 'mlp':  # the others are slow
    layouts = few if layout in few else [key for key in layouts if key not in few]
  return printed(name, *layouts)[layout]


@pytest.mark.parametrize('name', NAMES)
def test_something_is_learned(name):
  losses = curves(name)['losses']
  assert len(losses) >= 20 and np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])


def _layouts():
  for name in ('mlp', 'batch statistics', 'mlp, streamed', 'cifar_cnn'):
    for layout in STREAMED if name == 'mlp, streamed' else LAYOUTS:
      always = name == 'mlp' and layout in FEW
      yield pytest.param(name, layout, marks=() if always else SLOW)


@pytest.mark.parametrize(('name', 'layout'), _layouts())
def test_the_same_curve(name, layout):
  plain, other = curves(name), curves(name, layout)
  if name == 'batch statistics' and layout.startswith('accumulate'):
    # Each microbatch has its own statistics: near the whole batch's, not the same.
    off = np.abs(np.array(other['losses']) - plain['losses'])
    assert 1e-3 < off.max() < 1
    return
  np.testing.assert_allclose(other['losses'], plain['losses'], rtol=TOLERANCE)
  assert other['counted'] == plain['counted'] == 32
  for metric, value in plain['evaluated'].items():
    assert other['evaluated'][metric] == pytest.approx(value, rel=TOLERANCE), metric


@SLOW
def test_microbatches_are_the_same_on_every_mesh():
  one, two = (curves('batch statistics', layout)['losses'] for layout in (
    'accumulate 2, fsdp:8', 'accumulate 2, pmap'))
  np.testing.assert_allclose(one, two, rtol=TOLERANCE)


@SLOW
def test_parameters_are_sharded():
  of = {layout: curves('cifar_cnn', layout)['bytes'] for layout in ('plain', *LAYOUTS)}
  whole = of['plain']
  assert of['jit data:8'] == of['pmap'] == whole
  # All but what has fewer than 4,096 elements.
  assert of['fsdp:8'] < whole / 8 * 1.2
  assert of['data:2,fsdp:4'] < whole / 4 * 1.2
  assert of['data:2,fsdp:2,tensor:2'] < whole / 4 * 1.2


@pytest.mark.parametrize('name', ['mlp', pytest.param('cnn', marks=SLOW)])
def test_initial_parameters_have_the_same_bits_on_every_mesh(name):
  of = printed('initial', name)
  assert len(of) == 7 and len(of['']) >= 6
  for mesh, found in of.items():
    assert found == of[''], mesh
