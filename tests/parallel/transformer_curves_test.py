"""Transformers learn the same on eight devices, by the rules, as on one."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 1e-5  # relative, see curves_test
NAMES = ('gpt', 'modern')
pytestmark = pytest.mark.slow('train on eight devices', together=True)


@pytest.fixture(scope='module')
def curves() -> dict:
  done = subprocess.run(
    [sys.executable, str(HERE / 'transformer_curves.py')], capture_output=True,
    text=True, timeout=600, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('layout', ['data:2,fsdp:2,tensor:2', 'pmap'])
@pytest.mark.parametrize('name', NAMES)
def test_the_same_curve(curves, name, layout):
  plain, other = curves[name]['plain'], curves[name][layout]
  assert plain['losses'][-1] < plain['losses'][0] - 0.05
  np.testing.assert_allclose(other['losses'], plain['losses'], rtol=TOLERANCE)
  assert other['evaluated']['test/loss'] == pytest.approx(
    plain['evaluated']['test/loss'], rel=TOLERANCE)


@pytest.mark.parametrize('name', NAMES)
def test_parameters_are_sharded(curves, name):
  whole = curves[name]['plain']['bytes']
  # A quarter, but for what has fewer than 4,096 elements.
  cut = curves[name]['data:2,fsdp:2,tensor:2']['bytes']
  assert whole / 4 < cut < whole / 4 * 1.5


def test_initial_parameters_have_the_same_bits_on_every_mesh(curves):
  one, *others = curves['initial'].values()
  assert len(one) > 10 and all(other == one for other in others)
