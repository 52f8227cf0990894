"""Tests of downloading files of text, from a server on this machine."""

import gzip
import http.server
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import LabelledTexts, ParallelFiles, label_first


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


def test_files_are_downloaded_once_and_unpacked(server, tmp_path):
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
  source = LabelledTexts('s', {'validation': 'dev.csv'}, convert=label_first,
                         urls={'dev.csv': f'{address}/dev'})
  context = DataContext(str(tmp_path), None, {})
  source.download(context)
  found = source.read('validation', context)
  assert (found.texts, found.labels) == (['good , "really"', 'bad'], ['1', '0'])


@pytest.mark.parametrize('data, message', [
  (None, '404'), (b'word\n', 'line 1: must be LABEL TEXT'),
  (b'\x1f\x8bbroken', 'BadGzipFile|EOFError|error'),
  (gzip.compress(b'1 a\n' * 99, mtime=0)[:-20], 'EOFError|error')])
def test_a_download_that_fails_leaves_nothing(server, tmp_path, data, message):
  files, address, _ = server
  if data is not None:
    files['/dev'] = data
  source = LabelledTexts('s', {'validation': 'dev.csv'}, convert=label_first,
                         urls={'dev.csv': f'{address}/dev'})
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
