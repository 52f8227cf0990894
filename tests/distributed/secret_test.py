"""The secret of a run: where it is kept, who finds it, and what is said otherwise."""

import os
import pathlib
import stat

import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed import secret

LONG = 'a text of some length'


@pytest.fixture(autouse=True)
def unset(monkeypatch):
  monkeypatch.delenv(secret.VARIABLE, raising=False)
  return monkeypatch


def test_in_a_folder(tmp_path):
  folder = tmp_path / 'new' / 'run'
  with secret.kept(folder) as (where, key):
    assert [p.name for p in folder.iterdir()] == [where]
    mode = (folder / where).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600 and stat.S_ISREG(mode)
    assert len(key) == 64 and (folder / where).read_bytes() == key
    assert secret.find(folder, where, False) == key
    with secret.kept(folder) as (other, another):  # a second start
      assert other != where and another != key
      assert secret.find(folder, where, False) == key
    assert secret.find(folder, where, False) == key
  assert list(folder.iterdir()) == []


def test_it_goes_whatever_happens(tmp_path):
  for error in (TimeoutError('of another'), KeyboardInterrupt()):
    with pytest.raises(type(error)), secret.kept(tmp_path):
      raise error
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left(tmp_path):
  old, new = (tmp_path / f'.secret-{digit * 16}' for digit in '01')
  for path in (old, new):
    path.write_text('x')
  os.utime(old, (1, 1))
  with secret.kept(tmp_path):
    assert not old.exists() and new.exists()


def test_in_the_environment(unset, tmp_path):
  unset.setenv(secret.VARIABLE, LONG)
  folder = tmp_path / 'untouched'
  with secret.kept(folder) as found:
    assert found == (secret.VARIABLE, LONG.encode())
  with secret.kept(None) as found:
    assert found == (secret.VARIABLE, LONG.encode())
  assert secret.find(folder, secret.VARIABLE, False) == LONG.encode()
  assert not folder.exists()


@pytest.mark.parametrize(('text', 'expected'), [
  (None, None), ('', None), ('x' * 16, b'x' * 16), ('é' * 16, 'é'.encode() * 16),
  ('x' * 15, '>= 16 characters, got 15'), ('1', '>= 16 characters, got 1')])
def test_what_is_given(unset, text, expected):
  if text is not None:
    unset.setenv(secret.VARIABLE, text)
  if isinstance(expected, str):
    with pytest.raises(UserError, match=f'^{secret.VARIABLE} must have {expected}$'):
      secret.given()
  else:
    assert secret.given() == expected


NAME = '.secret-0123456789abcdef'


def _write(text):
  return lambda path: path.write_bytes(text)


NOT_THERE = {
  'nothing': (lambda path: None, 'No such file'),
  'an empty file': (_write(b''), 'it is not whole'),
  'a part': (_write(b'a' * 63), 'it is not whole'),
  'more': (_write(b'a' * 65), 'it is not whole'),
  'another text': (_write(b'A' * 64), 'it is not whole'),
  'a line': (_write(b'a' * 63 + b'\n'), 'it is not whole'),
  'a folder': (lambda path: path.mkdir(), 'Is a directory'),
  'a link': (lambda path: path.symlink_to('/etc/hostname'), 'Too many levels'),
  'a loop': (lambda path: path.symlink_to(path), 'Too many levels'),
  'a pipe': (os.mkfifo, 'it is not whole'),
}


@pytest.mark.parametrize(('make', 'reason'), NOT_THERE.values(), ids=NOT_THERE)
def test_what_is_not_there(tmp_path, make, reason):
  """It may come; in the end a line says why not."""
  make(tmp_path / NAME)
  assert secret.find(tmp_path, NAME, False) is None
  with pytest.raises(UserError) as error:
    secret.find(tmp_path, NAME, True)
  assert f'{tmp_path / NAME} cannot be read here ({reason}' in str(error.value)
  assert '--workdir must be the same folder for all' in str(error.value)


@pytest.mark.parametrize('where', [
  '', '.', '..', '/etc/passwd', '../.secret-0123456789abcdef', 'config.txt', '.secret-',
  '.secret-0123456789abcde', '.secret-0123456789abcdeg', '.secret-0123456789ABCDEF',
  f'{NAME}\n', f'{NAME}/..', f'{NAME}\0'])
def test_no_other_file_is_read(tmp_path, where):
  (tmp_path / 'config.txt').write_text('a' * 64)
  with pytest.raises(ValueError, match='no place of a secret'):
    secret.find(tmp_path, where, False)


@pytest.mark.parametrize(('given', 'where', 'message'), [
  (LONG, NAME, 'BIGMODELS_SECRET is set here, but not for process 0'),
  (None, secret.VARIABLE, 'BIGMODELS_SECRET is set for process 0, but not here'),
  ('short', secret.VARIABLE, '>= 16 characters'),
  (None, NAME, 'several processes need a secret: set BIGMODELS_SECRET')])
def test_what_does_not_go_together(unset, given, where, message):
  if given:
    unset.setenv(secret.VARIABLE, given)
  with pytest.raises(UserError, match=message):
    secret.find(None, where, False)


def _file(path: pathlib.Path):
  path.write_text('')
  return path


@pytest.mark.parametrize(('folder', 'reason'), [
  (lambda path: None, 'several processes need a secret: set BIGMODELS_SECRET'),
  (lambda path: _file(path / 'file'), 'File exists'),
  (lambda path: _file(path / 'file') / 'run', 'Not a directory'),
  (lambda path: pathlib.Path('/proc/nothing'), r'cannot be kept in /proc/nothing')])
def test_what_cannot_be_kept(tmp_path, folder, reason):
  with pytest.raises(UserError, match=reason), secret.kept(folder(tmp_path)):
    pass
