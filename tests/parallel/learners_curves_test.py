"""Any mesh, the same curve: of agents, whose episodes are in the state; of a GAN."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.environments import libraries

HERE = pathlib.Path(__file__).resolve().parent

pytestmark = pytest.mark.slow('train on eight devices', together=True)


@pytest.fixture(scope='module')
def curves() -> dict:
  done = subprocess.run(
    [sys.executable, str(HERE / 'learners_curves.py')], capture_output=True, text=True,
    timeout=600, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('layout', ['jit data:8', 'fsdp:8', 'pmap'])
@pytest.mark.parametrize('name', ['cartpole_dqn', 'cartpole_a2c', 'digits_dcgan'])
def test_the_same_curve(curves, name, layout):
  if name.startswith('cartpole'):
    libraries.require('gymnax', 'rlax')
  plain, other = curves[name]['plain'], curves[name][layout]
  np.testing.assert_allclose(other['losses'], plain['losses'], rtol=1e-4)
  assert other['counted'] == plain['counted'] >= 20
  for metric, value in plain['evaluated'].items():
    # Of a GAN by the statistics of batches, that masked examples fill up for a mesh.
    rel = 1e-3 if name == 'digits_dcgan' else 1e-4
    assert other['evaluated'][metric] == pytest.approx(value, rel=rel), metric
