"""Tests of bigmodels.data.readers.paths: the files of a format in a folder."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.readers.paths import of_suffix


def test_hidden_files_and_links_to_nothing_are_skipped(tmp_path):
  for name in ('b.csv.gz', 'a/1.CSV', 'n.txt', '.c.csv', '__MACOSX/d.csv', '.e/f.csv'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('x')
  (tmp_path / 'g.csv').symlink_to(tmp_path / 'gone.csv')
  lines = []
  assert of_suffix(tmp_path, ('.csv', '.csv.gz'), lines.append) == [
    tmp_path / 'a' / '1.CSV', tmp_path / 'b.csv.gz']
  assert lines == [
    'skipped: 1 file (such as n.txt) whose suffix is not that of a table: .txt 1',
    'skipped: 3 hidden files (such as .c.csv)',
    'skipped: 1 link (such as g.csv) to nothing']
  assert of_suffix(tmp_path / 'n.txt', ('.csv',)) == [tmp_path / 'n.txt']
  with pytest.raises(UserError, match=r'no file in it ends in \.npy'):
    of_suffix(tmp_path, ('.npy',))
