"""Tests of images that are made of images: their files, and what is refused."""

import re

import numpy as np
import pytest
from PIL import Image

from bigmodels.core.errors import UserError
from bigmodels.plots.style import mask_colours
from bigmodels.storage import image_predictions
from tests.data.folders.written import encoded, picture, write


@pytest.fixture
def mirrored(tmp_path, monkeypatch):
  """(inputs, output) -> what is printed; the images that are made are mirrored."""
  monkeypatch.chdir(tmp_path)

  def ask(*inputs, output='out', overwrite=False):
    said = []
    image_predictions.write(
      lambda image, file: np.ascontiguousarray(image[:, ::-1]),
      image_predictions.find([tmp_path / name for name in inputs], said.append),
      output, overwrite=overwrite, say=said.append)
    return said

  return ask


def test_every_image_is_a_png_file_at_its_place(tmp_path, mirrored):
  given = write(tmp_path / 'in', ['one.png', 'inner/two.jpg'], shape=(20, 31))
  given |= write(tmp_path / 'in', ['grey.png'], shape=(9, 5), channels=1)
  (tmp_path / 'in' / 'notes.txt').write_text('no image')
  said = mirrored('in')
  for name, image in given.items():
    found = Image.open((tmp_path / 'out' / name).with_suffix('.png'))
    assert found.format == 'PNG'
    np.testing.assert_array_equal(np.asarray(found), image[:, ::-1])
  assert len([x for x in (tmp_path / 'out').rglob('*') if x.is_file()]) == 3
  assert said[0].startswith('skipped: 1 file (such as notes.txt)')
  assert 'out/inner/two.png: 31 x 20 pixels, from 31 x 20 pixels' in said
  assert re.fullmatch(r'3 images of 3 in [\d.]+ s: out', said[-1])


@pytest.mark.parametrize('name', ['out.PNG', 'out.jpg', 'found.json', 'out.csv'])
def test_the_name_of_a_file_is_no_folder(tmp_path, mirrored, name):
  write(tmp_path, ['one.png'])
  with pytest.raises(UserError, match=f'--output={name}: must be a folder'):
    mirrored('one.png', output=name)
  (tmp_path / name).mkdir()
  mirrored('one.png', output=name)
  assert (tmp_path / name / 'one.png').is_file()


def test_a_name_with_two_lines_is_printed_on_one(tmp_path, mirrored):
  write(tmp_path / 'in', ['a\nb.png'])
  (tmp_path / 'in' / 'c\nd.png').write_bytes(b'no image')
  assert not any('\n' in line for line in mirrored('in', output='e\nf'))


def test_a_mask_is_a_png_file_with_a_palette(tmp_path):
  said = []
  given = write(tmp_path / 'in', ['grey.png'], shape=(9, 5), channels=1)
  write(tmp_path / 'in', ['two.png'], 1, shape=(4, 6))
  shapes = []

  def make(image, file):
    del file
    shapes.append(image.shape)
    return image[..., 0] % 3

  image_predictions.write(
    make, image_predictions.find([tmp_path / 'in'], said.append), str(tmp_path / 'out'),
    overwrite=False, say=said.append, channels=3)
  assert [line for line in said if 'three equal channels' in line] == [
    f'{tmp_path}/out/grey.png: 5 x 9 pixels, from 5 x 9 pixels; image grey, with three '
    'equal channels']
  assert shapes == [(9, 5, 3), (4, 6, 3)]
  found = Image.open(tmp_path / 'out' / 'grey.png')
  assert found.mode == 'P'
  np.testing.assert_array_equal(np.asarray(found), given['grey.png'] % 3)
  np.testing.assert_array_equal(
    np.asarray(found.convert('RGB')), mask_colours()[given['grey.png'] % 3])


def test_what_is_converted_is_told(tmp_path, mirrored):
  folder, image = tmp_path / 'in', picture(4, (10, 10))
  folder.mkdir()
  (folder / 'a.jpg').write_bytes(encoded(image.convert('CMYK'), 'JPEG'))
  (folder / 'b.png').write_bytes(encoded(picture(3, (12, 12), channels=4)))
  palette = image.quantize(16)
  (folder / 'c.png').write_bytes(encoded(palette, transparency=0))
  deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
  (folder / 'd.png').write_bytes(encoded(Image.fromarray(deep)))
  assert [line.partition('; ')[2] for line in mirrored('in')[:4]] == [
    'image of mode CMYK turned to RGB',
    'image of mode RGBA stripped of transparency',
    'image of mode P stripped of transparency', 'image of mode I;16 scaled to 8 bits']
  assert [Image.open(tmp_path / 'out' / f'{name}.png').mode for name in 'abcd'] == [
    'RGB', 'RGB', 'RGB', 'L']
  np.testing.assert_array_equal(Image.open(tmp_path / 'out' / 'd.png'),
                                deep[:, ::-1] >> 8)


def test_a_damaged_image_is_told_and_the_others_are_written(tmp_path, mirrored):
  write(tmp_path / 'in', ['a.png', 'c.png'])
  (tmp_path / 'in' / 'b.png').write_bytes(b'no image')
  said = mirrored('in')
  assert f'warning: {tmp_path}/in/b.png: cannot be read as an image: cannot' in said[1]
  assert said[-1].startswith('2 images of 3 in ')
  assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['a.png', 'c.png']
  with pytest.raises(UserError, match=r'b\.png: no image can be read'):
    mirrored('in/b.png', output='other')


def test_a_folder_without_images(tmp_path, mirrored):
  (tmp_path / 'in').mkdir()
  with pytest.raises(UserError, match=r'in: has no images: files that end in .*png'):
    mirrored('in')
  (tmp_path / 'in' / 'a.txt').write_text('no image')
  with pytest.raises(UserError, match='in: has no images'):
    mirrored('in')
  assert not (tmp_path / 'out').exists()


def test_no_file_is_lost(tmp_path, mirrored):
  given = write(tmp_path / 'in', ['a.png', 'b/a.png'])
  mirrored('in')
  with pytest.raises(UserError, match=r'out/a\.png exists; choose another, or replace'):
    mirrored('in')
  mirrored('in', overwrite=True)
  with pytest.raises(UserError, match=r'a\.png is a file of --input, which would be'):
    mirrored('in', output='in', overwrite=True)
  with pytest.raises(UserError, match=r'in/b/a\.png is a file of --input'):
    mirrored('in/a.png', 'in/b', output='in/b', overwrite=True)
  (tmp_path / 'in' / 'a.jpg').write_bytes(encoded(picture(0), 'JPEG'))
  with pytest.raises(UserError, match=r'a\.jpg and .*a\.png would both be written to'):
    mirrored('in', output='other')
  np.testing.assert_array_equal(Image.open(tmp_path / 'in' / 'a.png'), given['a.png'])


def test_an_output_that_is_no_folder(tmp_path, mirrored):
  write(tmp_path / 'in', ['a.png'])
  with pytest.raises(UserError, match=r'out\.csv: must be a folder, for this run'):
    mirrored('in', output='out.csv')
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='is not a folder'):
    mirrored('in', output='file')


def test_a_table_is_refused(tmp_path, mirrored):
  (tmp_path / 'list.csv').write_text('file\nin/one.png\n')
  with pytest.raises(UserError, match=r'list\.csv: is a table; give images, folders'):
    mirrored('list.csv')
