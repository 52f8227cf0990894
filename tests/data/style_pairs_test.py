"""Tests of data.StylePairs: its columns, its lines, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from bigmodels.core.errors import UserError
from bigmodels.data import StylePairs
from bigmodels.training import splits
from tests.data.folders.written import context, write


def opened(folder, photographs='photographs', styles='styles', **sizes):
  asked = context(folder)
  return StylePairs(photographs, styles, **sizes).open(asked), asked.said


@pytest.fixture
def folder(tmp_path):
  for index, shape in enumerate([(12, 16), (12, 20), (24, 16)]):
    write(tmp_path / 'photographs', [f'{index}.png'], index, shape=shape)
  write(tmp_path / 'styles', ['a.png', 'b.png'], 7, shape=(9, 9))
  return tmp_path


def pixels(path):
  return np.asarray(Image.open(path))


def test_each_row_has_its_style(folder):
  dataset, said = opened(folder, size=(12, 16), style_size=9)
  columns = dataset.load()
  assert {name: (x.dtype.name, x.shape) for name, x in columns.items()} == {
    'inputs': ('uint8', (3, 12, 16, 3)), 'style': ('uint8', (3, 9, 9, 3))}
  photographs = [pixels(folder / 'photographs' / f'{i}.png') for i in range(3)]
  one, other = (pixels(folder / 'styles' / f'{name}.png') for name in 'ab')
  np.testing.assert_array_equal(columns['inputs'][0], photographs[0])
  # Cut at the center, not resized.
  np.testing.assert_array_equal(columns['inputs'][1], photographs[1][:, 2:-2])
  np.testing.assert_array_equal(columns['inputs'][2], photographs[2][6:-6])
  np.testing.assert_array_equal(columns['style'], [one, other, one])
  assert dataset.words(np.array([1, 2])) == [
    {'image': '1.png', 'style': 'b.png'}, {'image': '2.png', 'style': 'a.png'}]
  assert dataset.describe(2).endswith('photographs/2.png')
  assert said == [
    'photographs: 3 photographs, of 16 x 12 pixels to 16 x 24 pixels, cut and resized '
    'to 16 x 12 pixels',
    'styles: 2 styles, of 9 x 9 pixels, cut and resized to 9 x 9 pixels']


def test_every_style_is_kept_once(folder):
  dataset, _ = opened(folder, size=(12, 16), style_size=9)
  arrays = dataset.compact.load()
  assert arrays['style'].shape == (2, 9, 9, 3)
  assert dataset.nbytes == sum(x.nbytes for x in arrays.values())
  rows = np.array([[2, 0], [1, 1]])
  found, whole = dataset.compact.gather(arrays, rows), dataset.load()
  for name, column in whole.items():
    np.testing.assert_array_equal(found[name], column[rows])
    np.testing.assert_array_equal(dataset.read(rows[0])[name], column[rows[0]])


def test_grey_and_small_images_are_told(folder):
  write(folder / 'photographs', ['0.png'], shape=(5, 30), channels=1)
  dataset, said = opened(folder, size=12)
  grey = dataset.load()['inputs'][0]
  assert (grey == grey[..., :1]).all() and grey.std() > 10
  assert said[1:3] == [
    'photographs: 1 photograph is grey, with three equal channels',
    'photographs: 1 photograph is smaller, and enlarged']
  assert said[4] == 'styles: 2 styles are smaller, and enlarged'


def test_another_style_is_other_data(folder):
  before = opened(folder, size=12)[0].identity
  assert before == opened(folder, size=12)[0].identity
  write(folder / 'styles', ['a.png'], 9, shape=(9, 9))
  assert before != opened(folder, size=12)[0].identity


def test_a_photograph_in_two_splits_is_refused(folder):
  every = {name: type('B', (), {'source': StylePairs('photographs', 'styles')})()
           for name in ('train', 'test')}
  found = {name: opened(folder)[0] for name in every}
  with pytest.raises(UserError, match='share 3 rows of image files'):
    splits.check_apart(every, found, context(folder))


def test_what_is_not_there_is_named(folder):
  with pytest.raises(UserError, match=r'there is no .*/gone'):
    opened(folder, styles='gone')
  (folder / 'photographs' / '1.png').write_bytes(b'no image')
  with pytest.raises(UserError, match=r'1\.png: cannot be read as an image'):
    opened(folder)


def test_no_paths():
  with pytest.raises(ValueError, match=r"photographs: must be the path of .*, got ''"):
    StylePairs('', 'a')
  with pytest.raises(ValueError, match='styles: must be one path or more'):
    StylePairs('a', ())


@pytest.mark.parametrize('size', [0, (12,), (12, 2.5), None])
def test_no_sizes(size):
  with pytest.raises(ValueError, match=r'style_size: must be a number of pixels >= 1'):
    StylePairs('a', 'b', style_size=size)
