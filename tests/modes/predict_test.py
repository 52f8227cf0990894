"""Tests of --mode=predict and --mode=eval --data on runs as a user makes them."""

import csv
import json
import re

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.data.tables import streamed
from bigmodels.modes import eval as evaluate
from bigmodels.modes import predict, train
from bigmodels.storage import predictions

ROWS = 600


def rows(count, seed=0):
  """Rows of a table: size, color, and whether it is ripe."""
  rng = np.random.default_rng(seed)
  for _ in range(count):
    size, color = rng.normal(), rng.choice(['red', 'green', 'blue'])
    ripe = 'yes' if size + (color == 'red') + 0.3 * rng.normal() > 0.5 else 'no'
    yield {'size': f'{size:.4f}', 'color': color, 'ripe': ripe}


def write(path, found, columns=('size', 'color', 'ripe')):
  with path.open('w', newline='') as file:
    writer = csv.DictWriter(file, columns, extrasaction='ignore')
    writer.writeheader()
    writer.writerows(found)
  return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('predict')


@pytest.fixture
def fruit(folder, request_for, capsys):
  """The workdir of a run of a table; trained once."""
  path = folder / 'fruit'
  if not path.is_dir():
    write(folder / 'fruit.csv', rows(ROWS))
    train.run(request_for('tabular_mlp', path, path=str(folder / 'fruit.csv'),
                          label='ripe', epochs='3', **{'model.widths': '(8,)'}))
  capsys.readouterr()
  return path


@pytest.fixture
def digits(folder, request_for, capsys):
  """The workdir of a run of images."""
  path = folder / 'digits'
  if not path.is_dir():
    train.run(request_for('digits_cnn', path, epochs='1', **{
      'model.widths': '(8,)', 'model.pool': '(2,)', 'model.hidden': '(12,)'}))
  capsys.readouterr()
  return path


@pytest.fixture
def ask(request_for, capsys):
  """(workdir, inputs, output) -> what is printed."""

  def ask(workdir, *inputs, output, **flags):
    predict.run(request_for(None, workdir), input=[*map(str, inputs)],
                output=str(output), **flags)
    return capsys.readouterr().out

  return ask


def probabilities(table, classes):
  return np.stack([table[f'probability_{name}'].to_numpy() for name in classes], 1)


def test_predictions_are_those_of_an_evaluation_to_the_bit(fruit, tmp_path, ask):
  new = write(tmp_path / 'new.csv', rows(333, seed=1))
  ask(fruit, new, output=tmp_path / 'p.parquet')
  run = bigmodels.load(fruit, say=lambda line: None)
  _, outputs, _ = run.evaluated('test', data=new)
  table = parquet.read_table(tmp_path / 'p.parquet')
  assert table.column_names == ['row', 'prediction', 'probability_no',
                                'probability_yes', 'error']
  found = probabilities(table, run.classes)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, outputs['test']['probabilities'])
  assert table['row'].to_pylist() == [*range(333)]
  assert table['prediction'].to_pylist() == [
    run.classes[i] for i in outputs['test']['predictions']]
  assert table['error'].null_count == 333


def test_the_rows_of_a_split_are_predicted_as_the_run_evaluated_them(fruit, folder):
  run = bigmodels.load(fruit, say=lambda line: None)
  _, outputs, opened = run.evaluated('test')
  origin = opened.built.evals['test'].dataset.origin
  chosen = [*map([*rows(ROWS)].__getitem__, next(iter(origin.rows.values())).tolist())]
  found = run.predict([{'size': r['size'], 'color': r['color']} for r in chosen])
  np.testing.assert_array_equal(found['probabilities'],
                                outputs['test']['probabilities'])
  of_columns = run.predict({'color': [r['color'] for r in chosen],
                            'size': np.array([float(r['size']) for r in chosen])})
  np.testing.assert_array_equal(of_columns['probabilities'], found['probabilities'])


def test_an_evaluation_of_new_rows_has_the_metrics_of_its_predictions(
    plots, fruit, tmp_path, request_for, capsys):
  found = [*rows(200, seed=2)]
  new = write(tmp_path / 'new.csv', [*found, {'size': '1.0', 'color': 'red'}])
  evaluate.run(request_for(None, fruit), split='validation', data=[str(new)],
               output=str(tmp_path / 'report.html'))
  out = capsys.readouterr().out
  run = bigmodels.load(fruit, say=lambda line: None)
  right = np.mean([run.classes[i] == row['ripe'] for i, row in zip(
    run.predict(found)['predictions'], found, strict=True)])
  accuracy = float(re.search(r'validation/accuracy: (\S+)', out)[1])
  assert accuracy == pytest.approx(right, abs=1e-6)
  assert f'{new}: left out: row 200: has no value of ripe' in out
  assert '200 of 201 examples' in out
  page = (tmp_path / 'report.html').read_text()
  assert 'Confusion' in page and str(new) in page
  with pytest.raises(UserError, match='exists; choose another, or replace it with'):
    evaluate.run(request_for(None, fruit), split='validation', data=[str(new)],
                 output=str(tmp_path / 'report.html'))


def test_columns_are_found_by_name_and_others_are_said(fruit, tmp_path, ask):
  found = [*rows(50, seed=3)]
  write(tmp_path / 'a.csv', found)
  write(tmp_path / 'b.csv', [{**r, 'note': 'x'} for r in found],
        ('note', 'color', 'size'))
  ask(fruit, tmp_path / 'a.csv', output=tmp_path / 'a.jsonl')
  out = ask(fruit, tmp_path / 'b.csv', output=tmp_path / 'b.jsonl')
  assert (tmp_path / 'a.jsonl').read_text() == (tmp_path / 'b.jsonl').read_text()
  assert 'not read: note' in out
  first = json.loads((tmp_path / 'a.jsonl').read_text().partition('\n')[0])
  assert first.keys() == {'row', 'prediction', 'probability', 'error'}
  assert sum(first['probability'].values()) == pytest.approx(1, abs=1e-6)


def test_categories_that_training_did_not_have_are_said(fruit, tmp_path, ask):
  new = write(tmp_path / 'new.csv', [
    {'size': '1', 'color': 'purple'}, {'size': '', 'color': 'red'}], ('size', 'color'))
  out = ask(fruit, new, output=tmp_path / 'p.csv')
  assert "one_hot: color (1 of 2, such as 'purple'): not in a category of" in out
  assert 'fill_missing: size (1 of 2): missing and filled in' in out
  assert len((tmp_path / 'p.csv').read_text().splitlines()) == 3  # no row is lost


@pytest.mark.parametrize('text, words', [
  ('size\n1\n2\n', "no column 'color'; choose from size"),
  ('Size,color\n1,red\n', "no column 'size'; did you mean 'Size'?"),
  ('size,color\nbig,red\nsmall,red\n', "column 'size'"),
  ('size,color\n', 'has a header and no rows'), ('', 'the file is empty')])
def test_tables_that_do_not_fit(fruit, tmp_path, ask, text, words):
  (tmp_path / 'new.csv').write_text(text)
  with pytest.raises(UserError, match=re.escape(words)) as error:
    ask(fruit, tmp_path / 'new.csv', output=tmp_path / 'p.csv')
  assert str(tmp_path / 'new.csv') in str(error.value)
  assert not (tmp_path / 'p.csv').exists()


def test_a_label_that_is_not_a_class_is_refused(fruit, tmp_path):
  new = write(tmp_path / 'new.csv', [{'size': '1', 'color': 'red', 'ripe': 'maybe'}])
  with pytest.raises(UserError, match="label 'maybe' is not one of the classes"):
    bigmodels.load(fruit, say=lambda line: None).evaluate('test', data=new)


def test_images_of_any_size_and_files_that_are_none(digits, tmp_path, ask):
  from sklearn.datasets import load_digits

  images = load_digits().images[:4].astype(np.uint8)
  photos = tmp_path / 'photos'
  (photos / 'more').mkdir(parents=True)
  for index, image in enumerate(images):
    Image.fromarray(image).save(photos / f'{index}.png')
  Image.fromarray(np.kron(images[0], np.ones((4, 4), np.uint8))).save(
    photos / 'more' / 'large.png')
  (photos / 'broken.png').write_bytes(b'\x89PNG\r\n')
  (photos / 'notes.txt').write_text('these are digits')
  out = ask(digits, photos, output=tmp_path / 'p.csv')
  with (tmp_path / 'p.csv').open(newline='') as file:
    found = {row.pop('file'): row for row in csv.DictReader(file)}
  run = bigmodels.load(digits, say=lambda line: None)
  expected = run.predict(images[..., None])['probabilities']
  for index in range(4):
    row = found[str(photos / f'{index}.png')]
    np.testing.assert_allclose(
      [float(row[f'probability_{c}']) for c in run.classes], expected[index], rtol=1e-5)
    assert row['prediction'] == run.classes[expected[index].argmax()]
  large = found[str(photos / 'more' / 'large.png')]
  np.testing.assert_allclose([float(large[f'probability_{c}']) for c in run.classes],
                             expected[0], atol=0.2)
  broken = found[str(photos / 'broken.png')]
  assert broken['prediction'] == '' and 'cannot be decoded' in broken['error']
  assert len(found) == 6
  assert '1 without a prediction' in out and 'broken.png' in out
  with pytest.raises(UserError, match=r'no example has a prediction; .*q\.csv'):
    ask(digits, photos / 'broken.png', output=tmp_path / 'q.csv')
  assert 'cannot be decoded' in (tmp_path / 'q.csv').read_text()


def test_arrays(digits, tmp_path, ask):
  from sklearn.datasets import load_digits

  images = load_digits().images[..., None].astype(np.uint8)
  np.save(tmp_path / 'images.npy', images)
  np.savez(tmp_path / 'images.npz', inputs=images, labels=load_digits().target)
  run = bigmodels.load(digits, say=lambda line: None)
  expected = run.predict(images)['probabilities']
  for name in ('images.npy', 'images.npz'):
    ask(digits, tmp_path / name, output=tmp_path / f'{name}.parquet')
    table = parquet.read_table(tmp_path / f'{name}.parquet')
    np.testing.assert_array_equal(probabilities(table, run.classes), expected)
  found = run.evaluate('test', data=tmp_path / 'images.npz')
  assert found['test/accuracy'] == pytest.approx(
    np.mean(expected.argmax(1) == load_digits().target), abs=1e-6)


def test_a_stopped_command_goes_on(fruit, tmp_path, ask, monkeypatch):
  new = write(tmp_path / 'new.csv', rows(500, seed=4))
  monkeypatch.setattr(predict, '_ROWS', 1)
  real_frames = streamed.frames
  monkeypatch.setattr(streamed, 'frames', lambda files, reading, kinds, rows, first:
                      real_frames(files, reading, kinds, 64, first))
  monkeypatch.setattr('bigmodels.training.inference.batch_size', lambda *_: 50)
  monkeypatch.setattr('bigmodels.training.inference._MOST', 100)
  ask(fruit, new, output=tmp_path / 'whole.csv')
  real, count = predictions.PredictionsFile.write, []

  def write_some(self, table):
    if len(count) == 3:
      raise KeyboardInterrupt
    count.append(self.rows)
    real(self, table)

  monkeypatch.setattr(predictions.PredictionsFile, 'write', write_some)
  with pytest.raises(KeyboardInterrupt):
    ask(fruit, new, output=tmp_path / 'p.csv')
  assert not (tmp_path / 'p.csv').exists()
  monkeypatch.setattr(predictions.PredictionsFile, 'write', real)
  out = ask(fruit, new, output=tmp_path / 'p.csv')
  assert re.search('going on after [1-9]', out)
  assert (tmp_path / 'p.csv').read_text() == (tmp_path / 'whole.csv').read_text()
  assert [*tmp_path.glob('.*')] == []


def test_a_run_that_predicts_nothing_says_so_for_any_output(
    fruit, folder, request_for, monkeypatch):
  def refuse(run):
    raise UserError('no predictions')

  monkeypatch.setattr(bigmodels.training.runs.Run, 'check_predicts', refuse)
  with pytest.raises(UserError, match='no predictions'):
    predict.run(request_for(None, fruit), input=[str(folder / 'fruit.csv')],
                output='folder')


@pytest.mark.parametrize('flags, words', [
  ({'output': 'p.xlsx'}, 'p.xlsx: must end in .csv, .jsonl or .parquet'),
  ({'output': 'no/p.csv'}, 'there is no folder'),
  ({'inputs': ['nothing.csv']}, 'there is no .*nothing.csv'),
  ({'inputs': ['*.csv.gone']}, r'--input=.*\*.csv.gone: no file matches'),
  ({'inputs': []}, 'set --input=FILE')])
def test_flags_that_do_not_fit(fruit, tmp_path, ask, flags, words):
  inputs = [tmp_path / name for name in flags.get('inputs', ['fruit.csv'])]
  write(tmp_path / 'fruit.csv', rows(3))
  with pytest.raises(UserError, match=words):
    ask(fruit, *inputs, output=tmp_path / flags.get('output', 'p.csv'))


def test_an_output_that_exists_is_not_replaced_unasked(fruit, tmp_path, ask):
  new = write(tmp_path / 'new.csv', rows(3))
  (tmp_path / 'p.csv').write_text('mine')
  with pytest.raises(UserError, match='exists; choose another, or replace it with '
                     '--overwrite'):
    ask(fruit, new, output=tmp_path / 'p.csv')
  assert (tmp_path / 'p.csv').read_text() == 'mine'
  ask(fruit, new, output=tmp_path / 'p.csv', overwrite=True)
  assert (tmp_path / 'p.csv').read_text().startswith('"row"')


def test_a_folder_with_dead_links_and_the_output_in_it(digits, tmp_path, ask,
                                                      monkeypatch):
  photos = tmp_path / 'photos'
  photos.mkdir()
  for index in range(5):
    Image.new('L', (8, 8), index * 3).save(photos / f'{index}.png')
  (photos / 'dead.png').symlink_to('nothing')
  (photos / 'loop').symlink_to(photos)
  monkeypatch.setattr(predict, '_ROWS', 1)
  monkeypatch.setattr('bigmodels.training.inference.batch_size', lambda *_: 2)
  monkeypatch.setattr('bigmodels.data.readers.files._FILES', 2)
  real, count = predictions.PredictionsFile.write, []

  def write_some(self, table):
    if count:
      raise KeyboardInterrupt
    count.append(1)
    real(self, table)

  monkeypatch.setattr(predictions.PredictionsFile, 'write', write_some)
  with pytest.raises(KeyboardInterrupt):
    ask(digits, photos, output=photos / 'p.csv')
  monkeypatch.setattr(predictions.PredictionsFile, 'write', real)
  out = ask(digits, photos, output=photos / 'p.csv')
  assert 'going on after 2 examples' in out
  with (photos / 'p.csv').open(newline='') as file:
    assert [row['file'][-5:] for row in csv.DictReader(file)] == [
      f'{i}.png' for i in range(5)]


def test_a_file_that_changed_is_predicted_again(fruit, tmp_path, ask, monkeypatch):
  new = write(tmp_path / 'new.csv', rows(10))
  monkeypatch.setattr(predictions.PredictionsFile, 'finish', lambda self: None)
  ask(fruit, new, output=tmp_path / 'p.csv')
  assert 'going on after 10' in ask(fruit, new, output=tmp_path / 'p.csv')
  write(new, rows(12, seed=1))
  assert 'going on' not in ask(fruit, new, output=tmp_path / 'p.csv')


def test_images_and_arrays_are_not_mixed(digits, tmp_path, ask):
  np.save(tmp_path / 'a.npy', np.zeros((2, 8, 8, 1), np.uint8))
  Image.new('L', (8, 8)).save(tmp_path / 'b.png')
  with pytest.raises(UserError, match=r'b.png are files of different kinds'):
    ask(digits, tmp_path / 'a.npy', tmp_path / 'b.png', output=tmp_path / 'p.csv')


def test_predictions_of_a_regression_are_in_the_units_of_the_label(
    folder, request_for, tmp_path, ask, capsys):
  rng = np.random.default_rng(0)
  sizes = rng.normal(size=300)
  lines = [f'{x:.4f},{1000 + 50 * x:.3f},{i}' for i, x in enumerate(sizes)]
  (tmp_path / 'price.csv').write_text('size,price,name\n' + '\n'.join(lines) + '\n')
  train.run(request_for(
    'tabular_mlp', tmp_path / 'run', path=str(tmp_path / 'price.csv'), label='price',
    task='regression', id='name', epochs='40', batch_size='16',
    **{'model.widths': '(16,)'}))
  out = ask(tmp_path / 'run', tmp_path / 'price.csv', output=tmp_path / 'p.csv')
  with (tmp_path / 'p.csv').open(newline='') as file:
    found = [*csv.DictReader(file)]
  assert [*found[0]] == ['row', 'name', 'prediction', 'error']
  assert [row['name'] for row in found] == [*map(str, range(300))]
  prices = [float(row['prediction']) for row in found]
  assert np.corrcoef(prices, sizes)[0, 1] > 0.9
  assert abs(np.mean(prices) - 1000) < 30 and 10 < np.std(prices) < 60
  assert 'not read' not in out  # the label is known, and no line is needed
  (tmp_path / 'new.csv').write_text('size\n1\n')
  out = ask(tmp_path / 'run', tmp_path / 'new.csv', output=tmp_path / 'new.jsonl')
  assert "no column 'name', which names the rows: it is left out" in out
  assert '1 prediction in' in out


def test_an_output_that_is_an_input_is_refused(fruit, tmp_path, ask):
  new = write(tmp_path / 'new.csv', rows(3))
  before = new.read_text()
  (tmp_path / 'link.csv').symlink_to(new)
  for given in (new, tmp_path / 'link.csv'):
    with pytest.raises(UserError, match=r'new\.csv: is a file of --input, which '
                       'would be lost; choose another'):
      ask(fruit, given, output=new, overwrite=True)
  assert new.read_text() == before


@pytest.mark.parametrize('name, array, words', [
  ('a.npy', np.array(3, np.uint8),
   r'inputs: must be \[n, 8, 8, 1\] uint8, got one number'),
  ('b.npy', np.array([None]), 'is not a NumPy array: [^`]*$')])
def test_arrays_that_are_no_rows(digits, tmp_path, ask, name, array, words):
  np.save(tmp_path / name, array)
  with pytest.raises(UserError, match=words):
    ask(digits, tmp_path / name, output=tmp_path / 'p.csv')


def test_labels_of_another_length_are_refused(digits, tmp_path):
  np.savez(tmp_path / 'a.npz', inputs=np.zeros((5, 8, 8, 1), np.uint8),
           labels=np.arange(4))
  run = bigmodels.load(digits, say=lambda line: None)
  with pytest.raises(UserError, match=r'a\.npz: labels: must have as many rows as '
                     'inputs, 5, got 4'):
    run.evaluate('test', data=tmp_path / 'a.npz')


@pytest.mark.parametrize('data', [np.zeros((2, 8, 8, 1)), 3, [3], {'a': [1]}])
def test_an_evaluation_takes_paths_only(digits, data):
  run = bigmodels.load(digits, say=lambda line: None)
  with pytest.raises(UserError, match='data: must be the path of a file or folder, or '
                     f'a list of them, got {type(data).__name__}'):
    run.evaluate('test', data=data)


@pytest.mark.parametrize('trained_on', [
  'csv', pytest.param('parquet', marks=pytest.mark.slow('train on tables'))])
def test_true_and_false_are_the_same_in_every_kind_of_file(
    tmp_path, request_for, ask, capsys, trained_on):
  """CSV files of pandas have True, JSON and Parquet have true."""
  rng = np.random.default_rng(0)
  flags, sizes = rng.integers(0, 2, 200) > 0, rng.normal(size=200).round(4)
  found = [{'size': x, 'flag': bool(f), 'ripe': 'yes' if f else 'no'}
           for x, f in zip(sizes.tolist(), flags, strict=True)]
  write(tmp_path / 'a.csv', found, ('size', 'flag', 'ripe'))
  (tmp_path / 'a.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in found))
  parquet.write_table(pyarrow.Table.from_pylist(found), tmp_path / 'a.parquet')
  train.run(request_for(
    'tabular_mlp', tmp_path / 'run', path=str(tmp_path / f'a.{trained_on}'),
    label='ripe', epochs='1', **{'model.widths': '(8,)'}))
  capsys.readouterr()
  texts = {}
  for kind in ('csv', 'jsonl', 'parquet'):
    out = ask(tmp_path / 'run', tmp_path / f'a.{kind}', output=tmp_path / f'{kind}.csv')
    texts[kind] = (tmp_path / f'{kind}.csv').read_text()
    assert ('is read as' in out) == ((kind == 'csv') != (trained_on == 'csv')), out
    assert 'not in a category' not in out
  assert texts['csv'] == texts['jsonl'] == texts['parquet']
  run = bigmodels.load(tmp_path / 'run', say=lambda line: None)
  of_memory = run.predict({'size': sizes, 'flag': flags})
  of_file = run.predict(tmp_path / f'a.{trained_on}')
  np.testing.assert_array_equal(of_memory['probabilities'], of_file['probabilities'])


def test_settings_say_how_a_new_file_is_written(fruit, tmp_path, request_for, capsys):
  """`1,500` may be 1.5 or 1500, and NEANT is a word for missing of this file only."""
  path = tmp_path / 'new.csv'
  path.write_text('color;size;ripe\nred;"1,500";yes\nNEANT;"2,250";no\n')
  run = bigmodels.load(fruit, say=lambda line: None)
  with pytest.raises(UserError, match=r"'1,500' may be 1500 .* or 1.5 .*; set one of"):
    run.predict(path)
  expected = run.predict({'size': [1.5, 2.25], 'color': ['red', '']})
  found = run.predict(path, decimal=',', missing='NEANT')
  np.testing.assert_array_equal(found['probabilities'], expected['probabilities'])
  # On the command line the same words follow --config.
  flags = {'decimal': ',', 'missing': 'NEANT'}
  predict.run(request_for(None, fruit, **flags), input=[str(path)],
              output=str(tmp_path / 'p.parquet'))
  np.testing.assert_array_equal(
    probabilities(parquet.read_table(tmp_path / 'p.parquet'), run.classes),
    expected['probabilities'])
  capsys.readouterr()
  evaluate.run(request_for(None, fruit, **flags), split='test', data=[str(path)])
  metrics = run.evaluate('test', data=path, **flags)
  assert f"test/loss: {metrics['test/loss']!r}" in capsys.readouterr().out
  for settings, words in (
    ({'decmal': ','}, "no setting 'decmal' of files; did you mean 'decimal'"),
    ({'decimal': ';'}, "decimal: must be one of '.' ',', got ';'")):
    with pytest.raises(UserError, match=words):
      run.predict(path, **settings)
  with pytest.raises(UserError, match='decimal: how new files are read; set data'):
    run.evaluate('test', decimal=',')


def test_files_are_not_the_tables_of_settings(digits, tmp_path):
  Image.new('L', (8, 8)).save(tmp_path / 'a.png')
  run = bigmodels.load(digits, say=lambda line: None)
  with pytest.raises(UserError, match='decimal: of tables, which this run does not'):
    run.predict(tmp_path / 'a.png', decimal=',')


def test_a_pattern_skips_links_to_nothing(fruit, tmp_path, ask):
  write(tmp_path / 'a.csv', rows(5))
  (tmp_path / 'b.csv').symlink_to(tmp_path / 'gone.csv')
  out = ask(fruit, tmp_path / '*.csv', output=tmp_path / 'p.parquet')
  assert 'skipped: links to nothing: b.csv' in out
  assert parquet.read_table(tmp_path / 'p.parquet').num_rows == 5
  with pytest.raises(UserError, match=r'b\.csv'):  # named itself
    ask(fruit, tmp_path / 'b.csv', output=tmp_path / 'q.parquet')


def test_an_evaluation_of_the_training_file_is_told(fruit, folder, tmp_path, capsys):
  said = []
  run = bigmodels.load(fruit, say=said.append)
  run.evaluate('test', data=folder / 'fruit.csv')
  assert any('fruit.csv: what the run was trained on; rows of the training split'
             in line for line in said)
  said.clear()
  run.evaluate('test', data=write(tmp_path / 'new.csv', rows(20, seed=7)))
  assert not any('trained on' in line for line in said)


def test_a_list_of_images_for_a_run_of_arrays(digits, tmp_path):
  for name in ('a.png', 'b.png'):
    Image.new('L', (8, 8), 40).save(tmp_path / name)
  (tmp_path / 'list.csv').write_text('file,label\na.png,3\nb.png,7\n')
  run = bigmodels.load(digits, say=lambda line: None)
  assert len(run.predict(tmp_path / 'list.csv')['predictions']) == 2
  assert run.evaluate('test', data=tmp_path / 'list.csv')['test/accuracy'] <= 0.5


@pytest.mark.parametrize('name, values, words', [
  ('fruit', 'new.csv', r"a file is given as pathlib.Path\('new.csv'\)"),
  ('digits', 'a.png', r"a file is given as pathlib.Path\('a.png'\)"),
  ('fruit', [], 'must have >= 1 row, got 0')])
def test_values_that_are_no_examples(name, values, words, request):
  run = bigmodels.load(request.getfixturevalue(name), say=lambda line: None)
  with pytest.raises(UserError, match=words):
    run.predict(values)


def test_the_shape_of_an_array_in_a_file_is_that_of_all_rows(digits, tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros((5, 9, 9, 1), np.uint8))
  run = bigmodels.load(digits, say=lambda line: None)
  with pytest.raises(UserError, match=r'a.npy: inputs: must be \[n, 8, 8, 1\] uint8, '
                     r'got \[5, 9, 9, 1\] uint8'):
    run.predict(tmp_path / 'a.npy')


@pytest.mark.parametrize('trained_on', ['csv', 'parquet'])
def test_blanks_around_texts_are_no_part_of_them(
    tmp_path, request_for, ask, trained_on):
  found = [{'size': x['size'], 'color': f' {x["color"]} ', 'ripe': x['ripe']}
           for x in rows(200)]
  write(tmp_path / 'a.csv', found)
  (tmp_path / 'a.jsonl').write_text(''.join(json.dumps(
    {**row, 'size': float(row['size'])}) + '\n' for row in found))
  parquet.write_table(pyarrow.Table.from_pylist([
    {**row, 'size': float(row['size'])} for row in found]), tmp_path / 'a.parquet')
  train.run(request_for(
    'tabular_mlp', tmp_path / 'run', path=str(tmp_path / f'a.{trained_on}'),
    label='ripe', epochs='1', **{'model.widths': '(8,)'}))
  run = bigmodels.load(tmp_path / 'run', say=lambda line: None)
  expected = run.predict(tmp_path / f'a.{trained_on}')['probabilities']
  assert np.ptp(expected) > 0
  for kind in ('csv', 'jsonl', 'parquet'):
    np.testing.assert_array_equal(
      run.predict(tmp_path / f'a.{kind}')['probabilities'], expected, err_msg=kind)
  np.testing.assert_array_equal(run.predict([
    {'size': float(row['size']), 'color': row['color']} for row in found])[
      'probabilities'], expected)


def test_ids_are_passed_on_as_they_are_written(tmp_path, request_for, ask):
  found = [{**row, 'code': f'c{i}'} for i, row in enumerate(rows(200))]
  columns = ('code', 'size', 'color', 'ripe')
  write(tmp_path / 'a.csv', found, columns)
  train.run(request_for(
    'tabular_mlp', tmp_path / 'run', path=str(tmp_path / 'a.csv'), label='ripe',
    id='code', epochs='1', **{'model.widths': '(8,)'}))
  codes = ['NA', 'None', '?', '007', '', 'x']
  new = [{**row, 'code': code} for row, code in zip(rows(6), codes, strict=True)]
  write(tmp_path / 'new.csv', new, columns)
  ask(tmp_path / 'run', tmp_path / 'new.csv', output=tmp_path / 'p.parquet')
  assert parquet.read_table(tmp_path / 'p.parquet')['code'].to_pylist() == codes


def test_a_label_is_spelled_as_its_classes(tmp_path, request_for, ask):
  """True and false of a label, as those of a feature."""
  found = [{**row, 'ripe': str(row['ripe'] == 'yes')} for row in rows(200)]
  write(tmp_path / 'a.csv', found)
  train.run(request_for('tabular_mlp', tmp_path / 'run', path=str(tmp_path / 'a.csv'),
                        label='ripe', epochs='1', **{'model.widths': '(8,)'}))
  write(tmp_path / 'b.csv', [{**row, 'ripe': row['ripe'].lower()} for row in found])
  said = []
  run = bigmodels.load(tmp_path / 'run', say=said.append)
  assert run.evaluate('test', data=tmp_path / 'b.csv') == (
    run.evaluate('test', data=tmp_path / 'a.csv'))
  assert any("ripe: 'true' is read as 'True'" in line for line in said)
