"""Unusual files, and files and settings that are refused."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.sources import DataContext, held_out
from bigmodels.data.tables.table import Table

PLAIN = (cleaning.fill_missing, cleaning.one_hot)


@pytest.fixture
def context(tmp_path):
  lines = []
  return DataContext(None, tmp_path, {}, lines.append)


def _lines(context):
  return context.say.__self__


@pytest.fixture
def write(tmp_path):
  """Writes a CSV file, from text or bytes, and gives its path."""
  def write(text, name='data.csv'):
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)

  return write


def fitted_of(context):
  [fitted] = [v for k, v in context.kept.items() if k.startswith('table ')]
  return fitted


def csv_text(rows):
  return '\n'.join(','.join(str(v) for v in row) for row in rows) + '\n'


def small(count=20):
  return csv_text([('a', 'kind'), *((i, 'xy'[i % 2]) for i in range(count))])


def message(table, context):
  with pytest.raises(UserError) as caught:
    table.open(context)
  assert table.path in str(caught.value)
  return str(caught.value).removeprefix(table.path)


# --- unusual files --------------------------------------------------------------


def values_of(path, context, **settings):
  """All rows as read, in the order of the file."""
  settings = {'task': 'regression', 'clean': PLAIN} | settings
  table = Table(path, 'y', splits={'train': 1.0}, **settings)
  return table.open(context).load()


def test_missing_values_and_infinities(write, context):
  path = write('a,y\n?,1\nNA,2\n NaN ,3\nnull,4\n"",5\ninf,6\n1e300,7\n8,8\n10,9\n')
  columns = values_of(path, context)
  np.testing.assert_array_equal(columns['inputs'][:, 0], [9] * 7 + [8, 10])
  assert 'missing: infinite or too large for float32: a (2)' in _lines(context)[0]
  assert '  fill_missing: 7 values of a by the training median 9' in _lines(context)


def test_rows_without_a_label_are_dropped_and_counted(write, context):
  columns = values_of(write('a,y\n1,1\n2,\n3,3\n4,inf\n5,5\n'), context)
  assert columns['inputs'][:, 0].tolist() == [1, 3, 5]
  assert any('drop_unlabelled: 2 of 5 rows' in line for line in _lines(context))


@pytest.mark.parametrize('data', [
  b'\xef\xbb\xbfa b,y\n1.5,1\n2,2\n',
  b'a b;y\n1,5;1\n2;2\n',
  b' a b , y \r\n 1.5 , 1 \r\n\r\n 2,2\r\n',
  b'"a b"\ty\n"1.5"\t1\n2\t2\n',
], ids=['bom', 'semicolons', 'spaces', 'tabs'])
def test_dialects(write, context, data):
  columns = values_of(write(data), context)
  assert columns['inputs'].tolist() == [[1.5], [2]]
  assert columns['labels'].tolist() == [1, 2]
  fitted = fitted_of(context)
  assert fitted['features'] == ['a b']


def test_quotes_newlines_booleans_and_latin_1(write, context):
  text = 'flag,city,y\ntrue,"A, ""x""\nB",1\nfalse,Köln,2\ntrue,Köln,3\n'
  columns = values_of(write(text.encode('latin-1')), context)
  fitted = fitted_of(context)
  assert fitted['features'] == [
    'flag=false', 'flag=true', 'city=A, "x"\nB', 'city=Köln']
  assert columns['inputs'].tolist() == [[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]
  assert 'not UTF-8 (line 4), so read as Latin-1' in _lines(context)[0]


def test_unnamed_missing_and_dated_columns(write, context):
  rows = [('', 'day', 'gone', 'a', 'y'), *(
    (i, f'2024-{i // 28 + 1:02}-{i % 28 + 1:02}', '', i % 7, i) for i in range(80))]
  columns = values_of(write(csv_text(rows)), context, clean=(
    cleaning.drop_constant, cleaning.one_hot))
  np.testing.assert_array_equal(columns['inputs'][:, 0], np.arange(80) % 7)
  lines = '\n'.join(_lines(context))
  assert columns['inputs'].shape == (80, 1)
  assert '1 columns without a name are skipped' in lines
  assert 'drop_constant: gone dropped' in lines
  assert 'day DROPPED, since it has 80 values' in lines


def test_integers_beyond_float32_keep_their_differences(write, context):
  path = write('a,y\n9007199254740001,1\n9007199254740003,2\n9007199254740005,3\n')
  columns = values_of(path, context, clean=(cleaning.standardize,))
  np.testing.assert_allclose(columns['inputs'][:, 0], [-(1.5**0.5), 0, 1.5**0.5],
                             rtol=1e-6)


# --- what is refused ------------------------------------------------------------


def test_files_that_are_not_there(write, context, tmp_path):
  write(small(), 'housing.csv')
  table = partial(Table, label='y', task='regression')
  text = message(table(str(tmp_path / 'housing.cvs')), context)
  assert text.endswith("housing.cvs; did you mean 'housing.csv'?")
  assert 'is a folder' in message(table(str(tmp_path)), context)
  assert 'x/y.csv' in message(table(str(tmp_path / 'x' / 'y.csv')), context)


@pytest.mark.parametrize('data, problem', [
  (b'', 'the file is empty'),
  (b'\n\n', 'the file is empty'),
  (b'a,y\n', 'a header and no rows'),
  (b'a,y\n1,1\n\n2\n3,3\n', "line 4 has 1 values, the header has 2: '2'"),
  (b'a,y\n"1\n2",1\n1,2,3\n', "line 4 has 3 values, the header has 2: '1,2,3'"),
  (b'a,y\n1,"2\n3,4\n', 'line 2: unexpected end of data'),
  (b'a,b,a,y\n1,2,3,4\n', "several columns are called 'a'"),
  ('a,y\n1,2\n'.encode('utf-16-le'), 'UTF-16'),
  (b'PK\x03\x04\0\0', 'not a text file'),
  (b'a,price\n1,2\n', "no column 'y'; choose from a, price"),
  (b'a,yy\n1,2\n', "no column 'y'; did you mean 'yy'?"),
  (b'a,y\n1,\n2,NA\n', 'no rows are left; drop_unlabelled: 2 of 2'),
  (b'a,y\n1,1\n2,2\n', "the split 'validation' of 2 rows is empty"),
  (b'y\n' + b'\n'.join(b'%d' % i for i in range(20)), 'no feature columns are left'),
  (b'a,y\n' + b'\n'.join(b'5,%d' % i for i in range(20)), 'drop_constant: a dropped'),
  (b'a,y\n1,1\n"\n",2\n3,$4\n5,6\n',
   "line 5, column 'y': '$4' is not a number; task='classification'"),
])
def test_bad_files(write, context, data, problem):
  table = Table(write(data), 'y', task='regression')
  assert problem in message(table, context)


def test_bad_settings():
  with pytest.raises(UserError, match="no task 'regresion'; did you mean 'regression'"):
    Table('x.csv', 'y', task='regresion')
  with pytest.raises(UserError, match="needs task='classification'"):
    Table('x.csv', 'y', task='regression', threshold=3)
  for threshold in ('mean', float('nan'), 'inf'):
    with pytest.raises(UserError, match="must be a number or 'median'"):
      Table('x.csv', 'y', task='classification', threshold=threshold)


def test_splits_must_be_there(write, context):
  table = Table(write(small()), 'kind', task='classification')
  text = message(table.split('tset'), context)
  assert "no split 'tset'; did you mean 'test'?" in text
  unnamed = dataclasses.replace(table, splits={'all': 1.0}, selected='all')
  assert "none is called 'train'" in message(unnamed, context)
  short = dataclasses.replace(table, splits={'train': 0.5, 'test': 0.4})
  assert 'must add up to 1, got 0.9' in message(short, context)


@pytest.mark.parametrize('values, threshold, problem', [
  (['x'] * 20, None, "all 20 labels are 'x'; two classes are needed"),
  ([f'id{i}' for i in range(20)], None, '20 different values in 20 rows'),
  ([i / 7 for i in range(20)], None, "set threshold='median' or to a number"),
  (list(range(300)) * 3, None, '300 different values in 900 rows'),
  (range(20), 99, "(0 to 19): all 20 labels are 'low (up to 99)'"),
  ([1] * 5 + [2] * 15, 'median', "all 20 labels are 'low (up to 2)'"),
  (['x'] * 20, 'median', "line 2, column 'y': 'x' is not a number, so it cannot be c"),
])
def test_labels_that_are_no_classes(write, context, values, threshold, problem):
  path = write(csv_text([('a', 'y'), *enumerate(values)]))
  table = Table(path, 'y', task='classification', threshold=threshold)
  assert problem in message(table, context)


def test_a_training_split_of_one_class_is_a_warning(write, context):
  test = set(held_out(20, 'test', {'train': 0.8, 'validation': 0.1, 'test': 0.1}))
  rows = [(i, 'rare' if i in test else 'common') for i in range(20)]
  table = Table(write(csv_text([('a', 'y'), *rows])), 'y', task='classification',
                stratified=False)
  columns = table.open(context).load()
  assert set(columns['labels']) == {0}
  assert any('split train: no row of 1 of 2 classes: rare' in line
             and line.startswith('warning: ') for line in context.kept['notes'])


@pytest.mark.parametrize('cell, problem', [
  ('', "column 'a' has 1 values that are missing or too large"),
  ('word', 'still text after cleaning: a; cleaning.one_hot'),
])
def test_steps_must_leave_numbers(write, context, cell, problem):
  path = write(f'a,y\n1,1\n{cell},2\n3,3\n')
  table = Table(path, 'y', task='regression', splits={'train': 1.0}, clean=())
  assert problem in message(table, context)


def test_an_odd_quote_inside_a_value_is_a_character(write, context):
  columns = values_of(write('a,y\n5" disk,1\n7,2\n'), context)
  fitted = fitted_of(context)
  assert fitted['features'] == ['a=5" disk', 'a=7']
  assert columns['inputs'].tolist() == [[1, 0], [0, 1]]
