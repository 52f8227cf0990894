"""Cross-validation: every fold is a run, and together they answer for all examples."""

import contextlib
import csv
import io
import json
import shutil

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import StratifiedKFold

import bigmodels
from bigmodels.cli.request import Request
from bigmodels.config import resolving
from bigmodels.core.errors import UserError
from bigmodels.modes import train
from bigmodels.training import cross_validation, results
from bigmodels.training.folded import folded

SETTINGS = {'epochs': 1, 'width': 4, 'batch_size': 8}
COLUMNS = ('age', 'sex', 'cp', 'trestbps', 'chol', 'restecg', 'slope', 'thal', 'num')
ROWS = 90


def _result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def _predictions(workdir):
  with open(workdir / 'out_of_fold.csv') as file:
    return [*csv.DictReader(file)]


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  """A table as `heart_mlp` reads, which has no evaluation besides its folds."""
  rng = np.random.default_rng(0)
  rows = [[row, *rng.integers(0, 3, len(COLUMNS) - 1)] for row in range(ROWS)]
  path = tmp_path_factory.mktemp('table') / 'heart.csv'
  path.write_text('\n'.join(','.join(map(str, row)) for row in [COLUMNS, *rows]) + '\n')
  return path, np.array([row[-1] > 0 for row in rows])


@pytest.fixture(scope='module')
def trained(tmp_path_factory, table):
  """A workdir with three folds, and what was printed."""
  folder = tmp_path_factory.mktemp('folds')
  said = io.StringIO()
  with contextlib.redirect_stdout(said):
    train.run(Request(
      experiment='heart_mlp', workdir=str(folder / 'run'), data_dir=None,
      cache_dir=folder / 'cache', require_backend=None, overrides={
        name: str(value) for name, value in {**SETTINGS, 'path': table[0]}.items()}),
      folds=3)
  return folder / 'run', said.getvalue()


def test_every_training_example_is_predicted_by_the_fold_that_held_it_out(
  trained, table):
  path, labels = trained[0], table[1]
  rows = _predictions(path)
  assert [int(row['row']) for row in rows] == [*range(ROWS)]
  assert [row['label'].startswith('high') for row in rows] == labels.tolist()
  folds = StratifiedKFold(3, shuffle=True, random_state=0).split(labels, labels)
  for fold, (_, held) in enumerate(folds):
    assert {rows[index]['fold'] for index in held} == {str(fold)}
  whole = _result(path)
  right = np.mean([row['prediction'] == row['label'] for row in rows])
  assert whole['pooled']['held_out/accuracy'] == pytest.approx(right)
  logs = -np.mean([np.log(float(row[f'probability_{row["label"]}'])) for row in rows])
  assert whole['pooled']['held_out/loss'] == pytest.approx(logs, rel=1e-4)


def test_a_fold_is_the_run_made_by_hand(trained, table, request_for, tmp_path):
  train.run(request_for('heart_mlp', tmp_path / 'one', folds=3, fold=1, path=table[0],
                        **SETTINGS))
  ours, alone = trained[0] / 'fold_1', tmp_path / 'one'
  assert _result(ours)['metrics'] == _result(alone)['metrics']
  assert (ours / 'config.txt').read_text() == (alone / 'config.txt').read_text()
  run = bigmodels.load(alone, say=lambda line: None)
  assert run.evaluate('held_out')['held_out/accuracy'] == (
    _result(ours)['metrics']['held_out/accuracy'])


def test_the_results_are_of_all_folds(trained):
  path, said = trained
  whole = _result(path)
  each = [_result(path / f'fold_{fold}') for fold in range(3)]
  values = [one['metrics']['held_out/accuracy'] for one in each]
  assert whole['folds'] == [0, 1, 2] and whole['status'] == 'finished'
  assert whole['metrics']['held_out/accuracy'] == values
  found = whole['statistics']['held_out/accuracy']
  assert found['mean'] == pytest.approx(np.mean(values))
  # Nadeau and Bengio (2003), (9): half as many are held out as are trained on.
  error = np.std(values, ddof=1) * (1 / 3 + 1 / 2) ** 0.5
  assert found['interval'] == pytest.approx(
    stats.t.interval(0.95, 2, np.mean(values), error), rel=2e-3)
  records = [json.loads(line) for line in (path / 'metrics.jsonl').read_text(
    ).splitlines()]
  last = records[-1]
  assert last['step'] == 8 and last['held_out/accuracy'] == values
  assert '3 folds: ' in said and 'pooled: held_out/accuracy' in said
  page = (path / 'report.html').read_text()
  assert 'href="fold_2/report.html"' in page and 'Pooled metrics are of all' in page


def test_a_finished_cross_validation_says_so(trained, request_for, capsys):
  path, _ = trained
  before = (path / 'result.json').read_bytes()
  train.run(request_for(None, path))
  assert 'this run is finished' in capsys.readouterr().out
  assert (path / 'result.json').read_bytes() == before
  with pytest.raises(UserError, match='holds 3 runs; extend each of them, such as --w'):
    train.run(request_for(None, path), extend='10steps')
  with pytest.raises(UserError, match='holds 3 runs, one for each fold; open one of '):
    bigmodels.load(path)


def test_a_fold_that_is_gone_is_trained_again(trained, request_for, tmp_path):
  path = tmp_path / 'again'
  shutil.copytree(trained[0], path)
  before = _result(path)
  for file in (path / 'result.json', path / 'fold_2/result.json'):
    file.unlink()
  shutil.rmtree(path / 'fold_2/checkpoints')
  train.run(request_for(None, path))
  now = _result(path)
  assert now['metrics'] == before['metrics'] and now['pooled'] == before['pooled']


def test_outputs_are_pooled_in_order(trained):
  run = bigmodels.load(trained[0] / 'fold_0', say=lambda line: None)
  opened = run.reopen(with_data=True)
  found = cross_validation.pooled([opened, opened])
  length = opened.built.evals['held_out'].dataset.length
  assert [*found.outputs['row']] == [*range(2 * length)]
  np.testing.assert_array_equal(found.folds, np.repeat([0, 1], length))
  once = opened.evaluate('held_out')
  assert found.metrics['held_out/accuracy'] == pytest.approx(
    once['held_out/accuracy'])
  dataset = found.built.evals['held_out'].dataset
  index = np.array([length + 1, 0])
  theirs = opened.built.evals['held_out'].dataset.read(np.array([1, 0]))
  for name, column in dataset.read(index).items():
    np.testing.assert_array_equal(column, theirs[name])


# --- settings ---------------------------------------------------------------------


@pytest.mark.parametrize('settings, problem', [
  ({'folds': 0}, 'folds: must be >= 1, got 0'),
  ({'folds': 3, 'seeds': 2}, 'folds: must be 1 with seeds=2, got 3'),
  ({'folds': 3, 'fold': 3}, 'fold: must be 0 to 2, or None with folds=3, got 3'),
  ({'fold': 0}, 'fold: must be None with folds=1, got 0')])
def test_settings_that_are_refused(tiny, settings, problem):
  with pytest.raises(UserError, match=problem):
    resolving.resolve(str(tiny), {k: str(v) for k, v in settings.items()})


def test_more_folds_than_examples_leave_no_folder(request_for, table, tmp_path):
  with pytest.raises(UserError, match=r'must be <= .* of class 0, got 40; with'):
    train.run(request_for('heart_mlp', tmp_path / 'run', path=table[0]), folds=40)
  assert not (tmp_path / 'run').exists()


def test_augmentations_are_not_for_what_is_held_out(tiny):
  experiment = resolving.resolve(str(tiny), {'folds': '3', 'fold': '1'}).experiment
  found = folded(experiment)
  assert [*found.evals] == ['validation', 'test', 'held_out']
  assert found.evals['held_out'].transforms == found.evals['validation'].transforms
  assert found.train.transforms == experiment.train.transforms
  assert folded(found) == found
  alone = resolving.resolve(str(tiny), {}).experiment
  assert folded(alone) is alone


def test_an_interval_of_folds_is_wider():
  alone, shared = (results.statistics({'loss': [1.0, 2.0, 6.0]}, overlap)['loss']
                   for overlap in (0.0, 0.5))
  widths = [each['interval'][1] - each['mean'] for each in (alone, shared)]
  assert widths[1] / widths[0] == pytest.approx((1 + 3 / 2) ** 0.5)
