"""bigmodels.distributed.secret: its location, who finds it, and errors."""

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
  with secret.published(folder) as (location, key):
    assert [p.name for p in folder.iterdir()] == [location]
    mode = (folder / location).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600 and stat.S_ISREG(mode)
    assert len(key) == 64 and (folder / location).read_bytes() == key
    assert secret.find(folder, location, False) == key
    with secret.published(folder) as (other, another):  # a second start
      assert other != location and another != key
      assert secret.find(folder, location, False) == key
    assert secret.find(folder, location, False) == key
  assert list(folder.iterdir()) == []


def test_it_is_removed_after_an_error(tmp_path):
  for error in (TimeoutError('of another'), KeyboardInterrupt()):
    with pytest.raises(type(error)), secret.published(tmp_path):
      raise error
    assert list(tmp_path.iterdir()) == []


def test_files_of_killed_processes(tmp_path):
  old, new = (tmp_path / f'.secret-{digit * 16}' for digit in '01')
  for path in (old, new):
    path.write_text('x')
  os.utime(old, (1, 1))
  with secret.published(tmp_path):
    assert not old.exists() and new.exists()


def test_in_the_environment(unset, tmp_path):
  unset.setenv(secret.VARIABLE, LONG)
  folder = tmp_path / 'untouched'
  with secret.published(folder) as found:
    assert found == (secret.VARIABLE, LONG.encode())
  with secret.published(None) as found:
    assert found == (secret.VARIABLE, LONG.encode())
  assert secret.find(folder, secret.VARIABLE, False) == LONG.encode()
  assert not folder.exists()


@pytest.mark.parametrize(('text', 'expected'), [
  (None, None), ('', None), ('x' * 16, b'x' * 16), ('é' * 16, 'é'.encode() * 16),
  ('x' * 15, '>= 16 characters, got 15'), ('1', '>= 16 characters, got 1')])
def test_the_length_of_the_variable(unset, text, expected):
  if text is not None:
    unset.setenv(secret.VARIABLE, text)
  if isinstance(expected, str):
    with pytest.raises(UserError, match=f'^{secret.VARIABLE} must have {expected}$'):
      secret.from_environment()
  else:
    assert secret.from_environment() == expected


NAME = '.secret-0123456789abcdef'


def _write(text):
  return lambda path: path.write_bytes(text)


UNREADABLE = {
  'nothing': (lambda path: None, 'No such file'),
  'an empty file': (_write(b''), 'it is incomplete'),
  'a part': (_write(b'a' * 63), 'it is incomplete'),
  'more': (_write(b'a' * 65), 'it is incomplete'),
  'another text': (_write(b'A' * 64), 'it is incomplete'),
  'a line': (_write(b'a' * 63 + b'\n'), 'it is incomplete'),
  'a folder': (lambda path: path.mkdir(), 'Is a directory'),
  'a link': (lambda path: path.symlink_to('/etc/hostname'), 'Too many levels'),
  'a loop': (lambda path: path.symlink_to(path), 'Too many levels'),
  'a pipe': (os.mkfifo, 'it is incomplete'),
}


@pytest.mark.parametrize(('make', 'reason'), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read(tmp_path, make, reason):
  """It may become visible; the last error has the reason."""
  make(tmp_path / NAME)
  assert secret.find(tmp_path, NAME, False) is None
  with pytest.raises(UserError) as error:
    secret.find(tmp_path, NAME, True)
  assert f'{tmp_path / NAME} cannot be read here ({reason}' in str(error.value)
  assert '--workdir must be the same folder for all' in str(error.value)


@pytest.mark.parametrize('location', [
  '', '.', '..', '/etc/passwd', '../.secret-0123456789abcdef', 'config.txt', '.secret-',
  '.secret-0123456789abcde', '.secret-0123456789abcdeg', '.secret-0123456789ABCDEF',
  f'{NAME}\n', f'{NAME}/..', f'{NAME}\0'])
def test_no_other_file_is_read(tmp_path, location):
  (tmp_path / 'config.txt').write_text('a' * 64)
  with pytest.raises(ValueError, match='not the location of a secret'):
    secret.find(tmp_path, location, False)


@pytest.mark.parametrize(('given', 'location', 'message'), [
  (LONG, NAME, 'BIGMODELS_SECRET is set here, but not for process 0'),
  (None, secret.VARIABLE, 'BIGMODELS_SECRET is set for process 0, but not here'),
  ('short', secret.VARIABLE, '>= 16 characters'),
  (None, NAME, 'several processes need a secret: set BIGMODELS_SECRET')])
def test_settings_that_differ(unset, given, location, message):
  if given:
    unset.setenv(secret.VARIABLE, given)
  with pytest.raises(UserError, match=message):
    secret.find(None, location, False)


def _file(path: pathlib.Path):
  path.write_text('')
  return path


@pytest.mark.parametrize(('folder', 'reason'), [
  (lambda path: None, 'several processes need a secret: set BIGMODELS_SECRET'),
  (lambda path: _file(path / 'file'), 'File exists'),
  (lambda path: _file(path / 'file') / 'run', 'Not a directory'),
  (lambda path: pathlib.Path('/proc/nothing'), r'cannot be written to /proc/nothing')])
def test_a_folder_that_is_not_writable(tmp_path, folder, reason):
  with pytest.raises(UserError, match=reason), secret.published(folder(tmp_path)):
    pass
