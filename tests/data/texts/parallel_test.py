"""Tests of bigmodels.data.texts.parallel."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import ParallelFiles, multi30k
from tests.data.texts.written import write

HERE = DataContext(None, None, {})


def test_pairs_of_lines(tmp_path):
  root = write(
    tmp_path, train_en='a\n\nc\u2028d\r\n e \n', train_de='A\nB\nC\nE\n',
    val_en='a\n\n', val_de='A\nB')
  source = ParallelFiles(root)
  found = source.read('train', HERE)
  assert found.sources == ['a', 'c\u2028d', ' e '] and found.targets == ['A', 'C', 'E']
  assert found.note == '1 pair empty, so skipped'
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
    multi30k(root).read('test', HERE)


def test_no_path_is_not_the_folder_one_is_in():
  with pytest.raises(ValueError, match=r"^folder: .* the path .*, got ''"):
    ParallelFiles('')


def test_real_data_is_as_its_readme_says(shared_tfds):
  shared = shared_tfds.parent / 'data'
  if not shared.is_dir():
    pytest.skip('the real data of ../shared/data is not here')
  context = DataContext(str(shared), None, {})
  splits = ('train', 'validation', 'test')
  pairs = multi30k()
  assert [len(pairs.read(s, context).targets) for s in splits] == [29000, 1014, 1000]
