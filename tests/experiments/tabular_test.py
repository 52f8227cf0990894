"""The experiment on CSV files, from the command line's settings to its report."""

import json

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import train


def blobs(folder, name, count=150, kinds=('a', 'b', 'c'), swapped=False):
  """Rows of three kinds, far apart."""
  rng = np.random.default_rng(0)
  lines = ['wide,long,kind' if swapped else 'long,wide,kind']
  for i in range(count):
    row = [f'{rng.normal(4 * (i % 3)):.4f}', f'{rng.normal(-3 * (i % 3)):.4f}']
    lines.append(','.join([*(row[::-1] if swapped else row), kinds[i % 3]]))
  (folder / name).write_text('\n'.join(lines) + '\n')
  return folder / name


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def test_a_small_file_trains_and_is_described(request_for, tmp_path, capsys):
  path = blobs(tmp_path, 'small.csv')
  settings = {'path': path, 'label': 'kind', 'epochs': 6}
  train.run(request_for('tabular_mlp', tmp_path / 'run', **settings))
  said = capsys.readouterr().out
  assert 'a batch of 15, for a training split of 120 examples' in said
  found = result(tmp_path / 'run')
  assert found['step'] == 48 and found['metrics']['test/accuracy'] > 0.8
  report = (tmp_path / 'run' / 'report.html').read_text()
  kept = json.loads((tmp_path / 'run' / 'data.json').read_text())['kept']['notes']
  assert any(line.startswith('train: 120 examples: a ') for line in kept)
  assert len(kept) == 12 and all(line.strip() in report for line in kept)
  with pytest.raises(UserError, match=r'--config\.train\.batch_size=128: the split has '
                     'only 120 examples; set it to at most that'):
    train.run(request_for('tabular_mlp', tmp_path / 'big', batch_size=128, **settings))
  with pytest.raises(UserError, match='batch_size: must be >= 1, got 0'):
    train.run(request_for('tabular_mlp', tmp_path / 'none', batch_size=0, **settings))


@pytest.mark.slow('train on tables')
@pytest.mark.parametrize('count', [10, 12, 30, 1019])
def test_other_small_files_train(request_for, tmp_path, count):
  path = blobs(tmp_path, 'small.csv', count)
  train.run(request_for('tabular_mlp', tmp_path / 'run', path=path, label='kind',
                        epochs=2, duplicates='keep'))
  assert result(tmp_path / 'run')['status'] == 'finished'


@pytest.mark.parametrize('count', [2, 3, 5])
def test_files_without_rows_for_every_split_are_refused(request_for, tmp_path, count):
  path = blobs(tmp_path, 'small.csv', count)
  with pytest.raises(UserError, match=f'the split .* of {count} rows is empty'):
    train.run(request_for('tabular_mlp', tmp_path / 'run', path=path, label='kind'))


def test_the_cleaning_of_train_alone_is_refused(request_for, tmp_path):
  path = blobs(tmp_path, 'data.csv')
  with pytest.raises(UserError, match='validation and train are cut from one source in '
                     'two ways') as error:
    train.run(request_for('tabular_mlp', tmp_path / 'run', path=path, label='kind',
                          train__source__clean__0='bigmodels.data.cleaning.fill_missing'))
  assert '\n' not in str(error.value)


@pytest.mark.slow('train on tables')
def test_another_order_of_columns_changes_nothing(request_for, tmp_path):
  first = {'path': blobs(tmp_path, 'a.csv'), 'label': 'kind', 'epochs': 6}
  train.run(request_for('tabular_mlp', tmp_path / 'a', **first))
  again = {'epochs': 2, 'learning_rate': 0, 'init_from': tmp_path / 'a'}
  train.run(request_for('tabular_mlp', tmp_path / 'b', **first | again | {
    'path': blobs(tmp_path, 'b.csv', swapped=True)}))
  assert result(tmp_path / 'b')['metrics']['test/accuracy'] == (
    result(tmp_path / 'a')['metrics']['test/accuracy'])
  with pytest.raises(UserError, match="the label 'z' is not one of the classes that "
                     'the run was fitted to: a, b, c'):
    train.run(request_for('tabular_mlp', tmp_path / 'd', **first | again | {
      'path': blobs(tmp_path, 'd.csv', kinds=('a', 'b', 'z'))}))


def test_columns_and_splits_from_the_command_line(request_for, tmp_path, capsys):
  path = blobs(tmp_path, 'a.csv')
  lines = path.read_text().splitlines()
  more = [f'{line},n{i},p{i % 20},{i % 2},{i % 7}' for i, line in enumerate(lines[1:])]
  path.write_text('\n'.join([f'{lines[0]},name,patient,weight,code', *more]))
  train.run(request_for('tabular_mlp', tmp_path / 'run', path=tmp_path / '*.csv',
                        label='kind', drop='weight', id='name', group='patient',
                        categories='code', types='long:numbers', epochs=2))
  said = capsys.readouterr().out
  assert 'rows with the same patient stay together, in 20 groups' in said
  assert 'one_hot: code as 7 columns' in said
  kept = json.loads((tmp_path / 'run' / 'data.json').read_text())['kept']['train']
  assert kept['features'] == ['long', 'wide', *(f'code={i}' for i in range(7))]
  config = (tmp_path / 'run' / 'config.txt').read_text()
  assert "train.source.types = {'long': 'numbers', 'code': 'text'}" in config


@pytest.mark.parametrize('settings, problem', [
  ({'columns': 'a,b'}, 'columns: is for a file: set path as well'),
  ({'path': 'x.csv', 'label': 'y', 'types': 'a'}, 'types: must be COLUMN:text or'),
  ({'path': 'x.csv', 'label': 'y', 'id': 'y'}, "id: 'y' is the label")])
def test_settings_of_columns_are_checked(request_for, tmp_path, settings, problem):
  with pytest.raises((UserError, ValueError), match=problem):
    train.run(request_for('tabular_mlp', tmp_path / 'run', **settings))
