"""Tests of bigmodels.data.tables.table_splits: which rows are in which split."""

import dataclasses
import itertools
from functools import partial

import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit

from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.sources import DataContext, held_out
from bigmodels.data.tables.table import Table
from tests.data.tables.rows import (
  line_of,
  lines_of,
  printing,
  refusal,
  write_csv,
)

SPLITS = ('train', 'validation', 'test')
FRACTIONS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
TABLE = partial(Table, label='y', task='classification', clean=(cleaning.one_hot,))


def ids_of(table, context, names=SPLITS):
  """Split -> the values of the id columns of its rows."""
  return {name: table.split(name).open(context).ids for name in names}


def rows(count=200, **columns):
  """A header, and rows of a number of the row, a label, and other columns."""
  names = ['n', 'a', *columns, 'y']
  return [names, *([f'r{i}', f'{i}.5', *(c[i] for c in columns.values()), 'uv'[i % 2]]
                   for i in range(count))]


# --- stratified -------------------------------------------------------------------


@pytest.mark.parametrize('counts', [(50, 50), (150, 40, 10), (90, 10), (7, 11, 300)])
def test_stratified_splits_have_the_counts_of_scikit_learn(counts):
  classes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)),
                                                           counts))
  splits = {'train': 0.8, 'test': 0.2}
  parts = [held_out(len(classes), name, splits, None, classes) for name in splits]
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(classes)))
  theirs, = StratifiedShuffleSplit(1, test_size=0.2).split(classes, classes)
  for ours, other in zip(parts, theirs, strict=True):
    assert abs(len(ours) - len(other)) <= 1
    difference = np.bincount(classes[ours]) - np.bincount(classes[other])
    assert np.abs(difference).max() <= 1


def test_stratified_groups_stay_together():
  rng = np.random.default_rng(0)
  groups = rng.integers(0, 80, 400)
  classes = (groups % 5 == 0).astype(int)
  parts = {n: held_out(400, n, FRACTIONS, groups, classes) for n in FRACTIONS}
  assert sum(map(len, parts.values())) == 400
  assert not {*groups[parts['train']]} & {*groups[parts['test']]}
  for part in parts.values():
    assert classes[part].mean() == pytest.approx(classes.mean(), abs=0.12)


def test_a_random_split_without_a_class_is_stratified_and_said(write, context):
  data = rows(200)
  random = held_out(200, 'test', FRACTIONS)
  outside = [i for i in range(200) if i not in random][:8]
  for i in outside:
    data[1 + i][-1] = 'rare'
  table = TABLE(write(data), id='n')
  found = {n: table.split(n).open(context) for n in SPLITS}
  assert all(2 in d.load()['labels'] or d.classes.index('rare') in d.load()['labels']
             for d in found.values())
  assert line_of(context, 'split:') == (
    'split: train 160, validation 20, test 20 rows; stratified by y, since a random '
    'test lacks a class (stratified=False changes that)')
  plain = dataclasses.replace(table, stratified=False)
  test = plain.split('test').open(printing(context.cache_dir))
  np.testing.assert_array_equal(test.ids['n'], [f'r{i}' for i in random])


def test_a_random_split_with_every_class_stays_as_it_was(write, context):
  found = ids_of(TABLE(write(rows()), id='n'), context)
  for name in SPLITS:
    assert found[name]['n'].tolist() == [
      f'r{i}' for i in held_out(200, name, FRACTIONS)]
  assert line_of(context, 'split:') == 'split: train 160, validation 20, test 20 rows'


# --- groups, time, columns, files -------------------------------------------------


def test_groups_are_in_one_split(write, context):
  patients = [f'p{i % 37}' for i in range(200)]
  table = TABLE(write(rows(patient=patients)), group='patient', id=('n', 'patient'))
  found = ids_of(table, context)
  seen = [{*ids['patient']} for ids in found.values()]
  assert sum(map(len, seen)) == 37 == len(set.union(*seen))
  assert 'rows with the same patient stay together, in 37 groups' in line_of(
    context, 'split:')
  assert table.open(context).features == ('a',)


@pytest.mark.parametrize('times', [
  [f'2024-{1 + i // 28:02}-{1 + i % 28:02}' for i in range(200)],
  [f'2024-01-01T00:{i // 60:02}:{i % 60:02}' for i in range(200)],
  [f'2024-01-01T00:{i // 60:02}:{i % 60:02}+02:00' for i in range(200)],
  [i * 10 for i in range(200)], [i / 4 + 0.1 for i in range(200)]])
def test_the_latest_rows_test(write, context, times):
  order = np.random.default_rng(0).permutation(200)
  data = rows(200, t=times)
  table = TABLE(write([data[0], *(data[1 + i] for i in order)]), time='t', id='n')
  found = ids_of(table, context)
  for name, part in zip(SPLITS, (range(160), range(160, 180), range(180, 200)),
                        strict=True):
    assert {*found[name]['n']} == {f'r{i}' for i in part}
  assert (f'chronological by t: train {times[0]} to {times[159]}, validation '
          f'{times[160]} to') in line_of(context, 'split:')


def test_equal_times_are_in_one_split(write, context):
  table = TABLE(write(rows(200, t=[i // 30 for i in range(200)])), time='t', id='t')
  seen = [{*ids['t']} for ids in ids_of(table, context).values()]
  assert sum(map(len, seen)) == 7 and all(seen)


def test_a_column_names_the_splits(write, context):
  names = ['train'] * 150 + ['test'] * 30 + ['validation'] * 20
  found = ids_of(TABLE(write(rows(set=names)), splits='set', id='n'), context)
  assert {n: len(ids['n']) for n, ids in found.items()} == {
    'train': 150, 'validation': 20, 'test': 30}
  assert line_of(context, 'split:') == (
    'split: train 150, validation 20, test 30 rows; by the column set')


def test_other_names_of_splits_in_a_column(write, context):
  names = ['Train'] * 150 + ['test'] * 30 + ['val'] * 15 + ['dev'] * 5
  found = ids_of(TABLE(write(rows(set=names)), splits='set', id='n'), context)
  assert {n: len(ids['n']) for n, ids in found.items()} == {
    'train': 150, 'validation': 20, 'test': 30}
  for name, split in (('Train', 'train'), ('val', 'validation'), ('dev', 'validation')):
    assert line_of(context, f"in the column 'set', {name} is the split {split}")


def test_a_file_of_test_rows(write, context):
  data = rows(200)
  table = TABLE(write(data[:151], 'a.csv'), id='n',
                test=write([data[0], *data[151:]], 'b.csv'))
  found = ids_of(table, context)
  assert [len(found[n]['n']) for n in SPLITS] == [133, 17, 50]
  assert found['test']['n'].tolist() == [f'r{i}' for i in range(150, 200)]
  assert line_of(context, 'split:').endswith('; test is a file of its own')


@pytest.mark.parametrize('settings, column, problem', [
  ({'group': 'c'}, [''] + ['p'] * 99, "group: column 'c' has 1 missing values, the "
   'first is in line 2'),
  ({'group': 'd'}, None, "group: no column 'd'; choose from a, n, y"),
  ({'time': 'c'}, ['2024-01-01', 'May'] * 50, "line 3, column 'c': 'May' is neither a "
   'number nor a date such as 2024-01-31'),
  ({'time': 'c'}, ['', '2'] * 50, "time: column 'c' has 50 missing values"),
  ({'time': 'c'}, ['2024-01-01T00:00', '2024-01-01T00:00Z'] * 50,
   'only some times have a time zone'),
  ({'time': 'c'}, ['5'] * 100, "the split 'validation' of 100 rows is empty"),
  ({'group': 'c'}, ['p'] * 100, 'rows stay together in 1 groups'),
  ({'splits': 'c'}, [*['train'] * 2, *['test'] * 2] * 25,
   "no split 'validation'; choose from test, train"),
  ({'splits': 'c'}, ['', 'test'] * 50, "splits: column 'c' has 50 missing values"),
  ({'splits': 'c'}, range(100), "splits: column 'c' has 100 different values, which "
   'are not names of splits: 0, 1, 2'),
  ({'splits': 'c', 'group': 'g'}, ['train', 'test'] * 50,
   "group: 'p' of g is in train and in test"),
  ({'group': 'c', 'time': 'c'}, ['p'] * 100, 'group and time: both say which rows'),
  ({'stratified': True, 'time': 'c'}, range(100), 'stratified and time: both say'),
  ({'splits': 'c', 'time': 'c'}, range(100), 'splits=COLUMN and time: both say'),
  ({'id': 'y'}, None, "id: 'y' is the label"),
  ({'group': 'y'}, None, "group: 'y' is the label"),
  ({'weight': 'y'}, None, "weight: 'y' is the label"),
  ({'columns': 'a,b'}, None, "columns: no column 'b'; "),
  ({'drop': 'aa'}, None, "drop: no column 'aa'; did you mean 'a'?"),
  ({'drop': 'a', 'columns': 'a'}, None, "drop: 'a' is in columns too"),
  ({'id': 'n', 'drop': 'n'}, None, "id: 'n' is in drop too"),
  ({'weight': 'c'}, ['1', '-2'] * 50, "line 3, column 'c': a weight must be a number "
   '>= 0, is -2'),
  ({'weight': 'c'}, ['1', ''] * 50, "line 3, column 'c': a weight must be a number "
   '>= 0, is missing'),
  ({'weight': 'c'}, ['1', 'inf'] * 50, 'a weight must be a number >= 0, is missing'),
  ({'weight': 'c'}, ['1', 'x'] * 50, "line 3, column 'c': 'x' is not a number"),
  ({'weight': 'c'}, ['0'] * 100, "weight: all weights of train in 'c' are 0"),
  ({'stratified': 'yes'}, None, "stratified: must be True, False or None, got 'yes'"),
  ({'path': ()}, None, 'path: must be the path of a file, or several, got ()'),
  ({'test': ''}, None, "test: must be the path of a file, or several, got ''"),
  ({'threshold': 'median', 'stratified': True}, None, 'stratified: needs classes')])
def test_settings_that_are_refused(write, context, settings, column, problem):
  columns = {} if column is None else {'c': [*column]}
  if 'g' in settings.values():
    columns['g'] = ['p'] * 100
  with pytest.raises(UserError) as error:
    ids_of(TABLE(**{'path': write(rows(100, **columns))} | settings), context)
  assert problem in str(error.value) and '\n' not in str(error.value)


# --- columns ----------------------------------------------------------------------


def test_columns_that_are_no_features(write, context):
  data = rows(100, b=range(100), c=range(100), w=[i % 3 for i in range(100)])
  path = write(data)
  assert TABLE(path, drop='n,w').open(context).features == ('a', 'b', 'c')
  assert TABLE(path, columns=('c', 'a')).open(printing(context.cache_dir)).features == (
    'a', 'c')
  found = TABLE(path, id='n', weight='w', drop=('b',)).open(printing(context.cache_dir))
  assert found.features == ('a', 'c')
  columns = found.load()
  assert columns['weights'].dtype == np.float32
  for i in range(found.length):
    n = int(found.ids['n'][i][1:])
    assert columns['weights'][i] == n % 3 and columns['inputs'][i, 1] == n
    assert found.describe(i) == f'line {n + 2} of data.csv'


# --- nothing of train is in test --------------------------------------------------


def leaky(rng, count, of_test=False):
  """Rows of which some are copies, with everything that may decide the splits."""
  data = [['n', 'a', 'b', 'patient', 't', 'set', 'y']]
  for i in range(count):
    a, b = (f'{rng.normal():.3f}', 'xyz'[rng.integers(3)]) if (
      i == 0 or rng.random() < 0.97) else data[-1][1:3]
    data.append([f'{"t" * of_test}{i}', a, b, f'p{rng.integers(12)}', i // 3 + (
      1000 * of_test), SPLITS[min(i // 3 * 3 * 3 // count, 2)], 'uvw'[rng.integers(3)]])
  return data


WAYS = {'duplicates': (None, 'keep', 'together', 'drop'), 'group': (None, 'patient'),
        'time': (None, 't'), 'splits': (FRACTIONS, 'set'), 'stratified': (None, True),
        'test': (False, True), 'files': (1, 2)}


@pytest.mark.parametrize('ways', itertools.product(*WAYS.values()))
def test_no_row_of_train_is_in_another_split_or_it_is_refused(tmp_path, ways):
  way = dict(zip(WAYS, ways, strict=True))
  rng = np.random.default_rng(3)
  data, other = leaky(rng, 120), leaky(rng, 40, True)
  other[5][1:3] = data[7][1:3]  # a copy of a row of the other file
  if not way.pop('test'):
    other = None
  paths = [write_csv(tmp_path, data, 'a.csv')]
  if way.pop('files') == 2:
    paths = [write_csv(tmp_path, data[:60], 'a.csv'),
             write_csv(tmp_path, [data[0], *data[60:]], 'b.csv')]
  try:
    table = TABLE(tuple(paths), id='n,patient,t',
                  drop='' if way['splits'] == 'set' else 'set',
                  test=other and write_csv(tmp_path, other, 'c.csv'), **way)
    context = DataContext(None, tmp_path, {}, lambda line: None)
    found = {n: table.split(n).open(context) for n in SPLITS}
  except UserError as error:
    assert '\n' not in str(error)
    return
  row = {r[0]: r for r in [*data[1:], *(other or data)[1:]]}
  parts = [[row[n] for n in d.ids['n']] for d in found.values()]
  seen = [{r[0] for r in part} for part in parts]
  assert len(set.union(*seen)) == sum(map(len, seen))
  for (i, one), (j, two) in itertools.combinations(enumerate(parts), 2):
    if way['group']:
      assert not {r[3] for r in one} & {r[3] for r in two}
    if way['time']:
      assert max(int(r[4]) for r in one) < min(int(r[4]) for r in two), (i, j)
    if way['duplicates'] != 'keep':
      assert not {(*r[1:3],) for r in one} & {(*r[1:3],) for r in two}
  if other:
    assert seen[2] <= {r[0] for r in other[1:]}
    assert len(seen[2]) == 40 or way['duplicates'] == 'drop'


def test_copies_in_splits_of_a_column_are_named(write, context):
  data = rows(100, set=['train'] * 80 + ['validation'] * 10 + ['test'] * 10)
  data[95][1] = data[4][1]  # with another label
  table = TABLE(write(data), splits='set', id='n')
  text = refusal(table, context)
  assert ('1 of 10 rows of test equal one of train or validation in all features, '
          'which makes scores on test meaningless: duplicates=drop drops them') in text
  dropped = dataclasses.replace(table, duplicates='drop')
  assert dropped.split('test').open(context).length == 9
  assert any('1 of 10 rows of test dropped' in line for line in lines_of(context))
