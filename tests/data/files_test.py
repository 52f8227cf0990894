"""Tests of bigmodels.data.files: what can be found, and what is said of the rest."""

import os

import pytest

from bigmodels.data import files
from bigmodels.data.sources import Opening
from bigmodels.errors import UserError

HERE = Opening(None, None, {})


def test_as_it_is_given_and_then_under_data_dir(tmp_path, monkeypatch):
  (tmp_path / 'here').mkdir()
  (tmp_path / 'there').mkdir()
  monkeypatch.chdir(tmp_path / 'here')
  opening = Opening(str(tmp_path / 'there'), None, {})
  (tmp_path / 'there' / 'a.txt').write_text('there')
  assert files.find('a.txt', opening) == tmp_path / 'there' / 'a.txt'
  assert files.absolute('a.txt', 'path') == 'a.txt'
  (tmp_path / 'here' / 'a.txt').write_text('here')
  assert files.find('a.txt', opening) == tmp_path / 'here' / 'a.txt'
  assert files.absolute('a.txt', 'path') == str(tmp_path / 'here' / 'a.txt')
  with pytest.raises(UserError, match=r"no .*/there/b\.txt; did you mean 'a\.txt'\?$"):
    files.find('b.txt', opening)
  with pytest.raises(UserError, match=r'no .*/b/c\.txt; --mode=download fetches it$'):
    files.find(str(tmp_path / 'b/c.txt'), opening, fetched=True)
  with pytest.raises(UserError, match=r'there is no .*/here/~nobody-is-called-so/a'):
    files.find('~nobody-is-called-so/a', HERE)


@pytest.mark.parametrize('name, message', [
  ('x' * 300, 'File name too long'), ('loop', 'symbolic links')])
def test_paths_that_lead_nowhere(tmp_path, name, message):
  (tmp_path / 'loop').symlink_to('loop')
  path = str(tmp_path / name)
  assert files.absolute(path, 'path') == path
  with pytest.raises(UserError, match=f'{name}: cannot be read: .*{message}'):
    files.find(path, HERE)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read all')
def test_what_may_not_be_read(tmp_path):
  closed = tmp_path / 'closed'
  closed.mkdir(mode=0)
  for look in (lambda: files.find(f'{closed}/a.txt', HERE),
               lambda: files.listed(closed, '**/*')):
    with pytest.raises(UserError, match=r'closed.*: cannot be read: Permission denied'):
      look()
