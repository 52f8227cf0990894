"""The experiment on anomalies: files with and without labels, from a knob to flags."""

import json
import shutil

import jax
import numpy as np
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from bigmodels.storage.workdir import Workdir

METHODS = pytest.mark.parametrize('method', ['autoencoder', pytest.param(
  'deep_svdd', marks=pytest.mark.slow('train on tables'))])


def table(folder, name='rows.csv', count=200, *, label=True, flip=False, seed=0,
          **changes):
  """Rows near a plane, every 20th far from it, and the label of these if asked for."""
  rng = np.random.default_rng(seed)
  lines = [','.join(['name', 'a', 'b', 'c', 'kind', *['fraud'] * label])]
  for i in range(count):
    a, b = rng.normal(size=2)
    c = a - b + 0.1 * rng.normal() + (8 if i % 20 == 7 else 0)
    row = {'name': f'r{i}', 'a': f'{a:.4f}', 'b': f'{b:.4f}', 'c': f'{c:.4f}',
           'kind': 'uvw'[i % 3]}
    row |= {k: v for k, v in changes.items() if k in row}
    lines.append(','.join([*row.values(), *[str(int((i % 20 == 7) != flip))] * label]))
  (folder / name).write_text('\n'.join(lines) + '\n')
  return folder / name


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def parameters(workdir, cache_dir):
  run = bigmodels.load(str(workdir), cache_dir=cache_dir)
  return {'params': run.params, 'state': run.model_state}


def read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@METHODS
def test_a_file_without_labels_is_scored_and_flagged(
    method, request_for, tmp_path, capsys, plots):
  path, workdir = table(tmp_path, label=False), tmp_path / 'run'
  train.run(request_for('anomaly_table', workdir, path=path, id='name', method=method,
                        contamination=0.05, epochs=20))
  said = capsys.readouterr().out
  assert 'label: none, all columns are features' in said
  found = result(workdir)
  chosen = found['threshold']
  assert {**chosen, 'value': 0, 'step': 0} == {
    'value': 0, 'by': 'contamination', 'split': 'train_again', 'score': 0.05, 'step': 0}
  assert (f'threshold {chosen["value"]:.4g}, by contamination on train_again: 0.0500'
          in said)
  assert {name for name in found['metrics'] if name.startswith('train_again/')} == {
    'train_again/loss', 'train_again/flagged'}
  assert found['metrics']['train_again/flagged'] == 0.05
  predict.run(request_for(None, workdir), input=[str(path)],
              output=str(tmp_path / 'scores.jsonl'))
  rows = read(tmp_path / 'scores.jsonl')
  assert [row['name'] for row in rows] == [f'r{i}' for i in range(200)]
  scores = np.array([row['score'] for row in rows])
  np.testing.assert_array_equal(
    [row['flagged'] for row in rows], scores >= chosen['value'])
  assert sum(row['flagged'] for row in rows) == 10
  loss = found['metrics']['train_again/loss']
  assert np.mean(scores) == pytest.approx(loss, rel=1e-5)
  report = (workdir / 'report.html').read_text()
  top = np.argmax(scores)
  assert 'Highest scores' in report and f'<td>r{top}</td>' in report
  if method == 'autoencoder':  # the planted ones, and the column they are due to
    assert np.mean([i % 20 == 7 for i in np.argsort(-scores)[:10]]) >= 0.5
    assert f'<td>{top}</td><td>{scores[top]:.4g}</td><td>c ' in report


@pytest.mark.slow('train on tables')
@pytest.mark.parametrize('method', ['autoencoder', 'deep_svdd'])
def test_labels_change_no_bit_of_what_is_learned(method, request_for, tmp_path,
                                                 cache_dir):
  ends = []
  for name, flip, more in (
    ('a', False, {'label': 'fraud'}), ('b', True, {'label': 'fraud', 'normal': '1'}),
    ('c', False, {'drop': 'fraud'})):
    path = table(tmp_path, f'{name}.csv', flip=flip)
    train.run(request_for('anomaly_table', tmp_path / name, path=path, id='name',
                          method=method, epochs=3, held_out=0.2, **more))
    ends.append(parameters(tmp_path / name, cache_dir))
  for other in ends[1:]:
    jax.tree.map(np.testing.assert_array_equal, ends[0], other)
  ours, theirs = (result(tmp_path / name)['metrics'] for name in 'ab')
  assert ours == theirs  # of the other class
  assert {'test/roc_auc', 'test/average_precision', 'test/f1_at_threshold',
          'train_again/roc_auc'} <= ours.keys()


@pytest.mark.slow('train on tables')
def test_the_centre_is_resumed(request_for, tmp_path, cache_dir):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  train.run(request_for(
    'anomaly_table', whole, path=table(tmp_path), label='fraud', id='name',
    method='deep_svdd', epochs=4, batch_size=20, keep=9, checkpoint_every__steps=10,
    checkpoint_every__minutes='None'))
  shutil.copytree(whole, cut)
  for name in ('result.json', 'report.html'):
    (cut / name).unlink()
  later = [path for path in (cut / 'checkpoints').iterdir()
           if path.name.isdecimal() and int(path.name) > 10]
  assert len(later) > 1 and (cut / 'checkpoints' / '10').is_dir()
  for path in later:
    shutil.rmtree(path)
  train.run(request_for(None, cut))
  ends = [parameters(workdir, cache_dir) for workdir in (whole, cut)]
  assert np.abs(ends[0]['state']['batch_stats']['centre']).min() >= 0.1
  jax.tree.map(np.testing.assert_array_equal, *ends)


def test_new_files_are_scored_with_what_they_lack(request_for, tmp_path, capsys):
  workdir = tmp_path / 'run'
  train.run(request_for('anomaly_table', workdir, path=table(tmp_path), id='name',
                        label='fraud', epochs=2))
  new = table(tmp_path, 'new.csv', 40, label=False, seed=1, a='')
  outputs = []
  for name in ('first.csv', 'again.csv'):
    capsys.readouterr()
    predict.run(request_for(None, workdir), input=[str(new)],
                output=str(tmp_path / name))
    outputs.append((tmp_path / name).read_text())
  assert 'fill_missing: a (40 of 40)' in capsys.readouterr().out
  assert outputs[0] == outputs[1]
  assert outputs[0].startswith('"row","name","score","flagged","error"\n0,"r0",')
  (tmp_path / 'lacks.csv').write_text('a,b,kind\n1,2,u\n')
  with pytest.raises(UserError, match="no column 'c'"):
    predict.run(request_for(None, workdir), input=[str(tmp_path / 'lacks.csv')],
                output=str(tmp_path / 'none.csv'))


def test_a_test_file_may_have_anomalies_that_training_has_not(request_for, tmp_path):
  normal, mixed = tmp_path / 'normal.csv', table(tmp_path, 'mixed.csv', 100, seed=1)
  header, *lines = table(tmp_path).read_text().splitlines()
  normal.write_text('\n'.join([header, *(x for x in lines if x.endswith(',0'))]))
  train.run(request_for('anomaly_table', tmp_path / 'run', path=normal, test=mixed,
                        label='fraud', id='name', epochs=20))
  found = result(tmp_path / 'run')['metrics']
  assert found['test/roc_auc'] > 0.9 and 'train_again/roc_auc' not in found


def kinds(folder, values):
  lines = [f'{i * i % 97},{i % 13},{i / 7},{values[i % len(values)]}'
           for i in range(60)]
  (folder / 'kinds.csv').write_text('\n'.join(['a,b,c,y', *lines]) + '\n')
  return folder / 'kinds.csv'


@pytest.mark.parametrize('values, settings, problem', [
  ('uvw', {}, 'the labels have 3 classes, u, v, w: which are no anomalies'),
  ([1, 1, 1, 0], {}, r'anomalies \(1\), more than half'),
  ('u', {}, "all 60 labels are 'u'; two classes are needed"),
  ('uuv', {'normal': 'w'}, "normal: no class 'w'"),
  ([i / 7 for i in range(60)], {}, '60 different values in 60 rows'),
  ('uuv', {'contamination': 0.9}, r'contamination: must be > 0 and <= 0\.5, got 0\.9'),
  ('uuv', {'held_out': 1.5}, 'held_out: must be > 0 and < 1, got 1.5'),
  ('uuv', {'drop': 'b', 'normal': 'u'},
   r'widths: one must be < 2, the values of an input, got \(8, 2\)'),
])
def test_bad_input_is_refused_in_a_line(values, settings, problem, request_for,
                                        tmp_path):
  with pytest.raises((UserError, ValueError), match=problem) as error:
    train.run(request_for('anomaly_table', tmp_path / 'run', label='y',
                          path=kinds(tmp_path, values), **settings))
  assert '\n' not in str(error.value)
  assert not Workdir(tmp_path / 'run').checkpoints.exists()


def test_settings_of_a_file_need_a_path(request_for, tmp_path):
  with pytest.raises((UserError, ValueError), match='label: is for a file: set path'):
    train.run(request_for('anomaly_table', tmp_path / 'run', label='y'))
