"""Tests of data.MedMnist: the arrays of its files, and files that are none."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import MedMnist
from bigmodels.data.sources import DataContext
from bigmodels.training import splits
from tests.conftest import SHARED

rng = np.random.default_rng(0)


def write(path, channels=(), **more):
  arrays = {}
  for count, name in ((9, 'train'), (4, 'val'), (5, 'test')):
    arrays[f'{name}_images'] = rng.integers(0, 256, (count, 6, 6, *channels)).astype(
      np.uint8)
    arrays[f'{name}_labels'] = (np.arange(count)[:, None] % 3).astype(np.uint8)
  arrays |= more
  np.savez(path, **{name: x for name, x in arrays.items() if x is not None})
  return arrays


def opened(path, name='train', **settings):
  return MedMnist(str(path), **settings).split(name).open(
    DataContext(str(path.parent), path.parent, {}))


@pytest.mark.parametrize('channels', [(), (3,)])
def test_splits_are_those_of_the_file(channels, tmp_path):
  arrays = write(tmp_path / 'x.npz', channels)
  for name, theirs in (('train', 'train'), ('validation', 'val'), ('val', 'val'),
                       ('test', 'test')):
    dataset = opened(tmp_path / 'x.npz', name)
    columns = dataset.load()
    images = arrays[f'{theirs}_images']
    np.testing.assert_array_equal(
      columns['inputs'], images if channels else images[..., None])
    assert columns['labels'].dtype == np.int32
    assert columns['labels'].tolist() == arrays[f'{theirs}_labels'][:, 0].tolist()
    assert dataset.classes == ('0', '1', '2')
    assert dataset.describe(3) == f'{theirs}_images[3]'


def test_a_split_that_is_used_twice_is_found(tmp_path):
  write(tmp_path / 'x.npz')
  context = DataContext(None, tmp_path, {})
  found = {name: opened(tmp_path / 'x.npz', split) for name, split in (
    ('train', 'train'), ('validation', 'validation'), ('test', 'train'))}
  with pytest.raises(UserError, match='share 9 rows of train_images of'):
    splits.check_apart(dict.fromkeys(found, _Batches()), found, context)


class _Batches:
  source = None


@pytest.mark.parametrize('more, message', [
  ({'train_labels': None}, "has no array 'train_labels'.*; has train_images"),
  ({'train_images': np.zeros((9, 6, 6))}, 'must be uint8 .*, are float64'),
  ({'train_images': np.zeros((9, 6, 6, 6), np.uint8)}, r'are uint8 \(9, 6, 6, 6\)'),
  ({'train_images': np.zeros((9, 0, 6), np.uint8)}, r'are uint8 \(9, 0, 6\)'),
  ({'train_labels': np.zeros((9, 14), np.uint8)}, r'one class for each of 9 images'),
  ({'train_labels': np.zeros(9)}, 'are float64')])
def test_files_of_other_arrays(more, message, tmp_path):
  write(tmp_path / 'x.npz', **more)
  with pytest.raises(UserError, match=message):
    opened(tmp_path / 'x.npz')


def test_files_that_are_none(tmp_path):
  (tmp_path / 'x.npz').write_bytes(b'PK\x03\x04 no archive')
  with pytest.raises(UserError, match=r'x.npz is no .npz file of arrays'):
    opened(tmp_path / 'x.npz')
  np.save(tmp_path / 'y.npy', np.zeros(3))
  with pytest.raises(UserError, match=r'is no \.npz file of arrays: it is no zip file'):
    opened(tmp_path / 'y.npy')
  write(tmp_path / 'z.npz')
  with pytest.raises(UserError, match=r'there is no .*zz.npz'):
    opened(tmp_path / 'zz.npz')
  with pytest.raises(UserError, match="no split 'tests'"):
    opened(tmp_path / 'z.npz', 'tests')
  with pytest.raises(UserError, match='of train are 0 to 2, classes= names 2: a'):
    opened(tmp_path / 'z.npz', classes=('a', 'b'))
  with pytest.raises(ValueError, match='classes: must be distinct names'):
    MedMnist('x.npz', classes=('a', 'a'))


def test_pneumonia_mnist_has_its_official_sizes():
  path = SHARED / 'data/pneumonia/pneumoniamnist.npz'
  if not path.is_file():
    pytest.skip('the data of ../shared is not here')
  for name, count, ill in (('train', 4708, 3494), ('validation', 524, 389),
                           ('test', 624, 390)):
    columns = opened(path, name, classes=('normal', 'pneumonia')).load()
    assert columns['inputs'].shape == (count, 28, 28, 1)
    assert columns['labels'].sum() == ill
