"""Models of users and items learn the same on eight devices as on one."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 1e-5  # relative, see curves_test
NAMES = ('neumf', 'sasrec')
LAYOUTS = ('data:2,fsdp:4', 'data:2,fsdp:2,tensor:2', 'pmap', 'accumulate 2, fsdp:8')
pytestmark = pytest.mark.slow('train on eight devices', together=True)


@pytest.fixture(scope='module')
def curves() -> dict:
  done = subprocess.run(
    [sys.executable, str(HERE / 'recommender_curves.py')], capture_output=True,
    text=True, timeout=600, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('name', NAMES)
def test_the_same_curve_with_the_same_negatives_and_ranks(curves, name, layout):
  plain, other = curves[name]['plain'], curves[name][layout]
  assert plain['losses'][-1] < plain['losses'][0]
  np.testing.assert_allclose(other['losses'], plain['losses'], rtol=TOLERANCE)
  assert other['counted'] == plain['counted']
  for metric, value in plain['evaluated'].items():
    # A rank changes where two scores are equal but for rounding.
    near = 0.02 if 'loss' not in metric and 'popularity' not in metric else 0
    assert other['evaluated'][metric] == pytest.approx(
      value, rel=TOLERANCE, abs=near), metric


@pytest.mark.parametrize(('name', 'numbers'), [
  # 150 users and 200 items, up to a multiple of 64.
  ('neumf', (192 + 256) * (32 + 32 + 1)), ('sasrec', 256 * 32)])
def test_tables_are_sharded(curves, name, numbers):
  of = curves[name]
  saved = of['plain']['bytes'] - of['data:2,fsdp:4']['bytes']
  assert saved == 3 / 4 * 4 * numbers  # all else has fewer than 4,096 elements
  assert of['pmap']['bytes'] == of['plain']['bytes']
