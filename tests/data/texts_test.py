"""Tests of bigmodels.data.texts: what is read, what is left out, what is refused."""

import csv
import gzip
import http.server
import pathlib
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import texts
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import (
  LabelledCsv,
  ParallelFiles,
  StandardLibrary,
  TextFiles,
  TfdsText,
)

HERE = DataContext(None, None, {})


def write(root: pathlib.Path, **files):
  for name, data in files.items():
    path = root / name.replace('__', '/').replace('_', '.')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return str(root)


# --- texts ----------------------------------------------------------------------


def test_the_standard_library_is_split_by_file():
  parts = {s: StandardLibrary().read(s, HERE) for s in ('train', 'validation')}
  again = StandardLibrary().read('validation', HERE)
  assert again == parts['validation']
  counts = {name: len(part.texts) for name, part in parts.items()}
  share = counts['validation'] / sum(counts.values())
  assert 0.05 < share < 0.15
  assert not set(parts['train'].texts) & set(parts['validation'].texts)
  every = parts['train'].texts + parts['validation'].texts
  assert any('class JSONDecoder' in text for text in every)
  assert not any('class TestCase(unittest.TestCase)' in text for text in every)
  assert sum(map(len, every)) > 5_000_000
  with pytest.raises(UserError, match="no split 'test'"):
    StandardLibrary().read('test', HERE)


def test_which_files_are_held_out_never_changes():
  names = [f'file{i}.txt' for i in range(30)]
  # Where the first eight digits of what `sha256sum` gives for the name, mod 10, are 0.
  assert [n for n in names if texts._validates(n)] == ['file22.txt', 'file24.txt']


def test_a_file_is_cut_by_position(tmp_path):
  root = write(tmp_path, a_txt='0123456789' * 2 + 'é')
  source = TextFiles(f'{root}/a.txt')
  assert source.read('train', HERE).texts == ['0123456789' + '01234567']
  assert source.read('validation', HERE).texts == ['89é']
  assert source.name == 'a.txt'


def test_files_of_their_own_for_validation(tmp_path):
  root = write(tmp_path, a_txt='training', b__x_txt='one', b__y_txt='two')
  source = TextFiles(f'{root}/a.txt', validation=f'{root}/b')
  assert source.read('train', HERE).texts == ['training']
  assert source.read('validation', HERE).texts == ['one', 'two']


def test_a_folder_is_split_by_file(tmp_path):
  write(tmp_path, **{f'sub__f{i}_txt': f'text {i}' for i in range(200)},
        sub__other_md='md', **{'_hidden__x_txt': 'hidden', 'g_txt': 'g'})
  source = TextFiles(str(tmp_path), pattern='**/*.txt')
  parts = [source.read(s, HERE).texts for s in ('train', 'validation')]
  assert sorted(parts[0] + parts[1]) == ['g', *sorted(f'text {i}' for i in range(200))]
  assert 5 < len(parts[1]) < 40
  assert parts[0] == source.read('train', HERE).texts


def test_what_is_left_out_or_mended_is_told(tmp_path):
  write(tmp_path, a_txt=b'caf\xe9', b_txt='', c_bin=b'\0\1', d_txt=b'\xef\xbb\xbfmark',
        e_txt='one\r\n\n\ntwo\n', f_txt=b'\xff\xfe')
  found = TextFiles(str(tmp_path), validation=str(tmp_path)).read('train', HERE)
  assert found.texts == ['caf\ufffd', 'mark', 'one\r\n\n\ntwo\n', '\ufffd\ufffd']
  assert found.note == ('2 files not UTF-8, so read with replacements (a.txt); 1 file '
                        'empty, so left out; 1 file binary, so left out')


def test_text_that_is_not_there(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=r'there is no .*/nothing.*under --data_dir'):
    TextFiles('nothing').read('train', HERE)
  write(tmp_path, empty_txt='', data__books__a_txt='0123456789')
  with pytest.raises(UserError, match=r'empty\.txt: there is no text in it'):
    TextFiles('empty.txt').read('train', HERE)
  with pytest.raises(UserError, match=r"no file matches '\*\.md'"):
    TextFiles('data', pattern='*.md').read('train', HERE)
  with pytest.raises(UserError, match='pattern: must match paths in the folder'):
    TextFiles('data', pattern='/x').read('train', HERE)
  with pytest.raises(UserError, match=r"of 1 files none falls to '(train|validation)'"):
    for split in ('train', 'validation'):
      TextFiles('data').read(split, HERE)
  context = DataContext(str(tmp_path / 'data'), None, {})
  assert TextFiles('books/a.txt').read('train', context).texts == ['012345678']
  with pytest.raises(UserError, match=r'no .*/books/b\.txt and no .*/data/books/b\.txt'
                                      r"; did you mean 'a\.txt'"):
    TextFiles('books/b.txt').read('train', context)


def test_a_path_that_is_there_becomes_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  write(tmp_path, a_txt='0123456789')
  source = TextFiles('a.txt')
  assert source.path == str(tmp_path / 'a.txt')
  monkeypatch.chdir('/')
  assert source.read('train', HERE).texts == ['012345678']


def test_tiny_shakespeare(shared_tfds):
  context = DataContext(str(shared_tfds), None, {})
  source = TfdsText('tiny_shakespeare')
  parts = {s: source.read(s, context).texts for s in ('train', 'validation', 'test')}
  assert [len(t[0]) for t in parts.values()] == [1_003_854, 55_770, 55_770]
  assert source.read('validation+test', context).texts == (
    parts['validation'] + parts['test'])
  with pytest.raises(UserError, match="no split 'tests'; did you mean 'test'"):
    source.read('tests', context)
  with pytest.raises(UserError, match="no feature 'txt'; did you mean 'text'"):
    TfdsText('tiny_shakespeare', 'txt').read('train', context)
  with pytest.raises(UserError, match="feature 'label' must be a text, got ClassLabel"):
    TfdsText('mnist', 'label').read('test[:3]', context)
  with pytest.raises(UserError, match='--mode=download'):
    TfdsText('wiki40b').read('train', context)


# --- pairs and labels -----------------------------------------------------------


def test_pairs_of_lines(tmp_path):
  root = write(
    tmp_path, train_en='a\n\nc\u2028d\r\n e \n', train_de='A\nB\nC\nE\n',
    val_en='a\n\n', val_de='A\nB')
  source = ParallelFiles(root)
  found = source.read('train', HERE)
  assert found.sources == ['a', 'c\u2028d', ' e '] and found.targets == ['A', 'C', 'E']
  assert found.note == '1 pair empty, so left out'
  assert source.read('validation', HERE)[:3] == (['a', ''], ['A', 'B'], '')
  swapped = ParallelFiles(root, languages=('de', 'en'))
  assert swapped.read('train', HERE).sources == found.targets


def test_pairs_that_are_none(tmp_path):
  root = write(tmp_path, train_en='a\nb\n', train_de='A\n', val_en='\n', val_de='\n')
  with pytest.raises(UserError, match=r'train\.en has 2 lines, train\.de has 1;'):
    ParallelFiles(root).read('train', HERE)
  with pytest.raises(UserError, match=r'val\.en: there is no text'):
    ParallelFiles(root).read('validation', HERE)
  with pytest.raises(UserError, match="no split 'tset'; did you mean 'test'"):
    ParallelFiles(root).read('tset', HERE)
  with pytest.raises(UserError, match=r'no .*flickr\.en; --mode=download fetches'):
    texts.multi30k(root).read('test', HERE)


def test_labelled_texts(tmp_path):
  root = write(tmp_path, train_csv='id,label,text\n1,x,"a, ""b""\nc"\n\n2,y, NA \n')
  found = LabelledCsv(root).read('train', HERE)
  assert found.texts == ['a, "b"\nc', ' NA '] and found.labels == ['x', 'y']
  assert found.place(1).endswith('train.csv, line 5')


@pytest.mark.parametrize('text, message', [
  ('', 'the file is empty'),
  ('txt,label\na,1\n', "no column 'text'; did you mean 'txt'"),
  ('text,label,text\na,1,b\n', "several columns are called 'text'"),
  ('text,label\n', 'the file has a header and no rows'),
  ('text,label\na,1\nb\n', 'line 3 has 1 values, the header has 2'),
  ('text,label\na,1\n ,0\n', "line 3, column 'text': is empty"),
  ('text,label\na,1\nb,\n', "line 3, column 'label': is empty"),
  ('text,label\na,1\n"b,1\n', 'line 3: '),
])
def test_labelled_texts_that_are_none(tmp_path, text, message):
  with pytest.raises(UserError, match=r'train\.csv: ' + message):
    LabelledCsv(write(tmp_path, train_csv=text)).read('train', HERE)


def test_a_folder_is_no_csv_file(tmp_path):
  (tmp_path / 'train.csv').mkdir()
  with pytest.raises(UserError, match=r'train\.csv: cannot be read: Is a directory'):
    LabelledCsv(str(tmp_path)).read('train', HERE)


@pytest.mark.parametrize('make, field', [
  (TextFiles, 'path'), (lambda path: TextFiles('a.txt', validation=path), 'validation'),
  (ParallelFiles, 'folder'), (LabelledCsv, 'folder')])
def test_no_path_is_not_the_folder_one_is_in(make, field):
  with pytest.raises(ValueError, match=f"^{field}: must be the path .*, got ''"):
    make('')


def test_real_data_is_as_its_readme_says(shared_tfds):
  shared = shared_tfds.parent / 'data'
  if not shared.is_dir():
    pytest.skip('the real data of ../shared/data is not here')
  context = DataContext(str(shared), None, {})
  splits = ('train', 'validation', 'test')
  pairs, labelled = texts.multi30k(), texts.sst2()
  assert [len(pairs.read(s, context).targets) for s in splits] == [29000, 1014, 1000]
  assert [len(labelled.read(s, context).texts) for s in splits] == [6920, 872, 1821]
  # What is converted is written as these files are.
  with open(shared / 'sst2' / 'dev.csv', newline='') as file:
    lines = ''.join(f'{row["label"]} {row["text"]}\n' for row in csv.DictReader(file))
  assert texts.label_first(lines) == (shared / 'sst2' / 'dev.csv').read_text()


# --- downloading ----------------------------------------------------------------


@pytest.fixture
def server():
  """(path -> bytes, address, paths that were asked for) of a server on this machine."""
  files, asked = {}, []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      asked.append(self.path)
      data = files.get(self.path)
      self.send_response(404 if data is None else 200)
      self.send_header('Content-Length', str(len(data or b'')))
      self.end_headers()
      self.wfile.write(data or b'')

    def log_message(self, *arguments):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield files, f'http://127.0.0.1:{running.server_port}', asked
    running.shutdown()


def test_files_are_fetched_unpacked_and_fetched_once(server, tmp_path):
  files, address, asked = server
  files['/t.en.gz'], files['/t.de'] = gzip.compress(b'one\n', mtime=0), b'eins\n'
  source = ParallelFiles('pairs', urls={
    'train.en': f'{address}/t.en.gz', 'train.de': f'{address}/t.de'})
  context = DataContext(str(tmp_path), None, {})
  for _ in range(2):
    assert source.download(context) == str(tmp_path / 'pairs')
  assert asked == ['/t.en.gz', '/t.de']
  assert source.read('train', context)[:3] == (['one'], ['eins'], '')
  assert sorted(p.name for p in (tmp_path / 'pairs').iterdir()) == [
    'train.de', 'train.en']


def test_lines_are_converted(server, tmp_path):
  files, address, _ = server
  files['/dev'] = b'1 good , "really"\n0 bad\n'
  source = LabelledCsv('s', urls={'dev.csv': f'{address}/dev'},
                       convert=texts.label_first)
  context = DataContext(str(tmp_path), None, {})
  source.download(context)
  found = source.read('validation', context)
  assert (found.texts, found.labels) == (['good , "really"', 'bad'], ['1', '0'])


@pytest.mark.parametrize('data, message', [
  (None, '404'), (b'word\n', 'line 1: wants LABEL TEXT'),
  (b'\x1f\x8bbroken', 'BadGzipFile|EOFError|error'),
  (gzip.compress(b'1 a\n' * 99, mtime=0)[:-20], 'EOFError|error')])
def test_a_download_that_fails_leaves_nothing(server, tmp_path, data, message):
  files, address, _ = server
  if data is not None:
    files['/dev'] = data
  source = LabelledCsv('s', urls={'dev.csv': f'{address}/dev'},
                       convert=texts.label_first)
  with pytest.raises(UserError, match=f'could not download {address}/dev') as error:
    source.download(DataContext(str(tmp_path), None, {}))
  assert error.match(message)
  assert not list(tmp_path.glob('s/*')) and not list(tmp_path.glob('s/.*'))


def test_nobody_answers_and_nothing_to_ask(tmp_path):
  context = DataContext(str(tmp_path), None, {})
  with pytest.raises(UserError, match='is there a network'):
    ParallelFiles('p', urls={'a': 'http://127.0.0.1:9/a'}).download(context)
  with pytest.raises(UserError, match='`urls` of these files are not given'):
    ParallelFiles('p').download(context)
