"""The experiments on interactions, from a user's file to recommendations."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from tests.data.interactions.written import drawn, write

SMALL = {'epochs': 2, 'width': 8}


def blocks(folder):
  """Users of two kinds, who each have most of 12 items of their kind, in any order."""
  rng = np.random.default_rng(0)
  lines = ['user,item,stars,day']
  for user in range(60):
    items = rng.permutation(12)[:9] + 12 * (user % 2)
    lines += [f'u{user},i{item},{rng.integers(1, 6)},2024-01-{day + 1:02}'
              for day, item in enumerate(items)]
  return write(folder, '\n'.join([lines[0], *rng.permutation(lines[1:])]) + '\n')


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def rows(path):
  with open(path, newline='') as file:
    return [*csv.DictReader(file)]


@pytest.mark.slow('train on tables')
def test_a_users_own_clicks_train_and_recommend(request_for, tmp_path, plots):
  """Items of a user's own kind are recommended; the file is not needed for that."""
  path, workdir = blocks(tmp_path), tmp_path / 'run'
  train.run(request_for('movielens_neumf', workdir, path=path, time='day', epochs=25,
                        model='gmf', batch_size=64, learning_rate=0.02, width=8))
  metrics = result(workdir)['metrics']
  assert metrics['test/hr5'] > 0.9 > metrics['test/popularity_hr5'] + 0.2
  report = (workdir / 'report.html').read_text()
  for title in ('Hit rate by length of the list', 'Popularity of recommended items',
                'Hit rate by popularity of the item'):
    assert title in report
  assert '60 users, 24 items, 540 interactions' in report
  shutil.move(path, tmp_path / 'gone.csv')
  asked = write(tmp_path, 'user\nu4\nu7\nnobody\n', 'who.csv')
  output = tmp_path / 'out.csv'
  predict.run(request_for(None, workdir), input=[asked], output=str(output))
  found = rows(output)
  assert [row['user'] for row in found] == ['u4', 'u7', 'nobody']
  assert "does not know the user 'nobody'" in found[2]['error']
  had = {'u4': set(), 'u7': set()}
  for row in rows(tmp_path / 'gone.csv'):
    had.get(row['user'], set()).add(row['item'])
  for row, kind in zip(found[:2], (0, 1), strict=True):
    items = [row[f'item_{place}'] for place in range(1, 11)]
    assert not {*items} & had[row['user']]
    assert all(int(item[1:]) // 12 == kind for item in items[:3])  # of 3 that are left
    scores = [float(row[f'score_{place}']) for place in range(1, 11)]
    assert scores == sorted(scores, reverse=True)
  run = bigmodels.load(workdir, say=lambda line: None)
  assert run.predict(['u4'])['recommended'].shape == (1, 10)


@pytest.mark.slow('train on tables')
def test_ratings_of_a_users_own_file(request_for, tmp_path, plots):
  path, workdir = drawn(tmp_path), tmp_path / 'run'
  train.run(request_for('movielens_mf', workdir, path=path, time='time',
                        batch_size=64, **SMALL))
  metrics = result(workdir)['metrics']
  assert metrics['test/rmse'] < 2 and 'test/biases_rmse' in metrics
  report = (workdir / 'report.html').read_text()
  assert 'Predicted rating by rating' in report and 'Residuals' in report
  pairs = write(tmp_path, 'user,item\nu3,i4\nu3,i999\n', 'pairs.csv')
  output = tmp_path / 'out.csv'
  predict.run(request_for(None, workdir), input=[pairs], output=str(output))
  found = rows(output)
  assert 1 <= float(found[0]['prediction']) <= 5 and found[1]['prediction'] == ''
  assert "does not know the item 'i999'" in found[1]['error']


@pytest.mark.slow('train')
@pytest.mark.parametrize(('kind', 'model'), [
  ('implicit', 'two_tower'), ('implicit', 'mlp'), ('implicit', 'dlrm'),
  ('explicit', 'neumf')])
def test_other_models_train(request_for, tmp_path, kind, model):
  path, rating = drawn(tmp_path), 'rating' if kind == 'explicit' else None
  ages = write(tmp_path, 'user,age,sex\n' + ''.join(
    f'u{n},{20 + n},{"mf"[n % 2]}\n' for n in range(30)), 'users.csv')
  more = {'user_features': ages} if model == 'dlrm' else {}
  train.run(request_for('movielens_neumf', tmp_path / 'run', path=path, kind=kind,
                        model=model, rating=rating, time='time', batch_size=64,
                        **more, **SMALL))
  assert result(tmp_path / 'run')['status'] == 'finished'


@pytest.mark.slow('train on tables')
def test_sequences_of_a_users_own_file(request_for, tmp_path):
  """Items follow each other in a circle: the next one is the best recommendation."""
  lines, rng = ['who,what,when'], np.random.default_rng(0)
  for user in range(80):
    first = rng.integers(0, 15)
    lines += [f'{user},{(first + step) % 15},{step}' for step in range(8)]
  path = write(tmp_path, '\n'.join(lines) + '\n')
  workdir = tmp_path / 'run'
  train.run(request_for(
    'games_sasrec', workdir, path=path, user='who', item='what', time='when', epochs=40,
    width=16, depth=1, dropout=0.1, length=8, batch_size=8, learning_rate=0.01,
    loss='full_softmax'))
  metrics = result(workdir)['metrics']
  assert metrics['test/hr1'] > 0.95 > metrics['test/popularity_hr1'] + 0.5
  output = tmp_path / 'out.csv'
  predict.run(request_for(None, workdir), output=str(output),
              input=[write(tmp_path, 'who\n0\n1\n', 'who.csv')])
  last = {row['who']: int(row['what']) for row in rows(path) if row['when'] == '7'}
  assert [int(row['item_1']) for row in rows(output)] == [
    (last[user] + 1) % 15 for user in ('0', '1')]


@pytest.mark.parametrize(('name', 'settings', 'message'), [
  ('movielens_neumf', {'rating': 'rating'}, "rating: is for kind='explicit', or with"),
  ('movielens_neumf', {'path': None, 'time': 'date'}, 'time: is for a file: set path'),
  ('movielens_mf', {'path': None, 'split': 'set'}, 'split: is for a file: set path'),
  ('games_sasrec', {'path': None, 'time': 'date'}, 'time: is for a file: set path'),
  ('movielens_neumf', {'kind': 'explicit'}, 'rating: set the column of ratings'),
  ('movielens_neumf', {'kind': 'explicit', 'rating': 'rating', 'model': 'two_tower'},
   "kind: 'explicit' is of ratings"),
  ('movielens_mf', {'rating': 'stars'}, "rating: no column 'stars'"),
  ('movielens_mf', {'scale': '(2, 5)'}, 'the rating 1 is not on the scale 2 to 5'),
  ('movielens_mf', {'rating': 'user'}, "must be different columns, got 'user' twice"),
  ('movielens_neumf', {'item': 'film'}, "item: no column 'film'"),
  ('games_sasrec', {'time': 'date'}, "time: no column 'date'"),
  ('games_sasrec', {'length': 0}, 'length: must be >= 1, got 0')])
def test_what_does_not_fit_is_refused(request_for, tmp_path, name, settings, message):
  with pytest.raises(UserError, match=message):
    train.run(request_for(
      name, tmp_path / 'run', **{'path': drawn(tmp_path), **settings}))


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize('name', ['movielens_mf', 'movielens_neumf', 'games_sasrec'])
def test_a_run_that_was_killed_ends_with_the_same_bits(
  request_for, command, tmp_path, capsys, name):
  """Negatives and dropout among them."""
  settings = {'path': drawn(tmp_path), 'time': 'time', 'width': 8, 'batch_size': 8,
              'duration.steps': 600, 'duration.epochs': None,
              'checkpoint_every.minutes': None, 'checkpoint_every.steps': 50,
              'log_every.steps': 10, 'evaluate_every.epochs': None,
              'evaluate_every.steps': 300}
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  train.run(request_for(name, whole, **settings))
  process = subprocess.Popen(
    command(f'--experiment={name}', f'--workdir={cut}', *(
      f'--config.{key}={value}' for key, value in settings.items())),
    cwd=tmp_path, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  log, saved = cut / 'metrics.jsonl', cut / 'checkpoints'
  while process.poll() is None and (
    not log.is_file() or len(log.read_text().splitlines()) < 15
    or not any(path.name.isdecimal() for path in saved.glob('*'))):
    time.sleep(0.002)
  process.kill()
  process.wait()
  assert process.returncode == -signal.SIGKILL, 'it was over before it was killed'
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  assert log.read_bytes() == (whole / 'metrics.jsonl').read_bytes()
  assert result(cut)['metrics'] == result(whole)['metrics']
