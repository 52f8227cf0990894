"""Tests of data.MaskFolder: every kind of mask, and those that are refused."""

import numpy as np
import pytest
from PIL import Image

from bigmodels.core.errors import UserError
from bigmodels.data import MaskFolder
from bigmodels.training import splits
from tests.data.folders.masked import write
from tests.data.folders.written import context


def opened(folder, asked=None, **settings):
  asked = asked or context(folder)
  settings = {'selected': None} | settings
  return MaskFolder('photos', 'masks', **settings).open(asked), asked.said


def test_columns(tmp_path):
  shapes = {'a': (9, 11), 'in/b': (12, 7)}
  pairs = [write(tmp_path, name, seed, shape=shape)
           for seed, (name, shape) in enumerate(shapes.items())]
  dataset, said = opened(tmp_path)
  columns = dataset.load()
  assert {name: (x.dtype.name, x.shape) for name, x in columns.items()} == {
    'inputs': ('uint8', (2, 12, 11, 3)), 'labels': ('uint8', (2, 12, 11)),
    'inside': ('bool', (2, 12, 11))}
  for row, (image, mask) in enumerate(pairs):
    height, width = mask.shape
    np.testing.assert_array_equal(columns['inputs'][row, :height, :width], image)
    np.testing.assert_array_equal(columns['labels'][row, :height, :width], mask)
    inside = columns['inside'][row]
    assert inside[:height, :width].all() and inside.sum() == mask.size
    assert (columns['labels'][row][~inside] == 255).all()
    assert not columns['inputs'][row][~inside].any()
  assert dataset.classes == ('0', '1', '2')
  assert dataset.words(np.array([1])) == [{'image': 'in/b.png'}]
  assert dataset.describe(1).endswith('photos/in/b.png')
  assert any('2 images with masks, of 7 x 12 pixels to 11 x 9 pixels' in x
             for x in said)
  assert any('the classes are 0 to 2, the largest value in the masks of training' in x
             for x in said)


def test_images_of_one_size_have_no_padding(tmp_path):
  write(tmp_path, 'a', 0)
  write(tmp_path, 'b', 1)
  assert {*opened(tmp_path)[0].load()} == {'inputs', 'labels'}


@pytest.mark.parametrize('mode, classes', [('P', 3), ('L', 3), ('I;16', 3), ('1', 2)])
def test_kinds_of_masks(mode, classes, tmp_path):
  _, mask = write(tmp_path, 'a', mode=mode, classes=classes)
  found = opened(tmp_path)[0].load()['labels'][0]
  np.testing.assert_array_equal(found, mask)


def test_values_names_and_pixels_that_do_not_count(tmp_path):
  _, mask = write(tmp_path, 'a', mode='L', values=(7, 40, 255), suffix='_mask')
  dataset, _ = opened(tmp_path, values=(7, 40), classes=('sky', 'sea'), suffix='_mask')
  np.testing.assert_array_equal(
    dataset.load()['labels'][0], np.where(mask == 2, 255, mask))
  assert dataset.classes == ('sky', 'sea')


def test_black_and_white_masks(tmp_path):
  _, mask = write(tmp_path, 'a', mode='L', classes=2, values=(0, 255))
  with pytest.raises(UserError, match=r'all masks are black and white.* set values='):
    opened(tmp_path)
  found = opened(tmp_path, values=(0, 255), ignore=None)[0].load()['labels'][0]
  np.testing.assert_array_equal(found, mask)


def test_grey_and_colour_images_are_mixed_which_is_said(tmp_path):
  grey, _ = write(tmp_path, 'a', 0, channels=1)
  write(tmp_path, 'b', 1)
  dataset, said = opened(tmp_path)
  np.testing.assert_array_equal(
    dataset.load()['inputs'][0], grey.repeat(3, -1))
  assert any('1 of 2 images is grey, and gets three equal channels' in x for x in said)
  _, said = opened(tmp_path, channels=3)
  assert any('1 image grey, with three equal channels' in x for x in said)
  dataset, said = opened(tmp_path, channels=1)
  assert dataset.load()['inputs'].shape[-1] == 1
  np.testing.assert_array_equal(dataset.load()['inputs'][0], grey)
  assert any('1 image of mode RGB turned to L' in x for x in said)


def test_other_splits_are_read_as_that_of_training(tmp_path):
  """Of one channel, and with its classes."""
  for index in range(10):
    write(tmp_path, f'{index}', index, channels=1)
  asked = context(tmp_path)
  train, _ = opened(tmp_path, asked, selected='train')
  test, said = opened(tmp_path, asked, selected='test')
  assert train.length == 8 and test.length == 1
  assert train.classes == test.classes
  splits.check_apart({}, {'train': train, 'test': test}, asked)
  name = test.words(np.array([0]))[0]['image']
  write(tmp_path, name.removesuffix('.png'), 1, classes=4, values=(0, 1, 2, 3))
  with pytest.raises(UserError, match=rf'masks/{name}: has the value 3 at .* must be '
                                      'one of 0, 1, 2, 255'):
    opened(tmp_path, asked, selected='test')
  assert said


@pytest.mark.parametrize('break_it, message', [
  (lambda f: (f / 'masks/a.png').unlink(),
   r'photos/a.png: has no mask called a.* \(1 of 2 images without\)'),
  (lambda f: (f / 'photos/a.png').unlink(),
   r'masks/a.png: is the mask of no image \(1 of 2 masks without\)'),
  (lambda f: (f / 'photos/a.png').rename(f / 'photos/b.jpg'),
   'two images are called b'),
  (lambda f: Image.new('P', (11, 8)).save(f / 'masks/a.png'),
   'photos/a.png: has 11 x 9 pixels, and its mask .*masks/a.png 11 x 8 pixels; they '
   'must be the same$'),
  (lambda f: Image.new('P', (9, 11)).save(f / 'masks/a.png'),
   '9 x 11 pixels; they must be the same; an EXIF orientation turns an image, but not'),
  (lambda f: Image.new('RGB', (11, 9)).save(f / 'masks/a.png'),
   'masks/a.png: has the mode RGB, colours or transparency: the pixels of a mask must'),
  (lambda f: Image.new('LA', (11, 9)).save(f / 'masks/a.png'), 'has the mode LA'),
  (lambda f: (Image.new('L', (11, 9)).save(f / 'masks/a.jpg'),
              (f / 'masks/a.png').unlink()), 'masks/a.jpg: is a JPEG, which changes'),
  (lambda f: (f / 'masks/a.png').write_bytes(b'none'),
   'masks/a.png: cannot be read as an image: it is none'),
  (lambda f: (f / 'photos/a.png').write_bytes(b'none'),
   'photos/a.png: cannot be read as an image'),
  (lambda f: Image.new('L', (11, 9), 9).save(f / 'masks/a.png'),
   'masks/a.png: has the value 9 at 99 pixels, the first in row 0 and column 0; must '
   'be one of 0, 1, 2, 255')])
def test_folders_that_are_refused(break_it, message, tmp_path):
  for seed, name in enumerate('ab'):
    write(tmp_path, name, seed)
  break_it(tmp_path)
  with pytest.raises(UserError, match=message):
    opened(tmp_path, classes=('a', 'b', 'c'))


def test_too_large_values_without_classes(tmp_path):
  write(tmp_path, 'a', mode='I;16', values=(0, 1, 1000))
  with pytest.raises(UserError, match='the largest value in masks is 1,000, must be'):
    opened(tmp_path)


@pytest.mark.parametrize('value', [0, 255])
def test_masks_of_one_class(value, tmp_path):
  write(tmp_path, 'a', mode='L', classes=1, values=(value,))
  with pytest.raises(UserError, match=f'have the value {value}, and no class but 0'):
    opened(tmp_path)


def test_no_images(tmp_path):
  for name in ('photos', 'masks'):
    (tmp_path / name).mkdir()
  with pytest.raises(UserError, match='photos: has no images: files that end in'):
    opened(tmp_path)


@pytest.mark.parametrize('settings, message', [
  ({'classes': ('a', 'a')}, 'classes: must be 2 to 255 distinct names'),
  ({'classes': ('a',)}, r"classes: must be 2 to 255 distinct names, got \('a',\)"),
  ({'values': (1, 1)}, 'values: must be 2 to 255 distinct integers >= 0'),
  ({'values': ()}, r'values: must be 2 to 255 distinct integers >= 0, got \(\)'),
  ({'values': (0, 1), 'classes': ('a', 'b', 'c')}, 'must be one for each of 3 classes'),
  ({'ignore': -1}, 'ignore: must be >= 0, or None .*, got -1'),
  ({'ignore': 0, 'classes': ('a', 'b')}, 'ignore: must be none of the values of class'),
  ({'values': (0, 255)}, 'ignore: must be none of the values of classes, got 255'),
  ({'channels': 2}, 'channels: must be 1 or 3, got 2')])
def test_settings_out_of_range(settings, message):
  with pytest.raises(ValueError, match=message):
    MaskFolder('photos', 'masks', **settings)


def test_too_much_memory(tmp_path, monkeypatch):
  write(tmp_path, 'a')
  monkeypatch.setattr('bigmodels.data.folders.image_files._MOST_BYTES', 100)
  with pytest.raises(UserError, match=r'1 images padded to 11 x 9 pixels, as the '
                                      r'largest \(a.png\), take'):
    opened(tmp_path)
