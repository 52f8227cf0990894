"""Tests of bigmodels.data.folders.image_files, against Pillow."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from bigmodels.core.errors import UserError
from bigmodels.data import image_decoding
from bigmodels.data.folders import image_files
from tests.data.folders.written import encoded, picture


def opened(data):
  return Image.open(io.BytesIO(data))


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_an_exif_orientation_is_applied_as_by_pillow(kind, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  data = encoded(picture(1, (16, 24)), kind, exif=exif)
  expected = np.asarray(ImageOps.exif_transpose(opened(data)).convert('RGB'))
  found, notes = image_files.decode(data)
  np.testing.assert_array_equal(found, expected)
  assert notes == () and found.shape[:2] == ((24, 16) if orientation > 4 else (16, 24))
  assert image_decoding.header(data) == (*found.shape[:2], False)


def test_a_damaged_orientation_is_none():
  exif = Image.Exif()
  exif[0x0112] = 77
  data = encoded(picture(1), 'PNG', exif=exif)
  np.testing.assert_array_equal(image_files.decode(data)[0], np.asarray(picture(1)))


@pytest.mark.parametrize('options', [
  {}, {'progressive': True}, {'subsampling': 0}, {'quality': 100},
  {'icc_profile': b'x' * 70_000}, {'comment': b'by a camera'}])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_plain_jpeg_has_the_pixels_of_image_open(options, channels):
  data = encoded(picture(2, (31, 17), channels=channels), 'JPEG', **options)
  found, notes = image_files.decode(data, channels)
  np.testing.assert_array_equal(
    found, np.asarray(opened(data)).reshape(31, 17, channels))
  assert notes == () and image_decoding.header(data) == (31, 17, channels == 1)
  for cut in (2, 100, len(data) // 2, len(data) - 30):
    with pytest.raises((OSError, ValueError)):
      image_files.decode(data[:cut], channels)


# Mode -> an image that is saved in it, and its RGB by hand.
DEEP = (np.arange(64, dtype=np.uint16) * 1024 + 37).reshape(8, 8)
MODES = {
  'P': (picture(3).quantize(7), 'PNG', lambda x: np.asarray(x.convert('RGB')), ''),
  'LA': (Image.merge('LA', [picture(4, channels=1)] * 2), 'PNG',
         lambda x: np.asarray(x)[..., [0, 0, 0]],
         'of mode LA stripped of transparency'),
  'CMYK': (picture(5).convert('CMYK'), 'TIFF',
           lambda x: 255 - np.asarray(x)[..., :3], 'of mode CMYK turned to RGB'),
  'I;16': (Image.fromarray(DEEP), 'PNG',
           lambda x: (np.asarray(x) >> 8).astype(np.uint8)[..., None].repeat(3, 2),
           'of mode I;16 scaled to 8 bits'),
  '1': (picture(6, channels=1).convert('1'), 'PNG',
        lambda x: (np.asarray(x) * np.uint8(255))[..., None].repeat(3, 2), ''),
  'L': (picture(7, channels=1), 'PNG',
        lambda x: np.asarray(x)[..., None].repeat(3, 2), ''),
  'RGBA': (Image.merge('RGBA', [picture(8, channels=1)] * 4), 'PNG',
           lambda x: np.asarray(x)[..., :3], 'of mode RGBA stripped of transparency')}


@pytest.mark.parametrize('mode', MODES)
def test_every_mode_has_its_colors(mode):
  image, kind, by_hand, note = MODES[mode]
  assert image.mode == mode
  found, notes = image_files.decode(encoded(image, kind))
  assert ' '.join(notes) == note
  np.testing.assert_array_equal(found, by_hand(image))


@pytest.mark.parametrize('kind', ['GIF', 'BMP', 'PPM', 'WEBP'])
def test_other_formats_and_a_path(kind, tmp_path):
  options = {'lossless': True} if kind == 'WEBP' else {}
  data = encoded(picture(9).quantize(200) if kind == 'GIF' else picture(9), kind,
                 **options)
  (tmp_path / 'x').write_bytes(data)
  expected = np.asarray(opened(data).convert('RGB'))
  np.testing.assert_array_equal(image_files.decode(tmp_path / 'x')[0], expected)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'BMP'])
def test_an_image_that_is_too_large_is_an_error(monkeypatch, kind):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
  with pytest.raises(ValueError, match='exceeds limit'):
    image_files.decode(encoded(picture(1), kind))


# --- sizes ----------------------------------------------------------------------


@pytest.mark.parametrize(('shape', 'size', 'box'), [
  ((40, 60), (20, 20), (10, 0, 50, 40)),    # the aspect is cut at both sides
  ((60, 40), (20, 20), (0, 10, 40, 50)),
  ((10, 20), (30, 30), (5, 0, 15, 10)),     # enlarged
  ((40, 60), (10, 30), (0, 10, 60, 30))])
def test_crop_keeps_the_aspect_and_squeeze_the_whole(shape, size, box):
  image = picture(1, shape)
  cut = image.resize(size[::-1], Image.Resampling.BILINEAR, box)
  np.testing.assert_array_equal(
    image_files.to_size(np.asarray(image), size), np.asarray(cut))
  whole = image.resize(size[::-1], Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(
    image_files.to_size(np.asarray(image), size, 'squeeze'), np.asarray(whole))


def test_an_image_of_that_size_is_not_changed():
  image = np.asarray(picture(1))
  assert image_files.to_size(image, (8, 8)) is image


def test_a_common_size():
  facts = np.array([[8, 6, 0], [-1, -1, -1], [8, 6, 1], [9, 6, 0]])
  assert image_files.common_size(facts[:3], 'abcd') == (8, 6)
  with pytest.raises(UserError, match=r'images have 2 sizes, such as 6 x 8 pixels '
                                      r'\(a\) and 6 x 9 pixels \(d\): set size='):
    image_files.common_size(facts, 'abcd')
