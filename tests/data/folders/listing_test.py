"""Tests of bigmodels.data.folders.listing: which files are found, in which order."""

import os
import pathlib

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.folders import listing

PNG = ('.png', '.jpg')


def touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b'x')


def names(*paths, **options):
  found = listing.find(paths, PNG, what='image', **options)
  return [file.name for file in found.files], found.lines


def test_the_order_is_that_of_names_and_suffixes_count_in_any_case(tmp_path):
  touch(tmp_path, 'b/2.png', 'b/10.PNG', 'a/ä ö.jpg', 'a/x y/1.Jpg', 'z.png')
  found, lines = names(str(tmp_path))
  assert found == ['a/x y/1.Jpg', 'a/ä ö.jpg', 'b/10.PNG', 'b/2.png', 'z.png']
  assert lines == []


def test_what_is_skipped_is_said(tmp_path):
  touch(tmp_path, 'a/1.png', 'a/n.txt', 'a/m.txt', 'README', 'a/.2.png', '.git/3.png',
        '__MACOSX/4.png')
  (tmp_path / 'a' / '5.png').symlink_to(tmp_path / 'gone.png')
  found, lines = names(str(tmp_path))
  assert found == ['a/1.png']
  assert lines == [
    'skipped: 3 files (such as README) whose suffix is not that of an image: .txt 2, '
    'no suffix 1',
    'skipped: 3 hidden files (such as .git)',
    'skipped: 1 link (such as a/5.png) to nothing']


def test_links_are_followed_and_a_loop_ends(tmp_path):
  touch(tmp_path, 'real/1.png', 'one.png')
  (tmp_path / 'data' / 'a').mkdir(parents=True)
  (tmp_path / 'data' / 'b').symlink_to(tmp_path / 'real')
  (tmp_path / 'data' / 'a' / '2.png').symlink_to(tmp_path / 'one.png')
  (tmp_path / 'data' / 'a' / 'up').symlink_to(tmp_path / 'data')
  assert names(str(tmp_path / 'data'))[0] == ['a/2.png', 'b/1.png']


def test_files_patterns_and_several_paths_in_their_order(tmp_path, monkeypatch):
  touch(tmp_path, 'b/1.png', 'a/2.png', 'a/3.txt', 'odd[1]/4.png', 'x.dat')
  pattern = str(tmp_path / '*' / '*.png')
  assert names(str(tmp_path / 'b'), str(tmp_path / 'x.dat'), pattern) == (
    ['1.png', 'x.dat', '2.png', '4.png'],
    ['under two of the paths, and read once: 1 image'])
  assert names(str(tmp_path / 'odd[1]'))[0] == ['4.png']  # its name, not a pattern
  assert names(str(tmp_path / '**' / '*'))[0] == ['2.png', '1.png', '4.png']
  monkeypatch.chdir(tmp_path.parent)
  assert names('a', data_dir=str(tmp_path))[0] == ['2.png']
  assert names('[ab]', data_dir=str(tmp_path))[0] == ['2.png', '1.png']


def test_a_link_to_nothing_that_matches_a_pattern_is_said(tmp_path):
  touch(tmp_path, '1.png')
  (tmp_path / '2.png').symlink_to(tmp_path / 'gone.png')
  assert names(str(tmp_path / '*.png')) == (
    ['1.png'], ['skipped: 1 link (such as 2.png) to nothing'])


def test_errors_name_the_path(tmp_path):
  with pytest.raises(UserError, match=f'there is no {tmp_path}/phots; did you mean'):
    touch(tmp_path, 'photos/1.png')
    names(str(tmp_path / 'phots'))
  with pytest.raises(UserError, match=r'no file matches .*gone'):
    names(str(tmp_path / 'gone*'))
  os.mkfifo(tmp_path / 'pipe')
  with pytest.raises(UserError, match='is a pipe or device'):
    names(str(tmp_path / 'pipe'))


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read every folder')
def test_a_folder_that_may_not_be_read(tmp_path):
  touch(tmp_path, 'a/1.png')
  (tmp_path / 'a').chmod(0)
  try:
    with pytest.raises(UserError, match='a: cannot be read: Permission denied'):
      names(str(tmp_path))
  finally:
    (tmp_path / 'a').chmod(0o700)


def test_names_that_are_not_utf_8(tmp_path):
  path = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b'/a/\xff.png'))
  path.parent.mkdir()
  path.write_bytes(b'x')
  assert names(str(tmp_path))[0] == ['a/\udcff.png']


@pytest.mark.parametrize('count, what, text', [
  (1, 'class', '1 class'), (2, 'class', '2 classes'), (0, 'image', '0 images'),
  (3, 'identity', '3 identities'), (1234, 'image', '1,234 images')])
def test_counted(count, what, text):
  assert listing.counted(count, what) == text
