"""Tests of bigmodels.data.tables.streamed: the values of whole files, or a refusal."""

import gzip
import json
import pathlib

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from bigmodels.core.errors import UserError
from bigmodels.data.frames import is_text
from bigmodels.data.tables import streamed, streamed_csv, table_files
from bigmodels.data.tables.csv_dialects import Reading


def joined(frames):
  blocks = [*frames]
  return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def whole(path, **settings):
  table_files._read.cache_clear()
  return table_files.read([path], Reading(**settings)).frame


def kinds_of(frame):
  return {n: 'text' if is_text(c) else 'numbers' for n, c in frame.items()}


def check(path, kinds=None, rows=7, **settings):
  """Compares with the whole file; returns the frames."""
  expected = whole(path, **settings)
  kinds = kinds or kinds_of(expected)
  frames = streamed.frames([path], Reading(**settings), kinds, rows=rows)
  found = joined(frames)
  assert [*found] == [*kinds]
  for name in kinds:
    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found[name].dtype == expected[name].dtype
  assert frames.fraction == 1
  return frames


@pytest.fixture(params=[8 << 20, 300])
def block(request, monkeypatch):
  monkeypatch.setattr(streamed_csv, 'BLOCK', request.param)
  return request.param


def table(delimiter, number, text=lambda i: f'w{i % 5}', count=60, quote=''):
  rows = [delimiter.join(('a', 'word', 'b', 'y'))]
  for i in range(count):
    cells = (number(i), text(i), number(i * 7 + 1), str(i % 3))
    rows.append(delimiter.join(f'{quote}{c}{quote}' for c in cells))
  return '\n'.join(rows) + '\n'


def german(i):
  return f'{i * 1234.5:,.2f}'.translate(str.maketrans(',.', '.,'))


DIALECTS = {
  'plain': table(',', lambda i: f'{i / 3:.4f}'),
  'integers': table(',', lambda i: str(i - 9)),
  'quoted': table(',', lambda i: f'{i / 3:.4f}', quote='"'),
  'tabs': table('\t', lambda i: f'{i / 3:.4f}'),
  'bars and exponents': table('|', lambda i: f'{i / 3e9:e}'),
  'semicolons and points': table(';', lambda i: f'{i + 0.5}'),
  'decimal commas': table(';', lambda i: f'{i / 4 + 1:.2f}'.replace('.', ',')),
  'german': table(';', lambda i: german(i + 1)),
  'thousands': table(',', lambda i: f'"{i * 1234.5 + 1000.5:,.2f}"'),
  'apostrophes': table(';', lambda i: f'{i * 1234.5 + 1000.25:,.2f}'.replace(',', "'")),
  'currency': table(',', lambda i: f'${i}.50'),
  'percent': table(',', lambda i: f'{i}.5 %'),
  'missing': table(',', lambda i: 'NA' if i % 9 == 2 else f'{i}.5',
                   lambda i: '' if i % 4 == 1 else 'null' if i % 4 == 2 else 'x'),
  'missing among numbers': table(',', lambda i: '-' if i % 9 == 2 else f'{i}.5'),
  'missing in commas': table(';', lambda i: 'n.a.' if i % 9 == 2 else f'{i},5'),
  'infinities': table(',', lambda i: ('inf', '1e300', '-inf', '7')[i % 4]),
  'brackets': table(',', lambda i: f'({i + 1})' if i % 2 else f'{i}'),
  'signs': table(',', lambda i: f'+{i}' if i % 2 else f'\u2212{i}'),
  'blanks': table(' ; ', lambda i: f'{i}.5'),
  'spaces': table('  ', lambda i: f'{i}.5'),
  'newlines in quotes': table(',', lambda i: f'{i}.5', lambda i: f'"x\ny, {i % 3}"'),
  'quotes in quotes': table(',', lambda i: f'{i}.5', lambda i: f'"say ""{i % 3}"""'),
  'quotes in texts': table(',', lambda i: f'{i}.5', lambda i: f'{i % 3}" tube'),
  'blank lines': table(',', lambda i: f'{i}.5').replace('\n', '\n\n').replace(
    '\n\n', '\n  \n', 3),
  'windows lines': table(',', lambda i: f'{i}.5').replace('\n', '\r\n'),
  'old lines': table(',', lambda i: f'{i}.5').replace('\n', '\r'),
  'no last newline': table(',', lambda i: f'{i}.5').rstrip('\n'),
  'a hint': 'sep=;\n' + table(';', lambda i: f'{i},5'),
  'a mark': '\ufeff' + table(',', lambda i: f'{i}.5'),
  'letters': table(',', lambda i: f'{i}.5', lambda i: f'Köln {i % 3}'),
  'an end of DOS': table(',', lambda i: f'{i}.5') + '\x1a',
  'unnamed columns': table(',', lambda i: f'{i}.5').replace('word', ''),
  'wide integers': table(',', lambda i: str(2**60 + i)),
  'zeros': table(',', lambda i: f'{i:05}'),
}


@pytest.mark.parametrize('name', DIALECTS)
def test_values_are_those_of_the_whole_file(tmp_path, block, name):
  path = tmp_path / 'a.csv'
  path.write_bytes(DIALECTS[name].encode())
  check(path)


@pytest.mark.parametrize('encoding', ['utf-16', 'cp1252', 'latin-1', 'utf-8-sig',
                                      'utf-16-le', 'cp1250'])
def test_encodings(tmp_path, block, encoding):
  path = tmp_path / 'a.csv'
  path.write_bytes(DIALECTS['letters'].encode(encoding))
  if encoding in ('cp1252', 'latin-1', 'utf-16', 'utf-8-sig'):
    frames = check(path)
    assert encoding.startswith('utf') or 'not UTF-8 (line 2)' in frames.lines[0]
  if encoding != 'latin-1':
    check(path, encoding=encoding)


@pytest.mark.parametrize('settings', [
  {'decimal': ','}, {'decimal': ',', 'thousands': '.'}, {'delimiter': ';'},
  {'missing': ('1,50', 'w2')}, {'text': ('a', 'word')}])
def test_settings(tmp_path, block, settings):
  path = tmp_path / 'a.csv'
  path.write_text(DIALECTS['decimal commas'])
  check(path, **settings)


def test_random_files_are_read_alike_or_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(streamed_csv, 'BLOCK', 160)
  rng = np.random.default_rng(0)
  numbers = ['1', '2.5', '1,5', '1.250', '1,250', '1.250,5', '-3', '$4', '5%', 'NA',
             '-', '', '1e3', '1 250', '.5', '(7)']
  alike = refused = 0
  for _ in range(120):
    delimiter = rng.choice([',', ';', '\t'])
    some = rng.choice(numbers, size=rng.integers(1, 4))
    written = [*rng.choice(some, size=40), rng.choice([*some, *numbers])]
    rows = [f'a{delimiter}b', *(f'"{number}"{delimiter}{rng.integers(9)}'
                                for number in written)]
    path = tmp_path / 'a.csv'
    path.write_text('\n'.join(rows))
    try:
      expected = whole(path)
    except UserError:
      continue
    try:
      found = joined(streamed.frames([path], Reading(), kinds_of(expected)))
    except UserError:
      refused += 1
      continue
    alike += 1
    for name, column in expected.items():
      np.testing.assert_array_equal(found[name], column, err_msg=str((some, delimiter)))
  assert alike > 3 * refused > 0


def test_columns_are_found_by_name_in_any_order(tmp_path, block):
  path = tmp_path / 'a.csv'
  path.write_text(DIALECTS['plain'])
  frames = check(path, {'y': 'numbers', 'a': 'numbers'})
  assert frames.unused == ['word', 'b']
  with pytest.raises(UserError, match="no column 'wrd'; did you mean 'word'"):
    streamed.frames([path], Reading(), {'wrd': 'text'})


@pytest.mark.parametrize('first', [0, 1, 6, 7, 50, 59, 60, 61])
def test_rows_are_skipped(tmp_path, block, first):
  paths = []
  for name, part in (('a.csv', range(35)), ('b.csv', range(35, 60))):
    paths.append(tmp_path / name)
    paths[-1].write_text('\n'.join(['n,w', *(f'{i},{i}x' for i in part)]))
  frames = [*streamed.frames(paths, Reading(), {'n': 'numbers', 'w': 'text'}, rows=7,
                             first=first)]
  sizes = [len(f['n']) for f in frames]
  assert all(size == 7 for size in sizes[:-1]) and sum(sizes) == max(60 - first, 0)
  numbers = [int(n) for f in frames for n in f['n']]
  assert numbers == [*range(first, 60)]


@pytest.mark.parametrize('ending', ['parquet', 'jsonl', 'csv.gz', 'csv.zst',
                                    'jsonl.gz'])
def test_other_formats(tmp_path, block, ending):
  columns = {'n': [i / 3 if i % 5 else None for i in range(60)],
             'w': [f'w{i % 4}' if i % 7 else None for i in range(60)],
             'k': [*range(60)], 'flag': [i % 2 == 0 for i in range(60)]}
  path = tmp_path / f'a.{ending}'
  data = pa.table(columns)
  if 'parquet' in ending:
    parquet.write_table(data, path, row_group_size=17)
  else:
    sink = pa.BufferOutputStream()
    if 'csv' in ending:
      csv.write_csv(data, sink)
    else:
      for row in data.to_pylist():
        sink.write(json.dumps(row).encode() + b'\n')
    content = sink.getvalue().to_pybytes()
    path.write_bytes(gzip.compress(content) if ending.endswith('gz') else pa.compress(
      content, 'zstd', asbytes=True) if ending.endswith('zst') else content)
  check(path)
  rest = joined(streamed.frames([path], Reading(), {'k': 'numbers'}, first=40))
  assert rest['k'].tolist() == [*range(40, 60)]


@pytest.mark.parametrize('name, data, kinds, problem', [
  ('a.csv', b'', 'n', 'the file is empty'),
  ('a.csv', b'a\n', 'a', 'a header and no rows'),
  ('a.csv', b'a,y\n1,2\nx,3\n', 'a', "line 3, column 'a': 'x' is not a number, as the "
   'column was when'),
  ('a.csv', b'a,y\n1,2\n3\n', 'a', 'line 3 has 1 values, the header has 2'),
  ('a.csv', b'PK\x03\x04\0\0', 'a', 'not a text file'),
  ('a.csv', b'{"a": 1}\n', 'a', 'is JSON, not CSV'),
  ('a.csv.gz', gzip.compress(b'a\n' + b'1\n' * 9999, mtime=0)[:-9], 'a',
   'gzip data is cut'),
  ('a.jsonl', b'{"a": 1}\n[2]\n', 'a', 'line 2 must be an object'),
  ('a.jsonl', b'{"a": 1}\n{"a": {"b": 2}}\n', 'a', "line 2, column 'a': is nested"),
  ('a.jsonl', b'{"a": "x"}\n', 'a', "column 'a': is text, and was numbers"),
  ('a.jsonl', b'\n', 'a', 'the file is empty'),
  ('a.jsonl', b'{"a": 1\n', 'a', 'line 1 is not JSON'),
  ('a.parquet', b'a,b\n1,2\n', 'a', 'is not a Parquet file')])
def test_files_that_are_refused(tmp_path, name, data, kinds, problem):
  path = tmp_path / name
  path.write_bytes(data)
  with pytest.raises(UserError) as error:
    joined(streamed.frames([path], Reading(), dict.fromkeys(kinds, 'numbers')))
  assert problem in str(error.value) and '\n' not in str(error.value)


def test_texts_of_json_that_must_be_numbers(tmp_path, block):
  path = tmp_path / 'a.jsonl'
  path.write_text(''.join(f'{{"a": "{i}.5", "b": {i}}}\n' for i in range(60)))
  check(path, numbers=('a',))


def test_the_line_that_is_not_utf_8_is_that_of_the_file(tmp_path, monkeypatch):
  monkeypatch.setattr(streamed_csv, 'BLOCK', 100)
  path = tmp_path / 'a.csv'
  path.write_bytes(b'a,w\n' + b'1,x\n' * 98 + b'1,\xe9\n1,x\n')
  frames = check(path)
  assert 'not UTF-8 (line 100), so read as Latin-1' in frames.lines[0]


def test_a_missing_file_is_named(tmp_path):
  (tmp_path / 'new.csv').write_text('a\n1\n')
  with pytest.raises(UserError, match=r"no such file; did you mean 'new\.csv'"):
    streamed.frames([pathlib.Path(tmp_path / 'nwe.csv')], Reading(), {'a': 'numbers'})


def test_formats_that_a_later_block_contradicts_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(streamed_csv, 'BLOCK', 100)
  path = tmp_path / 'a.csv'
  for late, problem in (('"1,5"', 'show that the decimal mark'),
                        ('$5', r"'\$5' is not a number")):
    path.write_text('a,b\n' + '1.250,7\n' * 40 + f'{late},7\n' * 40)
    with pytest.raises(UserError, match=problem):
      joined(streamed.frames([path], Reading(), {'a': 'numbers'}))


def test_a_decimal_mark_that_comes_late_is_refused(tmp_path, monkeypatch):
  """Before it, 1,100 was read as 1100."""
  monkeypatch.setattr(streamed_csv, 'BLOCK', 160)
  path = tmp_path / 'a.csv'
  path.write_text('x,z\n' + ''.join(f'"1,{i}",2\n' for i in range(100, 300)) +
                  '"3,5",2\n')
  kinds = {'x': 'numbers', 'z': 'numbers'}
  with pytest.raises(UserError, match=r"show that the decimal mark is ',', and those "
                     r"before were read as if it was '\.'; set decimal="):
    joined(streamed.frames([path], Reading(), kinds))
  found = joined(streamed.frames([path], Reading(decimal=','), kinds))
  assert found['x'][[0, -1]].tolist() == [1.1, 3.5]


def test_columns_with_both_decimal_marks_are_read_as_in_training(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('a,b\n' + ''.join(f'1.{i},"7,{i}"\n' for i in (29, 45, 5)))
  found = joined(streamed.frames([path], Reading(), {'a': 'numbers', 'b': 'numbers'}))
  assert found['a'].tolist() == [1.29, 1.45, 1.5]
  assert found['b'].tolist() == [7.29, 7.45, 7.5]


def test_words_that_are_missing_among_numbers_are_so_alone(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('a,b\nunknown,1\n')
  frames = streamed.frames([path], Reading(), {'a': 'numbers', 'b': 'numbers'})
  assert np.isnan(joined(frames)['a']).all()
  assert 'missing: unknown in a' in frames.lines


@pytest.mark.parametrize('text', [
  'a,x\x0bnote\n1,2\n', 'sep=;\ra;x\r1;2\r',
  ','.join(f'column_number_{i:08}' for i in range(20_000)) + '\n' +
  ','.join(map(str, range(20_000))) + '\n'])
def test_unusual_headers(tmp_path, text):
  path = tmp_path / 'a.csv'
  path.write_bytes(text.encode())
  expected = whole(path)
  found = joined(streamed.frames([path], Reading(), kinds_of(expected)))
  for name, column in expected.items():
    np.testing.assert_array_equal(found[name], column)
