"""Tests of --mode=plan: its numbers by hand, and that nothing is allocated."""

import importlib.util
import json
import pathlib

import jax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import plan
from bigmodels.modes.plan import Setting
from bigmodels.parallel.sharding import MeshShape

FORKS = pathlib.Path(__file__).resolve().parents[1] / 'forks'
MODEL = {'depth': 4, 'width': 256, 'heads': 4, 'length': 64, 'vocabulary': 512,
         'batch_size': 16}
needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason='libtpu, which compiles for TPUs, is not installed: pip install "jax[tpu]"')


@pytest.fixture(scope='module')
def plans() -> dict:
  """What was planned already: each takes seconds."""
  return {}


@pytest.fixture
def planned(request_for, tmp_path, plans):
  """(topology, mesh, overrides) -> plan.json."""

  def planned(topology: str | None = None, mesh: str = '', **overrides) -> dict:
    settings = MODEL | overrides
    key = str((topology, mesh, sorted(settings.items())))
    if key not in plans:
      request = request_for(FORKS / 'transformer.py', tmp_path / 'plan', **settings)
      plan.run(request._replace(mesh=MeshShape.parse(mesh) if mesh else None),
               topology=topology)
      plans[key] = json.loads((tmp_path / 'plan' / 'plan.json').read_text())
    return plans[key]

  return planned


def parameters(depth, width, length, vocabulary) -> int:
  """Of the transformer of the fork, by hand."""
  norms = 2 * 2 * width
  attention = 4 * (width * width + width)
  mlp = 2 * 4 * width * width + 5 * width
  return depth * (norms + attention + mlp) + (
    length * width + 2 * width + vocabulary * width)


def products(depth, width, length, vocabulary, batch) -> float:
  """FLOPs of a step without recomputation: two for each multiply-add, three passes."""
  tokens = batch * length
  block = 12 * width * width * tokens + 2 * length * width * tokens
  return 3 * 2 * (depth * block + vocabulary * width * tokens)


def test_here_by_hand(planned, capsys):
  found = planned(remat="'none'")
  count = parameters(4, 256, 64, 512)
  assert found['parameters'] == count
  assert found['parameter_bytes'] == 4 * count
  # Adam's two moments and a count, and 7 numbers of what the log measures.
  assert found['optimizer_bytes'] == 8 * count + 4 + 28
  assert found['checkpoint_bytes'] >= 12 * count
  assert found['model_flops'] == found['flops']
  assert found['flops'] == pytest.approx(products(4, 256, 64, 512, 16), rel=1e-3)
  assert found['memory_bytes'] is None and found['roofline'] is None and found['fits']
  assert found['costs']['collectives'] == {}
  out = capsys.readouterr().out
  assert f'{count:,}' in out and 'plan.json' in out and 'compiled in' in out


def test_depth_is_multiplied_out(planned):
  few, many = planned(depth=4), planned(depth=12)
  assert many['flops'] - few['flops'] == pytest.approx(
    2 * (few['flops'] - planned(depth=0 + 1, steps=4)['flops']) * 4 / 3, rel=1e-3)
  assert many['costs']['bytes_moved'] > 2 * few['costs']['bytes_moved']


def test_recomputation_is_not_counted_as_flops_of_the_model(planned):
  none, full = planned(remat="'none'"), planned()
  assert full['model_flops'] == none['flops'] < full['flops']
  assert full['temporary_bytes'] < none['temporary_bytes']


def test_nothing_is_allocated(planned):
  before = sum(x.nbytes for x in jax.live_arrays())
  planned(batch_size=8)
  assert sum(x.nbytes for x in jax.live_arrays()) - before < 4096


@needs_libtpu
@pytest.mark.slow('compile for TPUs')
def test_tpus_that_are_not_here(planned, capsys):
  found = planned('v5e:2x2', 'fsdp:4')
  assert (found['devices'], found['device_kind']) == (4, 'TPU v5 lite')
  count = parameters(4, 256, 64, 512)
  assert found['parameter_bytes'] < 1.05 * 4 * count / 4
  assert found['memory_bytes'] == 15.75 * 2**30 and found['fits']
  limit = found['roofline']
  times = [limit[f'{kind}_s'] for kind in ('compute', 'memory', 'network')]
  assert limit['step_s'] == max(times)
  assert limit['compute_s'] == pytest.approx(found['flops'] / 4 / 197e12)
  assert 0 < limit['mfu'] <= 1
  assert found['costs']['collectives']
  assert 'bound by' in capsys.readouterr().out


@needs_libtpu
@pytest.mark.slow('compile for TPUs')
def test_what_does_not_fit_is_reported_with_the_nearest_that_does(
  planned, tmp_path, capsys):
  with pytest.raises(UserError, match='does not fit; the nearest that does: --mesh='):
    planned('v5e:1x1', depth=2560, width=128, batch_size=32,
            remat="'none'")
  found = json.loads((tmp_path / 'plan' / 'plan.json').read_text())
  out = capsys.readouterr().out
  assert not found['fits'] and 'does not fit' in out
  assert found['nearest']['fits'], out
  assert 'remat=' in found['nearest']['flags']
  assert f"the nearest that fits: {found['nearest']['flags']}" in out
  assert found['nearest']['total_bytes'] < 15.75 * 2**30


@needs_libtpu
@pytest.mark.parametrize('topology, words', [
  ('v5x:2x2', "no TPU family 'v5x'"), ('v5e:3x5', 'v5e:'), ('v4:2x2', '3 dimensions')])
def test_an_unknown_topology_is_refused(planned, topology, words):
  with pytest.raises(UserError, match=words):
    planned(topology)


def test_neighbours_change_one_thing_first():
  start = Setting(MeshShape(data=4, fsdp=1, tensor=1), 2, 'none')
  found = list(plan._neighbours(start))
  assert len(found) == len(set(found)) and start not in found
  changed = [sum(a != b for a, b in zip(start, each, strict=True)) for each in found]
  assert changed == sorted(changed) and changed[0] == 1
  assert found[0] == start._replace(remat='dots')
  assert all(each.mesh.data * each.mesh.fsdp == 4 for each in found)
  assert MeshShape(data=1, fsdp=4, tensor=1) in {each.mesh for each in found}
