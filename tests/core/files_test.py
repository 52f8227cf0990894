"""Tests of bigmodels.core.files: what can be found, and what is said of the rest."""

import os

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
               lambda: files.listed(closed, '**/*')):
    with pytest.raises(UserError, match=r'closed.*: cannot be read: Permission denied'):
      look()
