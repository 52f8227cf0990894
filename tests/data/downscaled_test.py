"""Tests of data.Downscaled: its columns, its lines, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from bigmodels.core.errors import UserError
from bigmodels.data import Downscaled
from bigmodels.data.folders import image_files
from bigmodels.training import splits
from tests.data.folders.written import context, picture, write


def luma(rgb):
  """BT.601, as MATLAB's rgb2ycbcr, of one image."""
  red, green, blue = np.moveaxis(rgb.astype(float), -1, 0) / 255
  return np.round(16 + 65.481 * red + 128.553 * green + 24.966 * blue)


def opened(folder, paths='pictures', scale=3):
  asked = context(folder)
  return Downscaled(paths, scale).open(asked), asked.said


def test_columns(tmp_path):
  shapes = {'a.png': (40, 35), 'b.png': (34, 50)}
  truth = {name: write(tmp_path / 'pictures', [name], i, shape=shape)[name]
           for i, (name, shape) in enumerate(shapes.items())}
  dataset, said = opened(tmp_path)
  columns = dataset.load()
  assert said == ['pictures: 2 images, of 33 x 39 pixels to 48 x 33 pixels, of which 3 '
                  'times smaller ones are made']
  assert {name: (x.dtype.name, x.shape) for name, x in columns.items()} == {
    'inputs': ('uint8', (2, 13, 16, 1)), 'labels': ('uint8', (2, 39, 48, 1)),
    'inside': ('bool', (2, 13, 16))}
  assert dataset.classes is None and dataset.provides['scale']() == 3
  for row, (name, (height, width)) in enumerate(
    {'a.png': (39, 33), 'b.png': (33, 48)}.items()):
    expected = luma(truth[name])[:height, :width]
    label = columns['labels'][row, ..., 0]
    np.testing.assert_array_equal(label[:height, :width], expected)
    assert not label[height:].any() and not label[:, width:].any()
    small = Image.fromarray(expected.astype(np.float32)).resize(
      (width // 3, height // 3), Image.Resampling.BICUBIC)
    inside = columns['inside'][row]
    assert inside[: height // 3, : width // 3].all()
    assert inside.sum() == height * width // 9
    low = columns['inputs'][row, ..., 0]
    assert not low[~inside].any()
    # Pillow treats the edges in another way.
    np.testing.assert_allclose(
      low[2 : height // 3 - 2, 2 : width // 3 - 2],
      np.clip(np.asarray(small), 0, 255)[2:-2, 2:-2], atol=0.51)
  assert dataset.words(np.array([1])) == [{'image': 'b.png'}]
  assert dataset.describe(0).endswith('pictures/a.png')
  assert dataset.nbytes == sum(x.nbytes for x in columns.values())
  other, _ = opened(tmp_path, scale=2)
  assert other.identity != dataset.identity


def test_grey_images_are_luma_which_is_said(tmp_path):
  write(tmp_path / 'pictures', ['a.png'], shape=(33, 33))
  truth = write(tmp_path / 'pictures', ['b.png'], shape=(33, 33), channels=1)['b.png']
  dataset, said = opened(tmp_path)
  np.testing.assert_array_equal(dataset.load()['labels'][1, ..., 0], truth)
  assert said[1] == ('pictures: 1 of 2 images is grey, with values from 0 to 255 taken '
                     'as luma; the luma of the others is from 16 to 235')
  (tmp_path / 'pictures' / 'a.png').unlink()
  assert len(opened(tmp_path)[1]) == 1  # no mixture


def test_other_images_are_converted_which_is_said(tmp_path):
  folder = tmp_path / 'pictures'
  folder.mkdir()
  image = picture(0, (36, 36))
  image.convert('CMYK').save(folder / 'a.jpg', quality=95)
  transparent = image.convert('RGBA')
  transparent.putalpha(picture(1, (36, 36), channels=1))
  transparent.save(folder / 'b.png')
  deep = np.random.default_rng(0).integers(0, 2**16, (36, 36)).astype(np.uint16)
  Image.fromarray(deep).save(folder / 'c.png')
  (folder / 'notes.txt').write_text('no image')
  dataset, said = opened(tmp_path)
  np.testing.assert_array_equal(dataset.load()['labels'][1, ..., 0],
                                luma(np.asarray(image)))
  np.testing.assert_array_equal(dataset.load()['labels'][2, ..., 0], deep >> 8)
  assert [line.removeprefix('pictures: ') for line in said if 'grey' not in line] == [
    'skipped: 1 file (such as notes.txt) whose suffix is not that of an image: .txt 1',
    '3 images, of 36 x 36 pixels, of which 3 times smaller ones are made',
    '1 image of mode CMYK turned to RGB', '1 image of mode I;16 scaled to 8 bits',
    '1 image of mode RGBA stripped of transparency']


def test_a_folder_without_images(tmp_path):
  (tmp_path / 'pictures').mkdir()
  with pytest.raises(UserError, match=r'^pictures: has no images: files that end in'):
    opened(tmp_path)
  with pytest.raises(UserError, match=r'there is no .*/gone and no .*/gone'):
    opened(tmp_path, paths='gone')


@pytest.mark.parametrize('content, message', [
  (b'', 'cannot be read as an image'), (b'\x89PNG\r\n\x1a\n', 'cannot be read')])
def test_a_damaged_image(tmp_path, content, message):
  write(tmp_path / 'pictures', ['a.png'], shape=(33, 33))
  (tmp_path / 'pictures' / 'b.png').write_bytes(content)
  with pytest.raises(UserError, match=f'b.png: {message}'):
    opened(tmp_path)


def test_a_path_is_absolute_and_not_empty(tmp_path, monkeypatch):
  (tmp_path / 'pictures').mkdir()
  monkeypatch.chdir(tmp_path)
  assert Downscaled(('pictures', 'sr/t91'), 2).paths == (
    str(tmp_path / 'pictures'), 'sr/t91')  # the other is looked up under --data_dir
  for paths in ('', ('pictures', '')):
    with pytest.raises(ValueError, match=r"paths: must be the path of .*, got ''"):
      Downscaled(paths, 2)
  with pytest.raises(ValueError, match=r'paths: must be one path or more, got \(\)'):
    Downscaled((), 2)


def test_a_small_image(tmp_path):
  write(tmp_path / 'pictures', ['a.png'], shape=(40, 31))
  with pytest.raises(UserError, match=r'a\.png: has 31 x 40 pixels, must have at least '
                     '32 x 32'):
    opened(tmp_path)


def test_too_much_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(image_files, '_MOST_BYTES', 5000)
  write(tmp_path / 'pictures', ['a.png'], shape=(40, 60))
  write(tmp_path / 'pictures', ['b.png', 'c.png'], shape=(33, 33))
  with pytest.raises(UserError, match=r'3 images padded to 60 x 39 pixels, as the '
                     r'largest \(a.png\), take 0 GiB'):
    opened(tmp_path)


@pytest.mark.parametrize('scale', [1, 9, 2.5, 2.0])
def test_no_scale(scale):
  with pytest.raises(ValueError, match=f'scale: must be 2 to 8, got {scale}'):
    Downscaled('pictures', scale)


def test_an_image_in_two_splits_is_refused(tmp_path):
  write(tmp_path / 'train', ['a.png', 'b.png'], shape=(33, 33))
  write(tmp_path / 'test', ['c.png'], 1, shape=(33, 33))  # the pixels of b
  every = {name: type('B', (), {'source': Downscaled(name, 3)})()
           for name in ('train', 'test')}
  found = {name: opened(tmp_path, paths=name)[0] for name in every}
  with pytest.raises(UserError, match='test and train share 1 row of pixels'):
    splits.check_apart(every, found, context(tmp_path))
