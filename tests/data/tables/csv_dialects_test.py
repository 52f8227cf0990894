"""Tests of csv_dialects and csv_files: delimiters, quotes, and lines."""

import dataclasses
import time
from functools import partial

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.tables import table_files
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.table import Table
from bigmodels.data.texts import LabelledTexts
from tests.data.tables.csv_texts import columns_of, read_text, refused

NAN = float('nan')


@pytest.fixture
def read(tmp_path):
  return partial(read_text, tmp_path)


@pytest.mark.parametrize('text, expected', [
  ('Price, EUR;Area, m2;y\n1.5;2.5;3\n4.5;5;6\n',
   {'Price, EUR': [1.5, 4.5], 'Area, m2': [2.5, 5], 'y': [3, 6]}),
  ('"Area\n(m2, net)";price;y\n1;2;3\n',
   {'Area\n(m2, net)': [1], 'price': [2], 'y': [3]}),
  ('sep=;\na;y\n1;2\n', {'a': [1], 'y': [2]}),
  ('"sep=;"\r\na;y\r\n1;2\r\n', {'a': [1], 'y': [2]}),
  ('SEP=|\na|y\n1|2\n', {'a': [1], 'y': [2]}),
  ('sep=;;\na;y\n1;2\n', {'a': [1], 'y': [2]}),
  ('sep=\u20ac,y\n1,2\n', {'sep=\u20ac': [1], 'y': [2]}),
  ('sep=,y\n1,2\n', {'sep=': [1], 'y': [2]}),
  ('\ufeffsep=\t\na\ty\n1\t2\n', {'a': [1], 'y': [2]}),
  ('a,b;c,y\n1,2;3,4\n5,6;7,8\n', {'a,b': [1.2, 5.6], 'c,y': [3.4, 7.8]}),
  ('tags;more,y\na;b,1\nc;d,2\n', {'tags;more': ['a;b', 'c;d'], 'y': [1, 2]}),
  ('a,b|c,y\n1,x|z,3\n4,x|z,5\n', {'a': [1, 4], 'b|c': ['x|z'] * 2, 'y': [3, 5]}),
  ('name,notes\nA,x;y\nB,z;w\n', {'name': ['A', 'B'], 'notes': ['x;y', 'z;w']}),
  ('a;b,c;y\n1;2;3\n', {'a': [1], 'b,c': [2], 'y': [3]}),
  ('a|y\n"x,y"|2\n', {'a': ['x,y'], 'y': [2]}),
  ('a\n1\n2\n', {'a': [1, 2]}),
  ('a, "b c", y\n1, "x, y" , 3\n2,"z" ,4\n',
   {'a': [1, 2], 'b c': ['x, y', 'z'], 'y': [3, 4]}),
])
def test_delimiters(read, text, expected):
  assert columns_of(read(text)) == expected


@pytest.mark.parametrize('delimiter, text', [
  (':', 'a:y\n1:2\n'), ('tab', 'a\ty\n1\t2\n'), ('\\t', 'a\ty\n1\t2\n'),
  ('space', ' a  y\n1   2 \n'), (' ', 'a y\n1\t2\n'), ('^', 'a^y\n1^2\n'),
  ('\x01', 'a\x01y\n1\x012\n'), (';', 'sep=,\na;y\n1;2\n'), ('~', '"a"~y\n1~"2"\n'),
  ('|', 'a|y\n1|2\n')])
def test_delimiter_can_be_set(read, delimiter, text):
  assert columns_of(read(text, delimiter=delimiter)) == {'a': [1], 'y': [2]}


def test_delimiter_that_may_be_either_is_refused(read):
  message = refused(read, 'a,b;c,d\nx,y;z,w\n')
  assert "may be ',' (3 columns) or ';' (2 columns)" in message
  assert "set delimiter=',' or delimiter=';'" in message
  file = read('a,b;c,d\nx,y;z,w\n', delimiter=';')
  assert columns_of(file) == {'a,b': ['x,y'], 'c,d': ['z,w']}


@pytest.mark.parametrize('text, message', [
  ('a,y\n1,2\n3,4,5\n', "line 3 has 3 values, the header has 2: '3,4,5' (line 1 is the "
   "header, the delimiter is ',')"),
  ('a;y\n1;2\n3\n', "line 3 has 1 values, the header has 2: '3'"),
  ('sep=;\na;y\n1;2\n3\n', "line 4 has 1 values, the header has 2: '3' (line 2 is"),
  ('a,b,y\n1,2,3,\n4,5,6,\n', 'line 2 has 4 values, the header has 3'),
  ('# made by x\na,y\n1,2\n', 'line 2 has 2 values, the header has 1'),
  ('Report\n\na,b,y\n1,2,3\n', 'line 3 has 3 values, the header has 1'),
  ('a,y\n1,2\n# end\n', "line 3 has 1 values, the header has 2: '# end'"),
  ('a\n1,5\n2,5\n', 'line 2 has 2 values, the header has 1'),
  ('a,y\n"abc,1\n"def,2\n', "line 2: ',' expected after '\"'"),
  ('a;y\n"abc"x;1\n', "line 2: ';' expected after '\"'"),
  ('a,y\n1,",2\n3,4\n5,6\n', 'line 2: unexpected end of data'),
  ('a,y\n\n1,"2\n', 'line 3: unexpected end of data'),
  ('a;b\n', 'a header and no rows'),
  ('a,y', 'a header and no rows'),
  ('sep=;\n', 'the file is empty'),
  ('a,y, a\n1,2,3\n', "several columns are called 'a'"),
])
def test_what_is_wrong_is_named_with_its_line(read, text, message):
  assert message in refused(read, text)


@pytest.mark.parametrize('text, expected', [
  ('a,y\r1,2\r3,4\r', {'a': [1, 3], 'y': [2, 4]}),
  ('a,y\r\n1,2\r3,4\n', {'a': [1, 3], 'y': [2, 4]}),
  ('\n\na,y\n1,2\n\n\n3,4\n\n\n', {'a': [1, 3], 'y': [2, 4]}),
  ('a,y\n1,2\n  \n3,4\n ', {'a': [1, 3], 'y': [2, 4]}),
  ('a,y\n1,2\n\x1a', {'a': [1], 'y': [2]}),
  ('a,y,\n1,2,\n', {'a': [1], 'y': [2]}),
  ('a,,y\n1,9,2\n', {'a': [1], 'y': [2]}),
  ('a,y\n"1\n2",3\n4,5\n', {'a': ['1\n2', '4'], 'y': [3, 5]}),
  ('a,y\n"x ""q"" z",1\n"",2\n', {'a': ['x "q" z', ''], 'y': [1, 2]}),
  ('#a,y\n1,2\n', {'#a': [1], 'y': [2]}),
  ('a,y\n",",1\n",",2\n', {'a': [',', ','], 'y': [1, 2]}),
])
def test_odd_but_whole_files(read, text, expected):
  assert columns_of(read(text)) == expected


def test_lines_are_those_of_the_file(read):
  file = read('sep=;\na;y\n\n"1\n2";x\n   \n3;"y"\n')
  assert [file.where(row) for row in (0, 1)] == ['line 4', 'line 7']


def test_one_column_says_that_the_delimiter_can_be_set(tmp_path):
  (tmp_path / 'data.csv').write_text('a:y\n1:2\n')
  with pytest.raises(UserError, match=r"no column 'y'.*one column, delimiter= sets"):
    Table(str(tmp_path / 'data.csv'), 'y', task='regression').open(
      DataContext(None, tmp_path, {}, str))


@pytest.mark.slow('wide table')
def test_sixty_thousand_columns(read):
  names = [f'gene_expression_{i:05}' for i in range(60_000)]
  rows = ['0.5,' * 59_999 + '1', '-,' + '0.25,' * 59_998 + '2'] * 20
  began = time.monotonic()
  file = read('\n'.join([','.join(names), *rows]))
  assert time.monotonic() - began < 40  # 5 s where nothing else runs; it was 48
  assert len(file.frame) == 60_000
  assert file.frame[names[-1]].tolist() == [1, 2] * 20
  assert np.isnan(file.frame[names[0]]).sum() == 20


def test_header_longer_than_what_is_looked_at_first(read):
  names = [f'n{i:03}' + 'x' * 80 for i in range(400)]
  file = read('\n'.join([';'.join(names), *[';'.join(['1,5'] * 400)] * 3]))
  assert list(file.frame) == names
  assert file.frame[names[7]].tolist() == [1.5] * 3


# --- labelled texts -------------------------------------------------------------


@pytest.mark.parametrize('data, texts', [
  (b'text,label\n' + b'x' * 131_073 + b',1\nshort,0\n', ['x' * 131_073, 'short']),
  (b'text,label\n"' + b'x\n' * 131_073 + b'",1\n', ['x\n' * 131_073]),
  (b'text;label\na, b;1\n', ['a, b']),
  (b'sep=;\r\ntext;label\r\na;1\r\n', ['a']),
  ('text,label\nK\u00f6ln \u20ac,1\n'.encode('cp1252'), ['K\u00f6ln \u20ac']),
  ('text,label\nK\u00f6ln,1\n'.encode('utf-16'), ['K\u00f6ln']),
  (b'\xef\xbb\xbf"text",label\nNA,1\n', ['NA']),
  (b'text,label\r1,1\r None ,0\r', ['1', ' None ']),
  (b'text\tlabel\n"a ""b"""\t1\n', ['a "b"']),
  (b'label,text\n1,a\n   \n0,b\n', ['a', 'b']),
])
def test_labelled_texts(tmp_path, data, texts):
  (tmp_path / 'train.csv').write_bytes(data)
  source = LabelledTexts(str(tmp_path / 'train.csv'), splits={'train': 1.0})
  found = source.read('train', DataContext(None, tmp_path, {}))
  assert found.texts == texts
  assert found.labels == ['1', '0'][: len(texts)]


def test_a_file_without_a_header_is_given_the_names_of_its_columns(tmp_path):
  path = tmp_path / 'data.csv'
  path.write_text('1\t2\n3\tx\n')
  reading = Reading(header=('a b', 'c'))
  assert columns_of_file(path, reading) == {'a b': [1, 3], 'c': ['2', 'x']}
  path.write_text('1 2\n3  4\n')
  spaced = dataclasses.replace(reading, delimiter='space')
  assert columns_of_file(path, spaced) == {'a b': [1, 3], 'c': [2, 4]}
  with pytest.raises(UserError, match=r"line 2, column 'c'.*'x'"):
    path.write_text('1,2\n3,x\n')
    columns_of_file(path, dataclasses.replace(reading, numbers=('c',)))
  with pytest.raises(UserError, match='line 1 has 2 values, the header has 3'):
    columns_of_file(path, Reading(header=('a', 'b', 'c')))


def columns_of_file(path, reading):
  frame = table_files.read([path], reading).frame
  return {name: column.tolist() for name, column in frame.items()}
