"""Losses that compare the examples of a batch see all of it on eight devices."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 2e-5  # relative
LOSSES = ('semi_hard', 'batch_hard', 'supervised_contrastive', 'arc_face',
          'sigmoid_contrastive', 'softmax_contrastive')
LAYOUTS = ('jit data:8', 'data:2,fsdp:2,tensor:2', 'pmap')
pytestmark = pytest.mark.slow('train on eight devices', together=True)


@pytest.fixture(scope='module')
def curves() -> dict:
  done = subprocess.run(
    [sys.executable, str(HERE / 'embedding_curves.py')], capture_output=True, text=True,
    timeout=900, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('loss', LOSSES)
def test_the_same_curve_and_metrics(curves, loss, layout):
  plain, other = curves[loss]['plain'], curves[loss][layout]
  assert plain['losses'][-1] < plain['losses'][0]
  np.testing.assert_allclose(other['losses'], plain['losses'], rtol=TOLERANCE)
  assert other['counted'] == plain['counted']
  assert {'test/rank_1', 'test/image_to_text_r@1'} & {*plain['evaluated']}
  for metric, value in plain['evaluated'].items():
    # A rank changes where two similarities are equal but for rounding.
    near = 0.03 if 'loss' not in metric else 0
    assert other['evaluated'][metric] == pytest.approx(
      value, rel=TOLERANCE, abs=near), metric


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_same_people_and_pictures(curves, layout):
  assert curves['rows'][layout] == curves['rows']['plain']


def test_the_same_means_of_identities(curves):
  plain, other = (np.array(curves['means'][key]) for key in ('plain', 'pmap'))
  assert (np.abs(plain).sum(1) > 0).sum() > 8  # of two batches
  np.testing.assert_allclose(other, plain, atol=1e-5)
