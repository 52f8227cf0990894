"""Tests of csv_columns and csv_numbers: what is a number, and what is missing."""

import json
from functools import partial

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.tables.csv_numbers import text_row
from bigmodels.data.tables.table import Table
from bigmodels.modes import train
from tests.data.tables.csv_texts import columns_of, read_text, refused

NAN = float('nan')


@pytest.fixture
def read(tmp_path):
  return partial(read_text, tmp_path)


@pytest.mark.parametrize('text, numbers', [
  ('price;area\n1.250;80,5\n2.400;120,25\n', [1250, 2400]),
  ('price;area\n80,5;1.250\n120,25;2.400\n', [80.5, 120.25]),
  ('price\tarea\n1,5\t80,5\n2,5\t1\n', [1.5, 2.5]),
  ('price,area\n"1,250",80.5\n"2,400",120.25\n', [1250, 2400]),
  ('price,area\n"1,5",1\n"2",2\n', [1.5, 2]),
  ('price,area\n1.250,"80,5"\n2.400,"1,25"\n', [1250, 2400]),
  ('price|area\n1.250.000|1\n2.400|2\n', [1250000, 2400]),
  ('price;area\n1.250;1.5\n2.400;2\n', [1.25, 2.4]),
  ('price;area\n1,250;1.5\n2,400;2\n', [1250, 2400]),
  ('price;area\n1.250,5;1\n-2.400;2\n', [1250.5, -2400]),
  ('price;area\n0.250;1\n2.400;2\n', [0.25, 2.4]),
  ('price;area\n1.250;1\n,5;2\n', [1250, 0.5]),
  ("price,area\n1'250,1\n980,2\n", [1250, 980]),
  ("price,area\n1\u2019250.5,1\n980,2\n", [1250.5, 980]),
  ('price,area\n1 250,1\n12 345 678,2\n', [1250, 12345678]),
  ('price;area\n1\u00a0250,5;1\n980;2\n', [1250.5, 980]),
  ('price;area\n1\u202f250,5;1\n980;2\n', [1250.5, 980]),
  ('price,area\n1_250,1\n980,2\n', [1250, 980]),
  ('price,area\n"12,34,567",1\n"1,250",2\n', [1234567, 1250]),
  ('price,area\n"1,234,567.8",1\n5,2\n', [1234567.8, 5]),
  ('price,area\n$1.50,1\n$2,2\n', [1.5, 2]),
  ('price,area\n"$1,250",1\n-$2,2\n', [1250, -2]),
  ('price;area\n1.250,50 \u20ac;1\n2 \u20ac;2\n', [1250.5, 2]),
  ('price,area\nUS$ 5,1\nUS$ 6.5,2\n', [5, 6.5]),
  ('price,area\nEUR 5,1\nEUR 6.5,2\n', [5, 6.5]),
  ('price,area\n12%,1\n7.5 %,2\n', [12, 7.5]),
  ('price,area\n(5),1\n6,2\n', [-5, 6]),
  ('price,area\n($5),1\n$6,2\n', [-5, 6]),
  ('price,area\n5-,1\n6,2\n', [-5, 6]),
  ('price,area\n\u22125,1\n\u20136,2\n', [-5, -6]),
  ('price,area\n1e3,1\n+5,2\n', [1000, 5]),
  ('price;area\n1,5E+03;1\n2,5e-1;2\n', [1500, 0.25]),
  ('price,area\n.5,1\n5.,2\n', [0.5, 5]),
])
def test_numbers(read, text, numbers):
  column = read(text).frame['price']
  assert column.dtype == np.float64
  np.testing.assert_array_equal(column, numbers)


@pytest.mark.parametrize('text, place, readings', [
  ('a;y\n1.250;1\n2.500;2\n', "line 2, column 'a': '1.250'", (
    "1.25 (decimal='.')", "1250 (decimal=',', thousands='.')")),
  ('a\ty\n1,250\t1\n2,500\t2\n', "line 2, column 'a': '1,250'", (
    "1250 (decimal='.', thousands=',')", "1.25 (decimal=',')")),
  ('a|y\n7|1\n-12.345|2\n', "line 3, column 'a': '-12.345'", ('-12.345', '-12345')),
  ('sep=;\na;y\n5;1.250\n', "line 3, column 'y': '1.250'", ('1.25', '1250')),
  ('a;y\n1;5\n"\n";999.999\n', "line 3, column 'y': '999.999'", ('999999',)),
  ('a;y\n1.250 EUR;1\n2.500 EUR;2\n', "'1.250 EUR'", ('1.25', '1250')),
  ('a;y\n?;1\n2.500;2\n', "line 3, column 'a': '2.500'", ('2.5', '2500')),
  ('a;b;y\n1.250;1.5;2,5\n2.500;2;3,5\n', "line 2, column 'a'", (
    'other columns differ',)),
  ('a,b,y\n"1,250",1.5,"2,5"\n7,2,3\n', "line 2, column 'a': '1,250'", ('1.25',)),
  ('a;y\n(1.250);1\n3;2\n', "line 2, column 'a': '(1.250)'", ('-1.25', '-1250')),
])
def test_two_readings_are_refused(read, text, place, readings):
  message = refused(read, text)
  assert place in message
  assert '--config.decimal=, --config.thousands=.' in message
  for reading in readings:
    assert reading in message


def _written(value, digits, decimal, thousands):
  whole, _, part = f'{value:,.{digits}f}'.partition('.')
  return whole.replace(',', thousands) + (decimal + part if part else '')


@pytest.mark.parametrize('delimiter', [',', ';', '\t', '|'])
@pytest.mark.parametrize('decimal', ['.', ','])
def test_numbers_come_back_or_are_refused_or_the_guess_is_printed(
  read, delimiter, decimal):
  """Random tables; without a setting, and with the one that always does."""
  generator = np.random.default_rng(0)
  refusals = 0
  for _ in range(40):
    thousands = generator.choice(['', ' ', "'", '.' if decimal == ',' else ','])
    digits = generator.choice([0, 1, 3], size=3)
    numbers = [np.round(generator.normal(size=3) * generator.choice([1, 1e3, 1e7]), d)
               for d in digits]
    cells = [[_written(v, d, decimal, thousands) for v in column]
             for column, d in zip(numbers, digits, strict=True)]
    quoted = [[f'"{c}"' if delimiter in c else c for c in column] for column in cells]
    text = '\n'.join(delimiter.join(row) for row in [
      'abc', *zip(*quoted, strict=True)])
    file = read(text, decimal=decimal)
    np.testing.assert_array_equal([*file.frame.values()], numbers)
    try:
      file = read(text)
    except UserError as error:
      assert 'may be' in str(error)
      refusals += 1
      continue
    if not np.array_equal([*file.frame.values()], numbers):
      assert (delimiter, decimal) == (',', ',')
      assert "',' groups digits" in ''.join(file.lines)
  assert refusals < 20


@pytest.mark.parametrize('settings, expected', [
  ({'decimal': '.'}, [1.25, 2.5]),
  ({'decimal': ','}, [1250, 2500]),
  ({'thousands': '.'}, [1250, 2500]),
  ({'thousands': ','}, [1.25, 2.5]),
  ({'decimal': ',', 'thousands': '.'}, [1250, 2500]),
  ({'thousands': ''}, [1.25, 2.5]),
  ({'decimal': ',', 'thousands': ''}, ['1.250', '2.500']),
])
def test_settings_decide(read, settings, expected):
  assert read('a;y\n1.250;1\n2.500;2\n', **settings).frame['a'].tolist() == expected


@pytest.mark.parametrize('settings, message', [
  ({'decimal': ';'}, "decimal: must be one of '.' ',', got ';'"),
  ({'thousands': 'x'}, "thousands: must be one of '' '.' ',' ' '"),
  ({'decimal': '.', 'thousands': '.'}, "must differ from decimal, both are '.'"),
  ({'delimiter': 'ab'}, "delimiter: must be one ASCII character"),
  ({'delimiter': ''}, "got ''"),
  ({'delimiter': '\n'}, "delimiter: must be"),
  ({'delimiter': '"'}, "delimiter: must be"),
  ({'delimiter': '5'}, "delimiter: must be"),
  ({'encoding': 'utf9'}, "no encoding 'utf9'; did you mean 'utf-8'"),
])
def test_settings_that_cannot_be(settings, message):
  with pytest.raises(UserError) as caught:
    Table('x.csv', 'y', task='regression', **settings)
  assert message in str(caught.value)


@pytest.mark.parametrize('text, lines', [
  ('a,y\n1.5,2\n', []),
  ('a,y\n1.5,\n', []),
  ('a;y\n1.250;80,5\n', [
    "numbers: ',' is the decimal mark in y, as in line 2, column 'y': '80,5' (decimal= "
    'and thousands= set it)',
    "numbers: ',' is the decimal mark and '.' groups digits in a, as in line 2, column "
    "'y': '80,5' (decimal= and thousands= set it)"]),
  ('a,y\n"1,250",2\n', ["numbers: '.' is the decimal mark and ',' groups digits in a "
                        '(decimal= and thousands= set it)']),
  ("a,y\n1'250,2\n", ['numbers: "\'" groups digits in a (decimal= and thousands= set '
                      'it)']),
  ('a,b,y\n5%,6%,2\n', ["numbers: '%' is dropped in a, b"]),
  ('a;y\n01.02;1,5\n', [
    "numbers: the file has both decimal marks, '.' in line 2, column 'a': '01.02' and "
    "',' in line 2, column 'y': '1,5' (decimal= makes the other columns text)",
    "numbers: ',' is the decimal mark in y, as in line 2, column 'y': '1,5' (decimal= "
    'and thousands= set it)']),
  ('a,y\n07,1\n7,2\n', [
    "column 'a' has integers with leading zeros: as classes they keep their names, but "
    '2 different integers become 1 different numbers']),
  ('a,y\n(5),2\n', ['numbers: those in brackets or with a trailing minus are '
                    'negative in a']),
  ('a,y\n1,1\n-,2\nn/a,3\n-,NA\n', [
    "missing: 1 'n/a' in a, 1 'NA' in y, 2 '-' in a (missing= sets these words)"]),
])
def test_what_is_inferred_is_printed(read, text, lines):
  assert list(read(text).lines) == lines


@pytest.mark.parametrize('cells, count, first', [
  (['1', '2', 'abc'], '2 of 3', "'abc', line 4"),
  (['5 kg', '6 kg', '7 kg'], '3 of 3', "'5 kg', line 2"),
  (['<5', '6', '7'], '3 of 3', "'<5', line 2"),
  (['65+', '70', '80'], '3 of 3', "'65+', line 2"),
  (['1.5', '2.5', '"3,5"'], '3 of 3', "'3,5', line 4"),
  (['$5', '6', '7'], '3 of 3', "'$5', line 2"),
  (['$5', '\u20ac6', '$7'], '3 of 3', "'$5', line 2"),
  (['5%', '0.05', '6%'], '3 of 3', "'5%', line 2"),
  (['1', '2', '1 2 3'], '2 of 3', "'1 2 3', line 4"),
  (['1', '--5', '2'], '3 of 3', "'--5', line 3"),
  (['\uff11', '\uff12', '3'], '3 of 3', "'\uff11', line 2"),
  (['1', '', '2', '12:30'], '2 of 3', "'12:30', line 5"),
])
def test_what_looks_like_numbers_and_is_text_is_named(read, cells, count, first):
  file = read('a,y\n' + ''.join(f'{cell},1\n' for cell in cells))
  assert file.frame['a'].tolist() == [cell.strip('"') for cell in cells]
  [line] = file.lines
  assert f"column 'a' is text, though {count} values look like numbers" in line
  assert f'the first that is not one is {first}' in line


@pytest.mark.parametrize(('cells', 'row'), [
  (['1.5', 'abc', '2.5'], 1), (['1,5', '2', 'abc'], 2), (['1.5', '', '1,5'], 2),
  (['1.5', '1,5', 'abc'], 2), (['1,5', '1.5', 'abc', 'x'], 2), (['abc', '1,5'], 0)])
def test_the_row_that_shows_that_a_column_is_text(cells, row):
  assert text_row(np.array(cells, object)) == row


def test_lines_of_many_columns_are_cut_short(read):
  file = read(','.join(f'c{i}' for i in range(100)) + '\n' + ','.join(['5 kg'] * 100))
  assert len(file.lines) == 9
  assert file.lines[-1] == '... and so on, for 100 columns'


@pytest.mark.parametrize('cell', [
  'red', 'true', '2024-01-02', '01.02.2024', '12:30', '1.2.3', '192.168.0.1', 'A12',
  '0x1F', '1/2', 'x, "y"'])
def test_other_text_is_text_without_a_word(read, cell):
  quoted = cell.replace('"', '""')
  file = read(f'a,y\n"{quoted}",1\n"{quoted}",2\n')
  assert columns_of(file) == {'a': [cell, cell], 'y': [1, 2]}
  assert not file.lines


# --- missing values -------------------------------------------------------------


PANDAS = ('', '#N/A', '#N/A N/A', '#NA', '-1.#IND', '-1.#QNAN', '-NaN', '-nan',
          '1.#IND', '1.#QNAN', '<NA>', 'N/A', 'NA', 'NULL', 'NaN', 'None', 'n/a', 'nan',
          'null')


@pytest.mark.parametrize('word', [
  *PANDAS, 'NONE', 'none', 'Na', 'Null', 'N/a', '?', '-', '--', '.', '..', '*',
  '\u2014', 'n.a.', 'nil', 'missing', 'Unknown', '\\N', 'NaT', '#DIV/0!', '#REF!',
  ' None ', '"NA"', '  ', '1.#INF'])
def test_a_missing_word_leaves_a_column_of_numbers(read, word):
  file = read(f'a,y\n1.5,1\n{word},2\n3,3\n')
  np.testing.assert_array_equal(file.frame['a'], [1.5, NAN, 3])
  said = word.strip(' "')
  assert list(file.lines) == [
    f'missing: 1 {said!r} in a (missing= sets these words)'] * bool(said)


@pytest.mark.parametrize('word', PANDAS)
def test_missing_texts_are_those_of_pandas(read, word):
  assert read(f'a,y\nred,1\n{word},2\n').frame['a'].tolist() == ['red', '']


@pytest.mark.parametrize('word', ['none', 'na', '-', '.', 'unknown', 'missing', 'Null'])
def test_words_that_may_be_categories_stay_so(read, word):
  assert read(f'a,y\nred,1\n{word},2\n').frame['a'].tolist() == ['red', word]


@pytest.mark.parametrize('missing, expected', [
  (None, [1, NAN, NAN, NAN]),
  ('x', ['1', 'NA', '-', '']),
  ('NA,-', [1, NAN, NAN, NAN]),
  (('NA', '-'), [1, NAN, NAN, NAN]),
  ((), ['1', 'NA', '-', '']),
])
def test_missing_words_can_be_set(read, missing, expected):
  column = read('a,y\n1,1\nNA,2\n-,3\n,4\n', missing=missing).frame['a']
  if isinstance(expected[0], str):
    assert column.tolist() == expected
  else:
    np.testing.assert_array_equal(column, expected)


def test_words_of_sparse_columns_are_all_looked_at(read):
  cells = ['-'] * 2000
  cells[777] = '"1,250"'
  column = read('a,y\n' + ''.join(f'{cell},1\n' for cell in cells)).frame['a']
  assert column[777] == 1250
  assert np.isnan(column).sum() == 1999


@pytest.mark.slow('train', together=True)
@pytest.mark.parametrize('word', ['', 'None', 'n/a'])
def test_a_missing_word_costs_no_accuracy(request_for, tmp_path, word):
  generator = np.random.default_rng(0)
  income = generator.normal(50, 10, 400)
  spent = 2 * income + generator.normal(size=400)  # R2 of the best guess: 1 - 1/401
  rows = [f'{x:.3f},{y:.3f}' for x, y in zip(income, spent, strict=True)]
  rows[200] = f'{word},100'
  (tmp_path / 'data.csv').write_text('\n'.join(['income,spent', *rows]))
  train.run(request_for('tabular_mlp', tmp_path / 'run', path=tmp_path / 'data.csv',
                        label='spent', task='regression'))
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['metrics']['test/r2'] > 0.99


# --- integers that float64 lacks ------------------------------------------------


IDS = ['1442310111111111100', '1442310111111111200', '1442310111111111300',
       '1442310111111111400']


def test_large_integers_as_classes_keep_their_names(tmp_path):
  path = tmp_path / 'data.csv'
  path.write_text('a,user\n' + ''.join(f'{i},{IDS[i % 4]}\n' for i in range(40)))
  lines = []
  dataset = Table(str(path), 'user', task='classification', splits={'train': 1.0}).open(
    DataContext(None, tmp_path, {}, lines.append))
  assert dataset.classes == tuple(IDS)
  assert dataset.load()['labels'].tolist() == [i % 4 for i in range(40)]
  assert "column 'user' has integers beyond 2**53" in lines[1]


@pytest.mark.parametrize('first', [10**7, 12345678900, 2**53 - 8, 2**60, 10**30])
def test_classes_that_are_integers_have_different_names(tmp_path, first):
  path = tmp_path / 'data.csv'
  names = [str(first + i) for i in range(4)]
  path.write_text('a,user\n' + ''.join(f'{i},{names[i % 4]}\n' for i in range(40)))
  dataset = Table(str(path), 'user', task='classification', splits={'train': 1.0}).open(
    DataContext(None, tmp_path, {}, str))
  assert dataset.classes == tuple(names)


@pytest.mark.parametrize('cells, exact', [
  (IDS, IDS),
  ([str(2**53 + 1), '5'], [str(2**53 + 1), '5']),
  ([str(2**53), '5'], [str(2**53), '5']),
  ([str(2**53 - 1), '5'], None),
  ([f'-{2**53 + 1}', '+7', '-007'], [f'-{2**53 + 1}', '7', '-007']),
  ([str(2**64), ''], [str(2**64), '']),
  (['1' * 45, '2' + '1' * 44], ['1' * 45, '2' + '1' * 44]),
  (['1' * 5000, '0'], ['1' * 5000, '0']),
  (['"9,007,199,254,740,993"', '"1,000"'], ['9007199254740993', '1000']),
  (['9 007 199 254 740 993', '-'], ['9007199254740993', '']),
  ([f'{2**53 + 1}.0', '1200.'], [str(2**53 + 1), '1200']),
  ([str(2**53 + 1), '1.5'], None),
  (['1e300', '5'], None),
  (['01234', '501'], ['01234', '501']),
  (['007', '07', '7', ''], ['007', '07', '7', '']),
  (['00.5', '1'], None),
  (['0', '10'], None),
])
def test_integers_that_are_more_than_numbers_are_kept_as_text(read, cells, exact):
  file = read('a,y\n' + ''.join(f'{cell},1\n' for cell in cells))
  assert file.frame['a'].dtype == np.float64
  if exact is None:
    assert not file.exact
  else:
    assert file.exact['a'].tolist() == exact
    assert any("column 'a' has integers" in line for line in file.lines)


def test_large_integers_as_features_are_named(read):
  [line] = read('a,y\n' + ''.join(f'{i},1\n' for i in IDS)).lines
  assert '4 different integers become 2 different numbers' in line
