"""Tests of the forecasts of new files: by a run on the command line and in Python."""

import csv
import json

import numpy as np
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from tests.data.series.written import hourly, numbers, write

COUNT, LENGTH, HORIZON = 90, 8, 3
KNOBS = {'time': 'time', 'days': 'None', 'length': '8', 'horizon': '3', 'season': '4',
         'epochs': '1', 'batch_size': '16'}


def columns(count=COUNT):
  return {'time': hourly(count), 'load': numbers(count, 1) + 50,
          'price': numbers(count, 2)}


@pytest.fixture(scope='module')
def trained(tmp_path_factory, cache_dir):
  """(name, columns, knobs) -> the workdir of a run, trained once."""
  folder, found = tmp_path_factory.mktemp('runs'), {}

  def run(name, values, knobs):
    if name not in found:
      from bigmodels.cli.request import Request

      path = write(folder / f'{name}.csv', values)
      found[name] = folder / name
      train.run(Request(
        experiment='etth1_dlinear', overrides={**KNOBS, 'path': path, **knobs},
        workdir=str(folder / name), data_dir=None, cache_dir=cache_dir,
        require_backend=None))
    return found[name]

  return run


@pytest.fixture
def plain(trained):
  return trained('plain', columns(), {})


def forecast(request_for, workdir, path, output, **flags):
  predict.run(request_for(None, workdir, **flags), input=[str(path)],
              output=str(output))
  with output.open() as file:
    return [*csv.DictReader(file)]


def by_hand(run, values, end):
  """The forecast after the row before `end`, by the model and what the run keeps."""
  kept = run.built.data['kept']['series']
  mean, std = (np.array(kept[name][0]) for name in ('center', 'scale'))
  raw = np.stack([values['load'], values['price']], 1)[end - LENGTH : end]
  inputs = ((raw - mean) / std).astype(np.float32)[None]
  found = run.model.apply({'params': run.params}, inputs, train=False)
  return np.asarray(found)[0] * std + mean


def test_forecasts_come_after_the_last_row(request_for, plain, tmp_path):
  new = columns(40)
  new['load'] = new['load'] * 2
  rows = forecast(request_for, plain, write(tmp_path / 'new.csv', new),
                  tmp_path / 'out.csv')
  assert [row['time'] for row in rows] == hourly(43)[40:]
  run = bigmodels.load(plain, say=lambda line: None)
  expected = by_hand(run, new, 40)
  found = [[float(row['prediction_load']), float(row['prediction_price'])]
           for row in rows]
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert all(row['error'] == '' and row['row'] == '0' for row in rows)
  in_python = run.predict({name: np.asarray(c) for name, c in new.items()})
  np.testing.assert_allclose(in_python['predictions'][0], expected, rtol=1e-4)


def test_other_rows_of_a_file_change_no_forecast(request_for, plain, tmp_path):
  short = {name: column[-LENGTH:] for name, column in columns(40).items()}
  whole = forecast(request_for, plain, write(tmp_path / 'a.csv', columns(40)),
                   tmp_path / 'a_out.csv')
  last = forecast(request_for, plain, write(tmp_path / 'b.csv', short),
                  tmp_path / 'b_out.csv')
  assert whole == last


def test_rows_after_the_last_target_are_those_to_forecast(request_for, plain, tmp_path,
                                                          capsys):
  new = columns(43)
  for name in ('load', 'price'):
    new[name] = [*new[name][:40].tolist(), None, None, None]
  rows = forecast(request_for, plain, write(tmp_path / 'new.csv', new),
                  tmp_path / 'out.csv')
  assert '3 rows after the last one with a target: these are forecast' in (
    capsys.readouterr().out)
  assert [row['time'] for row in rows] == hourly(43)[40:]
  run = bigmodels.load(plain, say=lambda line: None)
  np.testing.assert_allclose([float(row['prediction_load']) for row in rows], by_hand(
    run, columns(40), 40)[:, 0], rtol=1e-4)


def test_windows_of_a_file_are_evaluated_like_those_of_a_split(
  plain, tmp_path):
  path = write(tmp_path / 'same.csv', {
    name: column[72 - LENGTH :] for name, column in columns().items()})
  result = json.loads((plain / 'result.json').read_text())['metrics']
  run = bigmodels.load(plain, say=lambda line: None)
  found = run.evaluate('test', data=[path])
  # The split is the last fifth of 90 rows, and its inputs may be rows before it.
  for name in ('mse', 'mae', 'mse_repeat', 'smape', 'mase'):
    assert found[f'test/{name}'] == pytest.approx(result[f'test/{name}'], rel=1e-5)


def test_what_new_files_lack_is_told(request_for, plain, tmp_path, capsys):
  new = columns(40)
  new['load'] = ['inf' if i == 38 else x for i, x in enumerate(new['load'])]
  new['price'] = [None if 10 <= i < 20 else x for i, x in enumerate(new['price'])]
  path = write(tmp_path / 'new.csv', new)
  forecast(request_for, plain, path, tmp_path / 'out.csv')
  said = capsys.readouterr().out
  assert 'missing: infinite or too large for float32: load (1)' in said
  assert 'missing: load 1 of the inputs; the last value is repeated' in said
  lines = []
  bigmodels.load(plain, say=lines.append).evaluate('test', data=[path])
  assert ('missing: of 40 rows load 1, price 10; inputs repeat the last value of the '
          'series, the mean before there is one; forecasts of missing values do not '
          'count') in lines


def test_intervals_of_quantiles_and_series_with_names(request_for, trained, tmp_path):
  values = {'shop': ['x'] * COUNT + ['y'] * COUNT, 'time': hourly(COUNT) * 2,
            'load': np.concatenate([numbers(COUNT, 1), numbers(COUNT, 2) + 20])}
  workdir = trained('shops', values, {
    'quantiles': '(0.1, 0.5, 0.9)', 'targets': 'load', 'series': 'shop'})
  metrics = json.loads((workdir / 'result.json').read_text())['metrics']
  assert 0 <= metrics['test/coverage'] <= 1 and metrics['test/crps'] > 0
  lines = []
  run = bigmodels.load(workdir, say=lines.append)
  only = {'shop': ['y'] * COUNT + ['x'] * 5, 'time': hourly(COUNT) + hourly(5),
          'load': [*values['load'][COUNT:], *values['load'][:5]]}
  scores = run.evaluate('test', data=[write(tmp_path / 'y.csv', only)])
  y, scale = values['load'][COUNT:], run.built.data['kept']['series']['scale'][0][0]
  naive = np.abs(y[4:63] - y[:59]).mean()  # in 63 training rows, with season=4
  assert scores['test/mase'] == pytest.approx(
    scores['test/mae'] * scale / naive, rel=1e-4)
  assert '1 of 2 series have too few rows for a window: x' in lines
  new = {'shop': ['z'] * 30 + ['w'] * 5, 'time': hourly(30) + hourly(5),
         'load': numbers(35, 5)}
  rows = forecast(request_for, workdir, write(tmp_path / 'new.csv', new),
                  tmp_path / 'out.csv')
  assert [row['shop'] for row in rows] == ['w'] * 3 + ['z'] * 3
  assert all(row['error'] == 'has 5 rows, a forecast needs 8' and not row['prediction']
             for row in rows[:3])
  for row in rows[3:]:
    assert float(row['lower']) < float(row['prediction']) < float(row['upper'])
    assert not row['error']


@pytest.mark.parametrize(('change', 'message'), [
  ({'load': None}, "targets: no column 'load'"),
  ({'time': hourly(40, step=30)}, r'its rows are 0:30:00 apart, those that the run was '
   r'trained on 1:00:00'),
  ({'load': ['x'] * 40}, "column 'load': 'x' is not a number"),
  ({'time': [*hourly(39), '2020-01-01 00:00:00']}, 'is that of line 2 too')])
def test_files_that_do_not_fit_a_run(request_for, plain, tmp_path, change, message):
  new = {name: column for name, column in (columns(40) | change).items()
         if column is not None}
  with pytest.raises(UserError, match=message):
    forecast(request_for, plain, write(tmp_path / 'new.csv', new), tmp_path / 'out.csv')
