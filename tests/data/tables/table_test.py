import ast
import dataclasses
import json
import pathlib
from functools import partial

import numpy as np
import pyarrow.csv
import pytest

from bigmodels.config import tree
from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.sources import DataContext, held_out
from bigmodels.data.tables.table import Table

HOUSING = pathlib.Path(__file__).parents[4] / 'shared' / 'data' / 'housing.csv'
SPLITS = ('train', 'validation', 'test')
PLAIN = (cleaning.fill_missing, cleaning.one_hot)


@pytest.fixture
def context(tmp_path):
  lines = []
  return DataContext(None, tmp_path, {}, lines.append)


@pytest.fixture
def write(tmp_path):
  """Writes a CSV file, from text or bytes, and gives its path."""
  def write(text, name='data.csv'):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)

  return write


def csv_text(rows):
  return '\n'.join(','.join(str(v) for v in row) for row in rows) + '\n'


def random_rows(count=100):
  """A header, and rows of two numbers, a text and a number to predict."""
  generator = np.random.default_rng(0)
  colors = ['red', 'green', 'blue']
  return [('a', 'b', 'color', 'y')] + [
    (f'{generator.normal():.6f}', f'{generator.lognormal():.6f}',
     colors[generator.integers(3)], f'{generator.normal(5):.6f}') for _ in range(count)]


def fits(context):
  """What was fitted, by the settings of the table."""
  return {k: v for k, v in context.kept.items() if k.startswith('table ')}


def small(count=20):
  return csv_text([('a', 'kind'), *((i, 'xy'[i % 2]) for i in range(count))])


def message(table, context):
  with pytest.raises(UserError) as caught:
    table.open(context)
  assert table.path in str(caught.value)
  return str(caught.value).removeprefix(table.path)


# --- what comes out -------------------------------------------------------------


def test_regression_keeps_targets_in_their_own_units(write, context):
  rows = random_rows()
  table = Table(write(csv_text(rows)), 'y', task='regression')
  seen = []
  for name in SPLITS:
    dataset = table.split(name).open(context)
    columns = dataset.load()
    assert columns['inputs'].dtype == columns['labels'].dtype == np.float32
    assert columns['inputs'].shape == (dataset.length, 5)
    assert columns['labels'].shape == (dataset.length,)
    assert dataset.classes is None
    seen += columns['labels'].tolist()
  np.testing.assert_allclose(sorted(seen), sorted(float(r[3]) for r in rows[1:]),
                             rtol=1e-6)


def test_classes_are_the_sorted_distinct_values(write, context):
  text = csv_text([('a', 'n', 'word'), *((i, (10, 9, 2)[i % 3], ('b', 'c', 'a')[i % 3])
                                         for i in range(60))])
  path = write(text)
  table = Table(path, 'n', task='classification', clean=PLAIN)
  dataset = table.open(context)
  assert dataset.classes == ('2', '9', '10')
  columns = dataset.load()
  assert columns['labels'].dtype == np.int32
  for a, label in zip(columns['inputs'][:, 0], columns['labels'], strict=True):
    assert (10, 9, 2)[int(a) % 3] == int(dataset.classes[label])
  words = dataclasses.replace(table, label='word').open(context)
  assert words.classes == ('a', 'b', 'c')


def test_threshold_number_puts_the_threshold_itself_low(write, context):
  table = Table(write(csv_text([('a', 'y'), *((i, i / 2) for i in range(40))])), 'y',
                task='classification', threshold=7.5, clean=())
  dataset = table.open(context)
  columns = dataset.load()
  np.testing.assert_array_equal(columns['labels'], columns['inputs'][:, 0] > 15)
  assert dataset.classes == ('low (up to 7.5)', 'high (above 7.5)')


def test_threshold_median_is_of_the_training_labels(write, context):
  values = np.random.default_rng(5).lognormal(size=50).round(3)
  table = Table(write(csv_text([('a', 'y'), *enumerate(values)])), 'y',
                task='classification', threshold='median', clean=())
  dataset = table.split('test').open(context)
  train = held_out(50, 'train', table.splits)
  median = np.median(values[train])
  assert median != np.median(values)
  columns = dataset.load()
  rows = columns['inputs'][:, 0].astype(int)
  np.testing.assert_array_equal(columns['labels'], values[rows] > median)
  assert f'{median:g}' in dataset.classes[0]


def test_default_steps_leave_finite_standardized_features(write, context):
  rows = [list(r) for r in random_rows()]
  rows[3][0] = rows[4][2] = rows[5][1] = ''
  rows[6][1] = '1e30'
  dataset = Table(write(csv_text(rows)), 'y', task='regression').open(context)
  inputs = dataset.load()['inputs']
  assert inputs.shape[1] in (5, 6)  # the row without a color may be a test row
  assert np.isfinite(inputs).all()
  np.testing.assert_allclose(inputs[:, :2].mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(inputs[:, :2].std(0), 1, atol=1e-5)


def test_rows_are_read_as_loaded(write, context):
  dataset = Table(write(small()), 'kind', task='classification').open(context)
  rows = np.array([3, 0, 3])
  np.testing.assert_array_equal(dataset.read(rows)['inputs'],
                                dataset.load()['inputs'][rows])


# --- nothing leaks --------------------------------------------------------------


@pytest.mark.parametrize('split', SPLITS)
def test_only_training_rows_move_the_fit(write, tmp_path, split):
  """Other rows, changed wildly, change neither parameters nor training arrays."""
  rows = random_rows()
  changed = [list(r) for r in rows]
  members = held_out(100, split, {'train': 0.8, 'validation': 0.1, 'test': 0.1})
  for row in members[:10]:
    changed[1 + row] = ['99999', '', 'purple', '-1000']
  kept, arrays = [], []
  for i, text in enumerate((csv_text(rows), csv_text(changed))):
    context = DataContext(None, tmp_path, {}, lambda line: None)
    clean = (cleaning.drop_constant, cleaning.fill_missing, cleaning.log_skewed,
             cleaning.clip_outliers, cleaning.one_hot, cleaning.standardize)
    table = Table(write(text, f'{i}.csv'), 'y', task='classification',
                  threshold='median', clean=clean)
    arrays.append(table.open(context).load())
    kept.append(json.dumps(fits(context)))
  assert (kept[0] == kept[1]) == (split != 'train')
  same = arrays[0]['inputs'].shape == arrays[1]['inputs'].shape and all(
    np.array_equal(arrays[0][n], arrays[1][n]) for n in arrays[0])
  assert same == (split != 'train')


def test_the_fit_does_not_depend_on_the_split_opened_first(write, tmp_path):
  table = Table(write(csv_text(random_rows())), 'y', task='regression')
  kept = []
  for name in ('train', 'test'):
    context = DataContext(None, tmp_path, {}, lambda line: None)
    table.split(name).open(context)
    kept.append(context.kept)
  assert kept[0] == kept[1] and kept[0]


def test_duplicates_are_dropped_before_the_split(write, context):
  rows = random_rows(60)
  path = write(csv_text([*rows, *rows[1:]]))
  table = Table(path, 'y', task='regression', clean=(
    cleaning.one_hot, cleaning.drop_duplicates))
  inputs = [table.split(n).open(context).load()['inputs'] for n in SPLITS]
  together = np.concatenate(inputs)
  assert len(together) == 60
  assert len(np.unique(together, axis=0)) == 60
  assert any('60 of 120 rows dropped' in line for line in _lines(context))


def _lines(context):
  return context.say.__self__


def test_kept_parameters_are_used_for_other_data(write, tmp_path):
  rows = random_rows()
  shifted = [rows[0]] + [(float(a) + 1000, b, c, y) for a, b, c, y in rows[1:]]
  context = DataContext(None, tmp_path, {}, lambda line: None)
  first = Table(write(csv_text(rows), '1.csv'), 'y', task='regression', clean=(
    cleaning.one_hot, cleaning.standardize))
  inputs = first.open(context).load()['inputs']
  stored = json.dumps(context.kept, allow_nan=False)
  before = json.dumps(fits(context))
  resumed = DataContext(None, tmp_path, json.loads(stored), lambda line: None)
  other = dataclasses.replace(first, path=write(csv_text(shifted), '2.csv'))
  again = other.open(resumed).load()['inputs']
  assert json.dumps(fits(resumed)) == before
  std = np.std([float(rows[1 + r][0]) for r in held_out(100, 'train', first.splits)])
  np.testing.assert_allclose(again[:, 0] - inputs[:, 0], 1000 / std, rtol=1e-4)
  np.testing.assert_array_equal(again[:, 1:], inputs[:, 1:])


def test_a_file_of_test_rows_is_cleaned_as_the_training_file(write, context):
  rows = random_rows()
  train = Table(write(csv_text(rows), 'train.csv'), 'y', task='regression')
  whole = {n: train.split(n).open(context).load() for n in SPLITS}
  rows_of_test = held_out(100, 'test', train.splits)
  alone = csv_text([rows[0], *(rows[1 + r] for r in rows_of_test)])
  test = Table(write(alone, 'test.csv'), 'y', task='regression',
               splits={'test': 1.0}, selected='test')
  np.testing.assert_array_equal(
    test.open(context).load()['inputs'], whole['test']['inputs'])


def test_another_file_must_have_the_columns_of_the_fit(write, context):
  table = Table(write(small(), '1.csv'), 'kind', task='classification')
  table.open(context)
  path = write(small().replace('a,', 'aa,'), '2.csv')
  renamed = dataclasses.replace(table, path=path)
  assert "no column 'a'" in message(renamed, context)
  worded = csv_text([('a', 'kind'), *((f'v{i}', 'xy'[i % 2]) for i in range(20))])
  other = dataclasses.replace(table, path=write(worded, '3.csv'))
  assert "column 'a' was numbers" in message(other, context)
  unseen = dataclasses.replace(table, path=write(small().replace('x', 'z'), '4.csv'))
  assert "'z' is not one of the classes" in message(unseen, context)


def test_settings_have_fits_of_their_own(write, context):
  table = Table(write(small()), 'kind', task='classification')
  clip = (partial(cleaning.clip_outliers, deviations=1.0),)
  table.open(context)
  dataclasses.replace(table, clean=clip).open(context)
  dataclasses.replace(table, clean=clip).split('test').open(context)
  assert len(fits(context)) == 2


# --- read once, printed once, identified ----------------------------------------


def test_the_file_is_read_and_described_once(write, context, monkeypatch):
  calls = []
  read_csv = pyarrow.csv.read_csv
  monkeypatch.setattr(pyarrow.csv, 'read_csv',
                      lambda *a, **k: calls.append(a) or read_csv(*a, **k))
  path = write(csv_text(random_rows()))
  table = Table(path, 'y', task='regression')
  for name in SPLITS:
    table.split(name).open(context)
  assert len(calls) == 1
  reported = [line.split(':')[0].strip() for line in _lines(context)]
  assert reported == ['data.csv', 'split', 'label',
                  *[step.__name__ for step in table.clean]]
  write(csv_text(random_rows(50)))
  table.open(context)
  assert len(calls) == 2


def test_identity_changes_with_the_data_and_the_split(write, context):
  table = Table(write(small()), 'kind', task='classification')
  before = table.open(context).identity
  assert table.open(context).identity == before
  assert table.split('test').open(context).identity != before
  fewer = dataclasses.replace(table, splits={'train': 0.5, 'test': 0.5})
  assert fewer.open(context).identity != before
  write(small().replace('19,', '20,'))
  assert table.open(context).identity != before


def test_prints_and_overrides_as_part_of_an_experiment():
  table = Table('x.csv', 'y', task='classification', threshold='median')
  table = tree.override(table, 'threshold', '180000')
  table = tree.override(table, 'clean', '()')
  described = dict(tree.describe(table, 'source'))
  assert described['source.threshold'] == '180000.0'
  assert tree.override(table, 'threshold', 'median').threshold == 'median'
  assert described['source.clean'] == '()'
  assert ast.literal_eval(described['source.splits'])['train'] == 0.8


# --- real data ------------------------------------------------------------------


@pytest.mark.skipif(not HOUSING.is_file(), reason='no shared/data/housing.csv')
def test_housing(context):
  table = Table(str(HOUSING), 'median_house_value', task='classification',
                threshold='median')
  lengths = [table.split(name).open(context).length for name in SPLITS]
  assert lengths == [16512, 2064, 2064]
  dataset = table.open(context)
  columns = dataset.load()
  assert columns['inputs'].shape == (16512, 13)
  assert dataset.classes == ('low (up to 180000)', 'high (above 180000)')
  assert 0.49 < columns['labels'].mean() < 0.51
  assert ('  fill_missing: 207 values of total_bedrooms by the training median 435'
          in _lines(context))
