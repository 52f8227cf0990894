"""Tests of typed_files, and of several files of different kinds as one table."""

import datetime
import decimal
import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bigmodels.core.errors import UserError
from bigmodels.data.tables import table_files
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.table import Table
from tests.data.tables.rows import lines_of, printing

NAN = float('nan')
DAY = datetime.date(2024, 2, 29)
VALUES = {
  'integer': ([1, None, 3], [1, NAN, 3]),
  'float': ([0.1, None, -2.5], [0.1, NAN, -2.5]),
  'text': (['a', None, ' NA '], ['a', '', 'NA']),
  'flag': ([True, None, False], ['true', '', 'false'])}


def read(*paths, **settings):
  table_files._read.cache_clear()
  return table_files.read(paths, Reading(**settings))


def as_parquet(folder, columns, name='a.parquet', **types):
  arrays = {n: pa.array(v, types.get(n)) for n, v in columns.items()}
  parquet.write_table(pa.table(arrays), folder / name)
  return folder / name


def as_json(folder, rows, name='a.jsonl'):
  text = '\n'.join(map(json.dumps, rows)) + '\n'
  data = gzip.compress(text.encode()) if name.endswith('gz') else text.encode()
  (folder / name).write_bytes(data)
  return folder / name


@pytest.mark.parametrize('kind', ['parquet', 'json', 'json.gz'])
def test_types_are_those_of_the_file(tmp_path, kind):
  columns = {name: given for name, (given, _) in VALUES.items()}
  path = as_parquet(tmp_path, columns) if kind == 'parquet' else as_json(
    tmp_path, pa.table(columns).to_pylist(), f'a.{kind.replace("json", "jsonl")}')
  file = read(path)
  for name, (_, expected) in VALUES.items():
    if isinstance(expected[0], str):
      assert file.frame[name].tolist() == expected
    else:
      np.testing.assert_array_equal(file.frame[name], expected)
  assert 'true and false are text in flag' in file.summary
  types = read(path, text=('integer',), numbers=('flag',)).frame
  assert types['integer'].tolist() == ['1', '', '3']
  np.testing.assert_array_equal(types['flag'], [1, NAN, 0])


def test_other_types_of_parquet(tmp_path):
  path = as_parquet(tmp_path, {
    'day': [DAY, None], 'time': [datetime.datetime(2024, 2, 29, 12), None],
    'price': [decimal.Decimal('1.25'), None], 'code': ['x', 'y'],
    'big': [2**60 + 1, 2**60], 'small': [1, 2], 'gone': [None, None]},
    code=pa.dictionary(pa.int8(), pa.string()), small=pa.int8())
  file = read(path)
  assert file.frame['day'].tolist() == ['2024-02-29', '']
  assert file.frame['time'][0].startswith('2024-02-29 12:00:00')
  np.testing.assert_array_equal(file.frame['price'], [1.25, NAN])
  assert file.frame['code'].tolist() == ['x', 'y']
  assert file.exact['big'].tolist() == [str(2**60 + 1), str(2**60)]
  assert file.frame['small'].tolist() == [1, 2] and np.isnan(file.frame['gone']).all()
  assert 'dates and times are text in day, time' in file.summary


def test_absent_keys_and_values_of_several_types_are_said(tmp_path):
  file = read(as_json(tmp_path, [{'a': 1, 'b': 'x'}, {'b': 2.5}, {'a': 3, 'b': True}]))
  np.testing.assert_array_equal(file.frame['a'], [1, NAN, 3])
  assert file.frame['b'].tolist() == ['x', '2.5', 'true']
  assert "column 'b' has values of several types, bool, float, str, and is text" in (
    file.summary)
  assert 'absent keys are missing values: a (1 rows)' in file.summary


@pytest.mark.parametrize('name, data, settings, problem', [
  ('a.parquet', b'', {}, 'is not a Parquet file'),
  ('a.parquet', b'a,b\n1,2\n', {}, 'is not a Parquet file'),
  ('a.csv', b'PAR1', {}, 'is not a Parquet file'),
  ('a.jsonl', b'', {}, 'the file is empty'), ('a.jsonl', b'\n\n', {}, 'file is empty'),
  ('a.jsonl', b'{"a": 1}\n{"a": \n', {}, 'line 2 is not JSON: '),
  ('a.json', b'[{"a": 1},\n{"a": 2}]\n', {}, 'line 1 is not JSON: '),
  ('a.json', b'[1]', {}, 'line 1 must be an object {"name": value}, got [1]'),
  ('a.json', b'{\n"a": 1}', {}, 'one object must be on one line'),
  ('a.jsonl', b'{"a": "\xff"}', {}, 'line 1 is not JSON: '),
  ('a.jsonl', '{"a": 1}\n{"a": 2}\n'.encode('utf-16'), {}, 'is UTF-16 or UTF-32'),
  ('a.jsonl', b'{"a": 1, "b": 2, "a": 3}', {}, "line 1 has the key 'a' twice"),
  ('a.jsonl', b'{"a": 1}', {'delimiter': ';'}, "delimiter=';': is for CSV, and this is "
   'JSON'),
  ('a.jsonl', b'{"a": "x"}', {'numbers': ('a',)}, "line 1, column 'a': 'x' is not a"),
  ('a.csv.gz', gzip.compress(b'a,b\n1,2\n' * 99, mtime=0)[:-9], {},
   'its gzip data is cut'),
  ('a.csv.zst', pa.compress(b'a,b\n1,2\n' * 99, 'zstd', asbytes=True)[:-2], {},
   'its zstd data is cut'),
  ('a.csv.gz', gzip.compress(b'', mtime=0), {}, 'the file is empty'),
  ('a.csv', b'a,b\n1,2\n', {'encoding': 'utf-16'}, 'is not utf-16')])
def test_files_that_are_none(tmp_path, name, data, settings, problem):
  (tmp_path / name).write_bytes(data)
  with pytest.raises(UserError) as error:
    read(tmp_path / name, **settings)
  assert problem in str(error.value) and '\n' not in str(error.value)


def test_columns_of_one_name_and_halves_of_characters(tmp_path):
  parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=['a', 'a']),
                      tmp_path / 'a.parquet')
  with pytest.raises(UserError, match="several columns are called 'a'"):
    read(tmp_path / 'a.parquet')
  (tmp_path / 'a.jsonl').write_text('{"a": "\\ud800", "y": 1}\n')
  refused = read(tmp_path / 'a.jsonl').refused
  assert refused['a'].startswith("line 1, column 'a': has half")


def test_nested_values_are_refused_where_they_are_used(tmp_path):
  rows = [{'a': i, 'n': {'b': 1} if i == 3 else None, 'y': i % 2} for i in range(60)]
  path = str(as_json(tmp_path, rows))
  with pytest.raises(UserError, match=r"line 4, column 'n': is nested: {\"b\": 1}; .*"
                     'or drop=n'):
    Table(path, 'y', task='classification').open(printing(tmp_path))
  Table(path, 'y', task='classification', drop='n').open(printing(tmp_path))
  lists = as_parquet(tmp_path, {'a': [*range(60)], 'n': [[1]] * 60, 'y': [0, 1] * 30})
  with pytest.raises(UserError, match=r"column 'n' is list<.*>, neither numbers nor"):
    Table(str(lists), 'y', task='classification').open(printing(tmp_path))


# --- several files ----------------------------------------------------------------


def test_files_with_the_same_columns_are_one_table(tmp_path):
  (tmp_path / '1.csv').write_text('a,b,y\n1,x,0\n2,z,1\n')
  (tmp_path / '2.csv').write_text('y;b;a\n0;x;3,5\n1;w;4\n')
  as_json(tmp_path, [{'b': 'v', 'a': 5, 'y': 0}], '3.jsonl')
  as_parquet(tmp_path, {'y': [1], 'a': [6.5], 'b': ['x']}, '4.parquet')
  paths = table_files.found(str(tmp_path / '*'), None)
  assert [p.name for p in paths] == ['1.csv', '2.csv', '3.jsonl', '4.parquet']
  file = read(*paths)
  assert file.frame['a'].tolist() == [1, 2, 3.5, 4, 5, 6.5]
  assert file.frame['b'].tolist() == ['x', 'z', 'x', 'w', 'v', 'x']
  assert [file.where(row) for row in (0, 1, 3, 4, 5)] == [
    'line 2 of 1.csv', 'line 3 of 1.csv', 'line 3 of 2.csv', 'line 1 of 3.jsonl',
    'line 1 of 4.parquet']
  assert file.summary == '4 files, 6 rows, 2 columns of numbers, 1 of text'
  assert "2.csv: delimiter ';' (delimiter= sets it)" in file.lines


def test_numbers_of_one_file_and_text_of_another_are_text(tmp_path):
  (tmp_path / '1.csv').write_text('a,y\n01,0\n2.50,1\n')
  (tmp_path / '2.csv').write_text('a;y\nx;0\n3;1\n')
  file = read(tmp_path / '1.csv', tmp_path / '2.csv')
  assert file.frame['a'].tolist() == ['01', '2.50', 'x', '3']
  assert any("column 'a' is text in one file and numbers in another" in line
             for line in file.lines)


@pytest.mark.parametrize('second, problem', [
  ('a,z\n1,2\n', "2.csv: no column 'y', which 1.csv has; did you mean"),
  ('a,y,z\n1,2,3\n', "2.csv: has a column 'z', which 1.csv does not have"),
  ('a,y\n1,2\n3,4\n', '2.csv: is a copy of 1.csv, whose rows would count twice'),
  ('a,y\n1\n', '2.csv: line 2 has 1 values'), ('', '2.csv: the file is empty')])
def test_files_that_do_not_fit_together(tmp_path, second, problem):
  (tmp_path / '1.csv').write_text('a,y\n1,2\n3,4\n')
  (tmp_path / '2.csv').write_text(second)
  with pytest.raises(UserError) as error:
    read(tmp_path / '1.csv', tmp_path / '2.csv')
  assert problem.partition('; did')[0] in str(error.value)


def test_paths_of_files(tmp_path):
  (tmp_path / '1.csv').write_text('a,y\n1,2\n')
  with pytest.raises(UserError, match=r'no file matches .*\*\.txt'):
    table_files.found(str(tmp_path / '*.txt'), None)
  with pytest.raises(UserError, match=r'1\.csv is given twice'):
    table_files.found((str(tmp_path / '*.csv'), str(tmp_path / '1.csv')), None)
  (tmp_path / 'a[1].csv').write_text('a,y\n1,2\n')
  path = str(tmp_path / 'a[1].csv')
  assert table_files.found(path, None) == (tmp_path / 'a[1].csv',)
  (tmp_path / 'b').mkdir()
  with pytest.raises(UserError, match=r'no file matches .*/b\*, only folders'):
    table_files.found(str(tmp_path / 'b*'), None)


def test_a_relative_path_is_also_looked_up_under_data_dir(tmp_path, monkeypatch):
  (tmp_path / 'there').mkdir()
  (tmp_path / 'here').mkdir()
  monkeypatch.chdir(tmp_path / 'here')
  for name in ('a', 'b'):
    (tmp_path / 'there' / f'{name}.csv').write_text(
      'a,y\n' + ''.join(f'{i}{ord(name)},{i}\n' for i in range(40)))
  context = printing(tmp_path)
  context.data_dir = str(tmp_path / 'there')
  for path, rows in (('a.csv', 32), ('*.csv', 64), (('a.csv', 'b.csv'), 64)):
    table = Table(path, 'y', task='regression', duplicates='keep')
    assert table.path == path
    assert table.open(context).length == rows


def test_a_table_of_another_format_is_cleaned_as_the_first(tmp_path):
  context = printing(tmp_path)
  rows = [{'k': ('a', 'b', '7')[i % 3], 'x': i / 2, 'y': 'uv'[i % 2]}
          for i in range(60)]
  (tmp_path / 'a.csv').write_text('\n'.join(
    ['k,x,y', *(f'{r["k"]},{r["x"]},{r["y"]}' for r in rows)]))
  first = Table(str(tmp_path / 'a.csv'), 'y', task='classification',
                splits={'train': 1.0})
  inputs = first.open(context).load()['inputs']
  again = Table(str(as_json(tmp_path, rows)), 'y', task='classification',
                splits={'test': 1.0}, selected='test')
  np.testing.assert_array_equal(again.open(context).load()['inputs'], inputs)
  # All values of a text column may look like numbers in another file.
  (tmp_path / 'b.csv').write_text('k,x,y\n7,1,u\n7,2,v\n')
  numbers = Table(str(tmp_path / 'b.csv'), 'y', task='classification',
                  splits={'test': 1.0}, selected='test')
  found = numbers.open(context)
  assert found.features[0] == 'k=7' and found.load()['inputs'][:, 0].tolist() == [1, 1]
  assert not [line for line in lines_of(context) if 'one_hot: k (' in line]


def test_files_that_spell_true_and_false_differently_have_one_spelling(tmp_path):
  """CSV files of pandas have True, those of R TRUE, JSON and Arrow true."""
  (tmp_path / 'a.csv').write_text('flag,y\nTrue,1\nFalse,2\nTrue,3\n')
  (tmp_path / 'r.csv').write_text('flag,y\nTRUE,4\n')
  parquet.write_table(pa.table({'flag': [True, False], 'y': [5, 6]}),
                      tmp_path / 'b.parquet')
  file = read(*(tmp_path / name for name in ('a.csv', 'r.csv', 'b.parquet')))
  assert file.frame['flag'].tolist() == [
    'True', 'False', 'True', 'True', 'True', 'False']
  assert ("column 'flag': 'TRUE' (1) is read as 'True', 'false' (1) is read as "
          "'False', 'true' (1) is read as 'True'") in file.lines
