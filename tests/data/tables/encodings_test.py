"""Tests of bigmodels.data.tables.encodings by way of CSV files."""

from functools import partial

import pytest

from tests.data.tables.csv_texts import columns_of, read_text, refused


@pytest.fixture
def read(tmp_path):
  return partial(read_text, tmp_path)


@pytest.mark.parametrize('data, name, note', [
  ('Preis (\u20ac)'.encode('cp1252'), 'Preis (\u20ac)',
   'not UTF-8 (line 1), so read as Windows-1252'),
  ('K\u00f6ln'.encode('latin-1'), 'K\u00f6ln', 'so read as Latin-1'),
  ('\u201cx\u201d \u2026'.encode('cp1252'), '\u201cx\u201d \u2026', 'Windows-1252'),
  (b'x\x81\x80', 'x\x81\u20ac', 'byte 0x81 (line 1) is undefined: another encoding'),
  (b'\xc3\xb6\xc3\xb6\xff', '\u00f6\u00f6\u00ff',
   'UTF-8 but for 1 byte (first: line 1)'),
  (b'\xc3\xb6\xc3\xb6\x80', '\u00f6\u00f6\u20ac', 'read as Windows-1252'),
  ('K\u00f6ln'.encode(), 'K\u00f6ln', ''),
  (b'\xef\xbb\xbfa', 'a', ''),
  (b'\xef\xbb\xbf\xef\xbb\xbfa', 'a', ''),
  (b'\xef\xbb\xbf"a"', 'a', ''),
])
def test_encodings(read, data, name, note):
  file = read(data + b',y\n1,2\n')
  assert columns_of(file) == {name: [1], 'y': [2]}
  assert note in file.summary
  assert bool(note) == ('encoding= sets it' in file.summary)


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-32', 'utf-8-sig'])
def test_byte_order_marks(read, encoding):
  text = 'sep=;\r\nK\u00f6ln;y\r\n1,5;2\r\n'
  assert columns_of(read(text.encode(encoding))) == {'K\u00f6ln': [1.5], 'y': [2]}


@pytest.mark.parametrize('encoding', [
  'cp1250', 'cp850', 'mac-roman', 'utf-16-le', 'utf-16-be', 'utf-8', 'iso8859-15'])
def test_encoding_can_be_set(read, encoding):
  file = read('K\u00f6ln,y\n1,2\n'.encode(encoding), encoding=encoding)
  assert list(file.frame) == ['K\u00f6ln', 'y']


@pytest.mark.parametrize('data, message', [
  (b'\x1f\x8b\x08\0', 'its gzip data is cut: the file ends before the data does'),
  (b'PK\x03\x04 xl/workbook.xml', 'Excel (.xlsx); save it as CSV'),
  (b'PK\x03\x04 data.csv', 'zip; unpack it'),
  (b'PAR1\x15', 'is not a Parquet file: '),
  (b'\xd0\xcf\x11\xe0\xa1', 'Excel (.xls)'),
  (b'SQLite format 3\0', 'SQLite'),
  (b'BZh91AY', 'bzip2; unpack it'),
  (b'a,y\n1,\0\n', 'is not a text file: line 2 has a NUL byte'),
  ('a,y\n1,2\n'.encode('utf-16-le'), "seems to be UTF-16; set encoding='utf-16-le'"),
  ('a,y\n1,2\n'.encode('utf-16-be'), "seems to be UTF-16; set encoding='utf-16-be'"),
  (b'\xff\xfea', 'line 1 is not UTF-16: truncated data'),
  (b'<!DOCTYPE html><html>', 'is HTML, not CSV'),
  (b'[{"a": 1, "y": 2}]', 'is JSON, not CSV'),
  (b'version https://git-lfs.github.com/spec/v1\n', 'is a Git LFS pointer, not CSV'),
  (b'\xef\xbb\xbf\r\n \r\n', 'the file is empty'),
])
def test_what_is_no_text_is_named(read, data, message):
  assert message in refused(read, data)


def test_bytes_that_are_not_of_the_encoding_set_are_named(read):
  assert 'line 3 is not utf-8' in refused(read, b'a,y\r1,2\r\xff,4', encoding='utf-8')
