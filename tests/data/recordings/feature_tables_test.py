"""Tests of recordings.FeatureTable: frames by hand, and tables that do not fit."""

import re

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import recordings
from bigmodels.data.recordings import FeatureTable
from tests.conftest import SHARED
from tests.data.folders.written import context
from tests.data.recordings import written


def test_recordings_are_frames_of_the_array(tmp_path):
  folder = written.features(tmp_path / 'speech')
  dataset = written.speech(FeatureTable(folder)).open(context(tmp_path))
  columns = dataset.load()
  assert dataset.length == 3 and columns['inputs'].shape == (3, 5, 2)
  for row, (start, count) in enumerate([(0, 5), (5, 3), (8, 4)]):
    expected = np.zeros((5, 2))
    expected[:count] = np.arange(start, start + count)[:, None] + [0, 0.5]
    np.testing.assert_array_equal(columns['inputs'][row], expected)
  assert columns['lengths'].tolist() == [5, 3, 4]
  assert columns['labels'].tolist() == [[2, 3, 0], [3, 0, 0], [2, 1, 2]]
  np.testing.assert_array_equal(dataset.read(np.array([2]))['inputs'],
                                columns['inputs'][2:])
  assert dataset.words(np.array([2])) == [
    {'recording': 'train2', 'text': 'A A', 'seconds': '0.04'}]


def test_every_speaker_is_in_one_split(tmp_path):
  folder = written.features(tmp_path / 'speech', (3,) * 40, ('AB',) * 40)
  source = FeatureTable(folder, splits={'train': 0.8, 'validation': 0.2})
  found = {split: source.read(split, context(tmp_path))
           for split in ('train', 'validation')}
  speakers = {name: {*each.speakers} for name, each in found.items()}
  assert not speakers['train'] & speakers['validation']
  assert [len(each.texts) for each in found.values()] == [32, 8]
  assert not {*found['train'].names} & {*found['validation'].names}


@pytest.mark.parametrize(('change', 'message'), [
  ({'start': '10'}, r'line 2: frames 10 to 15 are not among the 12 of train.npy'),
  ({'frames': '0'}, r'line 2: frames 0 to 0 are not among the 12'),
  ({'frames': '2.5'}, r"line 2, column 'frames': '2.5' is not a number of frames")])
def test_rows_that_do_not_fit_are_named(tmp_path, change, message):
  folder = written.features(tmp_path / 'speech')
  row = {'id': 'a', 'speaker': 's', 'start': '0', 'frames': '5', 'text': 'A'}
  written.table(tmp_path / 'speech' / 'train.csv', [row | change])
  with pytest.raises(UserError, match=rf'train.csv, {message}'):
    FeatureTable(folder).read('train', context(tmp_path))


def test_files_that_are_missing_or_of_another_kind(tmp_path):
  folder = written.features(tmp_path / 'speech')
  with pytest.raises(UserError, match=r"no split 'tests'.*did you mean 'test'"):
    FeatureTable(folder).read('tests', context(tmp_path))
  with pytest.raises(UserError, match=r'there is no .*test.csv'):
    FeatureTable(folder).read('test', context(tmp_path))
  with pytest.raises(UserError, match=r"train.csv: no column 'voice'"):
    FeatureTable(folder, speaker='voice').read('train', context(tmp_path))
  np.save(tmp_path / 'speech' / 'train.npy', np.arange(5))
  with pytest.raises(UserError, match=re.escape('must be floats [frames, width], got '
                                                'int64 (5,)')):
    FeatureTable(folder).read('train', context(tmp_path))
  (tmp_path / 'speech' / 'train.npy').write_bytes(b'none')
  with pytest.raises(UserError, match=r'train.npy: is not a NumPy array'):
    FeatureTable(folder).read('train', context(tmp_path))


def test_a_fraction_for_validation_must_be_one():
  with pytest.raises(UserError, match=r'validation: must be >= 0 and < 1, got 2'):
    recordings.an4(validation=2)


@pytest.mark.skipif(not (SHARED / 'data' / 'an4').is_dir(),
                    reason='the real AN4 of ../shared/data is not here')
def test_an4_is_its_official_split():
  asked = context(SHARED / 'data')
  found = {split: recordings.an4().read(split, asked) for split in ('train', 'test')}
  assert [len(each.texts) for each in found.values()] == [948, 130]
  assert [len({*each.speakers}) for each in found.values()] == [74, 10]
  assert sum(len(text.split()) for text in found['test'].texts) == 773
  assert found['train'].lengths.sum() == 253_682
