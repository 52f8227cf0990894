"""Tests of bigmodels.core.files: what can be found, and what is said of the rest."""

import errno
import os
import stat

import pytest

from bigmodels.core import files
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext

HERE = DataContext(None, None, {})


def test_as_it_is_given_and_then_under_data_dir(tmp_path, monkeypatch):
  (tmp_path / 'here').mkdir()
  (tmp_path / 'there').mkdir()
  monkeypatch.chdir(tmp_path / 'here')
  context = DataContext(str(tmp_path / 'there'), None, {})
  (tmp_path / 'there' / 'a.txt').write_text('there')
  assert files.find('a.txt', context.data_dir) == tmp_path / 'there' / 'a.txt'
  assert files.absolute('a.txt', 'path') == 'a.txt'
  (tmp_path / 'here' / 'a.txt').write_text('here')
  assert files.find('a.txt', context.data_dir) == tmp_path / 'here' / 'a.txt'
  assert files.absolute('a.txt', 'path') == str(tmp_path / 'here' / 'a.txt')
  with pytest.raises(UserError, match=r"no .*/there/b\.txt; did you mean 'a\.txt'\?$"):
    files.find('b.txt', context.data_dir)
  with pytest.raises(UserError, match=r'no .*/b/c\.txt; --mode=download fetches it$'):
    files.find(str(tmp_path / 'b/c.txt'), context.data_dir, fetched=True)
  with pytest.raises(UserError, match=r'there is no .*/here/~nobody-is-called-so/a'):
    files.find('~nobody-is-called-so/a', HERE.data_dir)


@pytest.mark.parametrize('name, message', [
  ('x' * 300, 'File name too long'), ('loop', 'symbolic links')])
def test_paths_that_lead_nowhere(tmp_path, name, message):
  (tmp_path / 'loop').symlink_to('loop')
  path = str(tmp_path / name)
  assert files.absolute(path, 'path') == path
  with pytest.raises(UserError, match=f'{name}: cannot be read: .*{message}'):
    files.find(path, HERE.data_dir)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read all')
def test_what_may_not_be_read(tmp_path):
  closed = tmp_path / 'closed'
  closed.mkdir(mode=0)
  for look in (lambda: files.find(f'{closed}/a.txt', HERE.data_dir),
               lambda: files.glob(closed, '**/*')):
    with pytest.raises(UserError, match=r'closed.*: cannot be read: Permission denied'):
      look()


# --- patterns -------------------------------------------------------------------


def test_absolute_paths_and_patterns(tmp_path, monkeypatch):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / '1.png').write_bytes(b'x')
  monkeypatch.chdir(tmp_path)
  assert files.absolute('a', 'path') == str(tmp_path / 'a')
  assert files.absolute('*/*.png', 'path') == str(tmp_path / '*' / '*.png')
  assert files.absolute('gone', 'path') == 'gone'
  assert files.absolute('gone*', 'path') == 'gone*'
  for path in ('', '~nobody-is-called-so/*'):
    if path:
      assert files.absolute(path, 'path') == path
      continue
    with pytest.raises(ValueError, match='path: must be the path of a file or folder'):
      files.absolute(path, 'path')


def test_patterns_here_and_under_data_dir(tmp_path, monkeypatch):
  here, there = tmp_path / 'here[1]', tmp_path / 'there[2]'
  for place in (here, there):
    (place / 'b').mkdir(parents=True)
    for name in ('2.csv', '10.csv', '.3.csv', 'b/4.csv'):
      (place / name).write_text(name)
  (there / 'c[5].csv').write_text('c')
  monkeypatch.chdir(here)

  def found(*paths, data_dir=str(there)):
    return [str(p.relative_to(tmp_path)) for p in files.matching(paths, data_dir)]

  assert found('*.csv') == ['here[1]/10.csv', 'here[1]/2.csv']
  assert found('c*', '2.csv') == ['there[2]/c[5].csv', 'here[1]/2.csv']
  assert found('c[5].csv') == ['there[2]/c[5].csv']  # its name, not a pattern
  assert found('**') == ['here[1]/10.csv', 'here[1]/2.csv', 'here[1]/b/4.csv']
  assert found('b*') == ['here[1]/b']
  assert files.matching(files.absolute('*.csv', 'path'), None) == [
    here / '10.csv', here / '2.csv']
  with pytest.raises(UserError, match=r'^--input=d\*: no file matches .*/here.*/d\* or '
                     r'.*/there\[2\]/d\*$'):
    files.matching(['d*'], str(there), '--input')
  with pytest.raises(UserError, match=r"^--input: must be the path .* got ''$"):
    files.matching([''], None, '--input')


# --- text -----------------------------------------------------------------------


@pytest.mark.parametrize('data, text', [
  (b'', ''), (b'\xef\xbb\xbf', ''), (b'\xef\xbb\xbfa\r\nb', 'a\r\nb'),
  ('ä\n€'.encode(), 'ä\n€'), ('a\ufeff'.encode(), 'a\ufeff')])
def test_a_text_is_read_as_it_is_without_its_mark(tmp_path, data, text):
  (tmp_path / 'a.txt').write_bytes(data)
  assert files.read_text(tmp_path / 'a.txt') == text


@pytest.mark.parametrize('data, message', [
  ('a'.encode('utf-16'), 'it is UTF-16 or UTF-32; save it as UTF-8'),
  (b'\xfe\xff\0a', 'it is UTF-16 or UTF-32; save it as UTF-8'),
  ('a'.encode('utf-32'), 'it is UTF-16 or UTF-32; save it as UTF-8'),
  ('a'.encode('utf-16-le'), 'line 1: has a zero byte'),
  (b'a\nb\0c', 'line 2: has a zero byte'),
  (b'a\nb\n\xff', 'line 3: byte 0xff is not UTF-8'),
  (b'gr\xf6sse', 'line 1: byte 0xf6 is not UTF-8'),
  (b'\xef\xbb\xbfa\n\xc3', 'line 2: byte 0xc3 is not UTF-8'),
  (None, 'No such file or directory')])
def test_what_is_not_text_is_refused(tmp_path, data, message):
  path = tmp_path / 'a.txt'
  if data is not None:
    path.write_bytes(data)
  with pytest.raises(UserError, match=f'^{path}: cannot be read: {message}$'):
    files.read_text(path)
  with pytest.raises(UserError, match=f'^--file={path}: cannot be read: {message}$'):
    files.read_text(path, '--file')


def test_a_text_that_is_too_long_is_refused(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_bytes(b'x' * 2**26)
  assert len(files.read_text(path)) == 2**26
  path.write_bytes(b'x' * (2**26 + 1))
  with pytest.raises(UserError, match='it has more than 67,108,864 bytes'):
    files.read_text(path)


def test_a_folder_and_a_pipe_that_nobody_has_opened(tmp_path):
  with pytest.raises(UserError, match='cannot be read: Is a directory'):
    files.read_text(tmp_path)
  os.mkfifo(tmp_path / 'pipe')
  assert files.read_text(tmp_path / 'pipe') == ''


# --- writing --------------------------------------------------------------------


@pytest.mark.parametrize('data', ['', 'ä\r\n', b'\0\xff', b'x' * 2**20])
def test_a_file_is_written_as_it_is_over_another(tmp_path, data):
  path = tmp_path / 'a'
  for sync in (False, True):
    path.write_bytes(b'before')
    files.write(path, data, sync=sync)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('umask, mode, given', [
  (0o022, 0o666, 0o644), (0o002, 0o666, 0o664), (0o002, 0o644, 0o644),
  (0o077, 0o644, 0o600), (0o022, 0o600, 0o600)])
def test_the_permissions_of_a_file(tmp_path, umask, mode, given):
  before = os.umask(umask)
  try:
    files.write(tmp_path / 'a', 'text', mode=mode)
  finally:
    os.umask(before)
  assert stat.S_IMODE((tmp_path / 'a').stat().st_mode) == given


@pytest.mark.parametrize('failing', ['fsync', 'replace'])
def test_of_a_file_that_cannot_be_written_nothing_stays(tmp_path, monkeypatch, failing):
  def full(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  (tmp_path / 'a').write_text('before')
  monkeypatch.setattr(os, failing, full)
  with pytest.raises(OSError, match='No space left'):
    files.write(tmp_path / 'a', 'text', sync=True)
  with pytest.raises(UnicodeEncodeError):
    files.write(tmp_path / 'a', '\ud800')
  assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [('a', 'before')]


def test_a_long_name_and_a_folder_that_is_gone(tmp_path):
  files.write(tmp_path / ('ä' * 127), 'text')
  assert (tmp_path / ('ä' * 127)).read_text() == 'text'
  with pytest.raises(FileNotFoundError):
    files.write(tmp_path / 'gone' / 'a', 'text')
