"""Runs of several seeds in one program are those made one by one."""

import json
import subprocess

import chex
import numpy as np
import pytest
from scipy import stats

import bigmodels
from bigmodels.config import resolving
from bigmodels.core.errors import UserError
from bigmodels.modes import train
from bigmodels.parallel.layout import make_layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build, members, results
from tests.forks import diverging
from tests.processes import of_devices
from tests.training.checkpoints import arrays_of

SEEDS = range(3, 5)  # from the seed of the experiment


def _together(request_for, tiny, tmp_path, **settings):
  """Folders of seeds that are trained together, and one by one."""
  together, alone = tmp_path / 'together', tmp_path / 'alone'
  train.run(request_for(tiny, together, **settings), seeds=len(SEEDS))
  for seed in SEEDS:
    train.run(request_for(tiny, alone / f'seed_{seed}', seed=seed, **settings))
  return [[folder / f'seed_{seed}' for seed in SEEDS] for folder in (together, alone)]


def _result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def _same_run(ours, theirs):
  """To rounding: XLA fuses the operations of a loop over members in other ways."""
  assert (ours / 'config.txt').read_bytes() == (theirs / 'config.txt').read_bytes()
  logs = ([*map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())]
          for workdir in (ours, theirs))
  for mine, its in zip(*logs, strict=True):
    chex.assert_trees_all_close(mine, its, rtol=1e-3, atol=1e-4)
  mine, its = _result(ours), _result(theirs)
  assert mine.keys() == its.keys()
  for key in ('step', 'best_step', 'status', 'stopped_by', 'threshold'):
    assert mine[key] == its[key], key
  chex.assert_trees_all_close(mine['metrics'], its['metrics'], rtol=1e-3, atol=1e-4)
  steps = [sorted(path.name for path in (workdir / 'checkpoints').iterdir())
           for workdir in (ours, theirs)]
  assert steps[0] == steps[1]
  for step in steps[0]:
    mine, its = arrays_of(ours, int(step)), arrays_of(theirs, int(step))
    assert len(mine) > 20
    chex.assert_trees_all_close(mine, its, atol=1e-3)


@pytest.mark.parametrize('settings', [
  {'steps': 20},
  pytest.param({'steps': 30, 'resident': False, 'accumulate': 2, 'average': 0.9},
               marks=pytest.mark.slow('train')),
  pytest.param({'steps': 150, 'patience': 1, 'learning_rate': 0.03},
               marks=pytest.mark.slow('train'))],
  ids=['resident', 'streamed in microbatches', 'stopped early'])
def test_members_are_single_runs_to_rounding(request_for, tiny, tmp_path,
                                                   settings):
  inside, alone = _together(request_for, tiny, tmp_path, **settings)
  for ours, theirs in zip(inside, alone, strict=True):
    _same_run(ours, theirs)
  assert len({_result(workdir)['metrics']['test/loss'] for workdir in inside}) == 2
  if 'patience' in settings:  # they end at different steps
    assert len({_result(workdir)['step'] for workdir in inside}) > 1
  whole = _result(tmp_path / 'together')
  assert whole['seeds'] == [*SEEDS] and whole['status'] == 'finished'
  values = [_result(workdir)['metrics']['test/accuracy'] for workdir in inside]
  found = whole['statistics']['test/accuracy']
  assert whole['metrics']['test/accuracy'] == values
  assert found['mean'] == pytest.approx(np.mean(values))
  assert found['interval'] == pytest.approx(stats.t.interval(
    0.95, 1, np.mean(values), stats.sem(values)))


@pytest.mark.slow('train')
def test_at_once_members_are_single_runs(
  request_for, tiny, tmp_path, monkeypatch):
  """As on a GPU or TPU."""
  of = members.Members.of
  monkeypatch.setattr(members.Members, 'of', lambda *given: of(*given)._replace(
    in_turn=False))
  inside, alone = _together(request_for, tiny, tmp_path, steps=20)
  for ours, theirs in zip(inside, alone, strict=True):
    _same_run(ours, theirs)


def test_a_member_that_diverges_is_left_out(request_for, tmp_path, capsys):
  train.run(request_for(diverging.__file__, tmp_path / 'run'), seeds=3)
  out = capsys.readouterr().out
  assert 'warning: seed 2: train/loss is not finite at step 1; the others go on' in out
  assert 'step 10, 2 seeds, seed 2 not finite: test/accuracy' in out
  assert 'Seed 2 ended with a value that is not finite' in (
    tmp_path / 'run/report.html').read_text()
  whole = _result(tmp_path / 'run')
  assert whole['seeds'] == [0, 1] and whole['not_finite'] == [2]
  assert len(whole['metrics']['test/loss']) == 2
  found = _result(tmp_path / 'run/seed_2')
  assert found == {'status': 'not finite', 'step': 1, 'metric': 'train/loss'}
  with pytest.raises(UserError, match='train/loss is not finite at step 1'):
    train.run(request_for(diverging.__file__, tmp_path / 'one', seed=2), seeds=2)


def test_a_folder_of_several_runs_names_one_of_them(request_for, tiny, tmp_path,
                                                    capsys):
  path = tmp_path / 'run'
  train.run(request_for(tiny, path, steps=10), seeds=2)
  out = capsys.readouterr().out
  assert '2 runs of ' in out and '2 seeds: ' in out and ' ± ' in out
  with pytest.raises(UserError, match=r'run holds 2 runs, one for each seed; open one '
                                      r'of them, such as .*run/seed_3'):
    bigmodels.load(path)
  with pytest.raises(UserError, match='run holds 2 runs, one for each seed'):
    train.run(request_for(tiny, tmp_path / 'other', init_from=path))
  with pytest.raises(UserError, match='holds 2 runs; extend each of them, such as --w'):
    train.run(request_for(None, path), extend='10steps')
  train.run(request_for(None, path))
  assert 'this run is finished' in capsys.readouterr().out
  assert bigmodels.load(path / 'seed_4', say=lambda line: None).step == 10


def test_seeds_that_are_refused(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='seeds: must be >= 1, got 0'):
    train.run(request_for(tiny, tmp_path), seeds=0)
  with pytest.raises(UserError, match=r'for the last of 2 seeds, got 4294967296'):
    train.run(request_for(tiny, tmp_path, seed=2**32 - 1), seeds=2)


def test_statistics_are_of_numbers_alone():
  found = results.statistics({'loss': [1.0, 2.0, 6.0], 'matrix': [[1, 2], [3, 4]],
                              'one': [1.0]})
  assert found.keys() == {'loss'}
  assert found['loss']['mean'] == pytest.approx(3)
  assert found['loss']['deviation'] == pytest.approx(7**0.5)


@pytest.mark.slow('train on eight devices')
@pytest.mark.parametrize('flags', [
  ('--mesh=population:2,data:2,fsdp:2',), ('--mesh=data:8',),
  ('--mesh=data:8', '--parallel=pmap')], ids=' '.join)
def test_members_are_the_same_on_any_mesh(command, request_for, tiny, tmp_path, flags):
  settings = {'steps': 20, 'train__batch_size': 48}
  train.run(request_for(tiny, tmp_path / 'one', **settings), seeds=2)
  subprocess.run(command(
    f'--experiment={tiny}', f'--workdir={tmp_path / "eight"}', '--seeds=2', *flags,
    *(f'--config.{name.replace("__", ".")}={value}'
      for name, value in settings.items())), check=True,
      env=of_devices(8))
  one, eight = (_result(tmp_path / name) for name in ('one', 'eight'))
  assert 'population:2' in eight['mesh'] or 'data:8' in eight['mesh']
  for name in ('train/loss', 'test/loss', 'validation/loss'):
    np.testing.assert_allclose(one['metrics'][name], eight['metrics'][name], rtol=1e-3)


def test_a_mesh_that_does_not_divide_the_seeds_is_refused(tiny):
  experiment = resolving.resolve(str(tiny), {'seeds': '3'}).experiment
  layout = make_layout(MeshShape(), 'jit', ())._replace(
    shape=MeshShape(data=1, population=2))
  with pytest.raises(UserError, match='population:2 does not divide --seeds=3'):
    build.build(experiment, layout, None)
