"""Tests of bigmodels.data.readers.paths: the files of a format in a folder."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.readers.paths import of_suffix


def test_hidden_files_and_links_to_nothing_are_skipped(tmp_path):
  for name in ('b.csv.gz', 'a/1.CSV', 'n.txt', '.c.csv', '__MACOSX/d.csv', '.e/f.csv'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('x')
  (tmp_path / 'g.csv').symlink_to(tmp_path / 'gone.csv')
  assert of_suffix(tmp_path, ('.csv', '.csv.gz')) == [
    tmp_path / 'a' / '1.CSV', tmp_path / 'b.csv.gz']
  assert of_suffix(tmp_path / 'n.txt', ('.csv',)) == [tmp_path / 'n.txt']
  with pytest.raises(UserError, match=r'no file in it ends in \.npy'):
    of_suffix(tmp_path, ('.npy',))
