"""Tests of bigmodels.data.images."""

import numpy as np
import pytest
from PIL import Image

from bigmodels.data import images


def _rng(seed=0):
  return np.random.default_rng(seed)


def _ramps(height, width):
  """Red is the row and green the column, in 1/256 of the image."""
  rows, columns = (np.arange(n) * 256 / n for n in (height, width))
  planes = np.broadcast_arrays(rows[:, None], columns[None], 128)
  return np.stack(planes, -1).astype(np.uint8)


def test_a_centre_crop_equals_resizing_and_cropping():
  image = _ramps(60, 90)
  found = images.centre_crop(image, _rng(), size=28, shorter=30)
  whole = Image.fromarray(image).resize((45, 30), Image.Resampling.BILINEAR)
  expected = np.asarray(whole.crop((8.5, 1, 36.5, 29)).resize((28, 28)), int)
  assert found.shape == (28, 28, 3) and found.dtype == np.uint8
  # Rows and columns go up by 256 / 30 and 256 / 45 a pixel; half a column is rounded.
  np.testing.assert_allclose(found, expected, atol=256 / 45 / 2 + 1)
  np.testing.assert_allclose(found[:, 0, 0], expected[:, 0, 0], atol=1)


def test_a_centre_crop_has_to_fit():
  for size in (0, 31):
    with pytest.raises(ValueError, match=f'size must be 1 to shorter=30, got {size}'):
      images.centre_crop(_ramps(60, 90), _rng(), size=size, shorter=30)


@pytest.mark.parametrize('wrong', [
  {'size': 0}, {'area': (2, 3)}, {'area': (0.5, 0.2)}, {'area': (-1, -0.5)},
  {'aspect': (0, 1)}, {'aspect': (2, 1)}], ids=str)
def test_crops_that_cannot_be_drawn_are_refused(wrong):
  name, = wrong
  with pytest.raises(ValueError, match=f'^random_resized_crop: {name} must be '):
    images.random_resized_crop(_ramps(60, 90), _rng(), **{'size': 4} | wrong)


@pytest.mark.parametrize('shape', [(200, 200), (100, 400), (400, 100)])
def test_random_resized_crops_are_evenly_drawn(shape):
  """Area and aspect of crops, from the ramps at their edges."""
  image, size = _ramps(*shape), 16
  found = np.stack([
    images.random_resized_crop(image, _rng(seed), size=size, area=(0.2, 0.5))
    for seed in range(300)]).astype(float)
  # From the middle of the first to that of the last pixel are 15/16 of a side.
  rows = (found[:, -1, 0, 0] - found[:, 0, 0, 0]) / 256 * 16 / 15
  columns = (found[:, 0, -1, 1] - found[:, 0, 0, 1]) / 256 * 16 / 15
  areas, aspects = rows * columns, columns * shape[1] / (rows * shape[0])
  assert 0.18 < areas.min() < 0.23 and areas.max() < 0.53
  assert aspects.min() > 0.70 and aspects.max() < 1.41
  if shape[0] == shape[1]:  # all fit: areas and logarithms of aspects are even
    assert abs(areas.mean() - 0.35) < 0.02 and areas.max() > 0.47
    assert aspects.min() < 0.79 and aspects.max() > 1.26
    assert abs(np.log(aspects).mean()) < 0.03
  # They are anywhere.
  tops, lefts = found[:, 0, 0, 0], found[:, 0, 0, 1]
  assert tops.std() > 20 * (shape[0] >= shape[1]) and lefts.std() > 20 * (
    shape[1] >= shape[0])


def test_a_crop_is_a_function_of_its_seed():
  image = _ramps(50, 70)
  first, again, other = (
    images.random_resized_crop(image, _rng(seed), size=8) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert np.any(first != other)


@pytest.mark.parametrize('shape, kept', [
  ((10, 1000), (10, 10 * 4 / 3)), ((1000, 10), (10 * 4 / 3, 10))])
def test_the_middle_of_an_image_that_is_too_long(shape, kept):
  image = _ramps(*shape)
  found = images.random_resized_crop(image, _rng(), size=16, area=(0.9, 1.0))
  for channel, line in ((0, found[:, 8, 0]), (1, found[8, :, 1])):
    side, of = kept[channel], shape[channel]
    expected = 256 * (0.5 + side / of * (np.array([0.5, 15.5]) / 16 - 0.5))
    np.testing.assert_allclose(line[[0, -1]], expected, atol=256 / of + 2)


@pytest.mark.parametrize('channels', [1, 3])
def test_channels_stay(channels):
  image = np.full((9, 12, channels), 7, np.uint8)
  for found in (images.random_resized_crop(image, _rng(), size=4),
                images.centre_crop(image, _rng(), size=4, shorter=5)):
    np.testing.assert_array_equal(found, np.full((4, 4, channels), 7))
