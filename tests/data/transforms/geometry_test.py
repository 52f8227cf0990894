"""Tests of bigmodels.data.transforms.geometry against NumPy, scipy and Pillow."""

from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from bigmodels.data import transforms
from tests.data.transforms.images import KEY, apply, batch, pixels


def which(image, candidates):
  """Names of the candidates that an image equals."""
  return [name for name, c in candidates.items() if np.array_equal(image, c)]


def test_flip_mirrors_half_of_the_examples():
  image = pixels()[0]
  results = apply(transforms.flip, np.stack([image] * 200))
  found = [which(r, {'same': image, 'mirrored': image[:, ::-1]}) for r in results]
  assert all(len(names) == 1 for names in found)
  assert 70 < found.count(['mirrored']) < 130  # 4 deviations


def test_flip_twice_with_one_key_is_nothing():
  once = apply(transforms.flip, pixels(20))
  assert not np.array_equal(once, pixels(20))
  np.testing.assert_array_equal(apply(transforms.flip, once), pixels(20))


@pytest.mark.parametrize('probability, step', [(0.0, 1), (1.0, -1)])
def test_flip_probability(probability, step):
  result = apply(transforms.flip, pixels(20), probability=probability)
  np.testing.assert_array_equal(result, pixels(20)[:, :, ::step])


def sides(rows, epochs, **keywords):
  """Whether `alternating_flip` mirrors the image of a row in an epoch, bool `[n]`."""
  images = np.stack([pixels()[0]] * len(rows))
  data = {**batch(images), 'row': np.asarray(rows, np.int32),
          'epoch': np.asarray(epochs, np.int32)}
  transform = jax.jit(partial(transforms.alternating_flip, **keywords))
  results = np.asarray(transform(data, KEY)['inputs'])
  mirrored = (results == images[:, :, ::-1]).all((1, 2, 3))
  assert (mirrored ^ (results == images).all((1, 2, 3))).all()
  return mirrored


def test_alternating_flip_shows_the_other_side_in_every_other_epoch():
  rows = np.arange(400)
  first, *later = (sides(rows, np.full(400, epoch)) for epoch in range(4))
  assert 160 < first.sum() < 240  # 4 deviations
  for epoch, found in enumerate(later, 1):
    np.testing.assert_array_equal(found, first ^ (epoch % 2 == 1))


def test_alternating_flip_depends_on_row_epoch_and_seed_alone():
  rows, epochs = np.arange(60)[::-1], np.arange(60) % 3
  whole = sides(np.arange(60), np.zeros(60, int))
  np.testing.assert_array_equal(sides(rows, epochs), whole[rows] ^ (epochs == 1))
  assert not np.array_equal(sides(np.arange(60), np.zeros(60, int), seed=1), whole)


def test_shift_is_pad_and_crop_at_every_offset():
  image = pixels()[0]
  height, width, _ = image.shape
  padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
  candidates = {(i, j): padded[i : i + height, j : j + width]
                for i in range(3) for j in range(3)}
  found = [which(r, candidates)
           for r in apply(transforms.shift, np.stack([image] * 300), pixels=1)]
  assert all(len(names) == 1 for names in found)
  counts = [found.count([name]) for name in candidates]
  assert stats.chisquare(counts).pvalue > 1e-3


def test_shift_that_reflects_at_every_offset():
  image = pixels()[0]
  height, width, _ = image.shape
  padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), 'reflect')
  candidates = {(i, j): padded[i : i + height, j : j + width]
                for i in range(3) for j in range(3)}
  found = [which(r, candidates) for r in apply(
    transforms.shift, np.stack([image] * 300), pixels=1, padding='reflect')]
  counts = [found.count([name]) for name in candidates]
  assert sum(counts) == 300 and stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize('keywords, message', [
  ({'pixels': 1, 'padding': 'mirror'}, "must be 'zeros' or 'reflect', got 'mirror'"),
  ({'pixels': 6, 'padding': 'reflect'}, '7 x 6 cannot be reflected by 6 pixels')])
def test_shift_refuses(keywords, message):
  with pytest.raises(ValueError, match=message):
    apply(transforms.shift, pixels(), **keywords)


def test_shift_by_0_is_nothing():
  np.testing.assert_array_equal(
    apply(transforms.shift, pixels(3), pixels=0), pixels(3))


def test_crop_is_a_window_anywhere():
  image = pixels(height=5, width=6)[0]
  candidates = {(i, j): image[i : i + 4, j : j + 4] for i in range(2) for j in range(3)}
  found = [which(r, candidates)
           for r in apply(transforms.crop, np.stack([image] * 300), size=4)]
  assert all(len(names) == 1 for names in found)
  counts = [found.count([name]) for name in candidates]
  assert stats.chisquare(counts).pvalue > 1e-3


def test_crop_of_all_is_nothing_and_of_more_is_refused():
  images = pixels(2, height=6, width=6)
  np.testing.assert_array_equal(apply(transforms.crop, images, size=6), images)
  with pytest.raises(ValueError, match='size 7 is larger than images of 6 x 6'):
    apply(transforms.crop, images, size=7)


def test_centre_crop():
  images = pixels(2, height=8, width=5)
  np.testing.assert_array_equal(
    apply(transforms.centre_crop, images, size=3), images[:, 2:5, 1:4])
  with pytest.raises(ValueError, match=r'centre_crop: size 6 is larger than .* 8 x 5'):
    apply(transforms.centre_crop, images, size=6)


def by_pillow(image, size, box=None):
  """Pillow's bilinear resizing, smoothed where it shrinks, in float32."""
  planes = [Image.fromarray(plane.astype(np.float32)).resize(
    size[::-1], Image.Resampling.BILINEAR, box) for plane in np.moveaxis(image, -1, 0)]
  return np.stack([np.asarray(plane) for plane in planes], -1)


@pytest.mark.parametrize('size, shape', [(4, (5, 4)), (5, (6, 5)), (13, (16, 13))])
def test_resize_equals_pillow(size, shape):
  images = pixels(2, height=11, width=9, dtype=np.float32)
  result = apply(transforms.resize, images, size=size)
  assert result.shape == (2, *shape, 2)
  expected = [by_pillow(image, shape) for image in images]
  np.testing.assert_allclose(result, expected, atol=1e-3)
  whole = apply(transforms.resize, images.astype(np.uint8), size=size)
  assert whole.dtype == np.uint8
  np.testing.assert_allclose(whole, expected, atol=0.501)


# An image whose two channels hold the row and the column of every pixel, from the
# centre, shows where each output pixel came from; that gives the draw.


def ramp(n, size=9):
  positions = np.stack(np.mgrid[:size, :size], -1) - (size - 1) / 2
  return np.stack([positions.astype(np.float32)] * n)


def origins(transform, n, key=KEY, **keywords):
  """The `[n, 2, 2]` matrices, output place to input place."""
  result = apply(transform, ramp(n), key, **keywords)
  down = (result[:, 6, 4] - result[:, 2, 4]) / 4  # two pixels either side
  right = (result[:, 4, 6] - result[:, 4, 2]) / 4
  return np.stack([down, right], -1)


def angles(n, key=KEY, *, degrees):
  matrices = origins(transforms.rotate, n, key, degrees=degrees)
  return np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))


def reference(image, matrix):
  """scipy's bilinear look-up, with zeros all around."""
  centre = (np.array(image.shape[:2]) - 1) / 2
  return np.stack([
    ndimage.affine_transform(plane.astype(np.float64), matrix,
                             centre - matrix @ centre, order=1, mode='grid-constant')
    for plane in np.moveaxis(image, -1, 0)], -1)


def boxes(n, height=40, width=40, **keywords):
  """(top, left, bottom, right) of what `resized_crop` cuts out, in pixels."""
  image = np.stack(np.mgrid[:height, :width], -1).astype(np.float32) + 0.5
  size = 60  # larger than any box: inside of what is enlarged a ramp stays a ramp
  result = apply(transforms.resized_crop, np.stack([image] * n), size=size, **keywords)
  one, two = result[:, 15, 15], result[:, 44, 44]
  step = (two - one) / 29
  low = one - 15.5 * step
  return np.concatenate([low, low + size * step], -1)


def test_resized_crop_equals_pillow_at_the_box_it_drew():
  images = pixels(6, height=40, width=40, dtype=np.float32)
  for size in (7, 56):  # smaller and larger
    result = apply(transforms.resized_crop, images, size=size)
    for image, box, found in zip(images, boxes(6), result, strict=True):
      top, left, bottom, right = (float(x) for x in np.clip(box, 0, 40))
      expected = by_pillow(image, (size, size), (left, top, right, bottom))
      np.testing.assert_allclose(found, expected, atol=0.05)


def test_resized_crop_draws_boxes_as_torchvision_does():
  height, width, n = 30, 40, 1500
  low, high = np.split(boxes(n, height, width), 2, axis=1)
  assert low.min() > -1e-3 and np.all(high < np.array([height, width]) + 1e-3)
  found = (high - low)[:, 0], (high - low)[:, 1]
  rng, expected = np.random.default_rng(0), []
  while len(expected) < 4000:
    area = rng.uniform(0.08, 1) * height * width
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    size = np.sqrt(area / ratio), np.sqrt(area * ratio)
    if size[0] <= height and size[1] <= width:
      expected.append(size)
  for ours, theirs in zip(found, np.transpose(expected), strict=True):
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
  room = np.array([height, width]) - (high - low)
  fraction = (low / room)[np.all(room > 1, axis=1)]
  for axis in range(2):
    assert stats.kstest(fraction[:, axis], 'uniform').pvalue > 1e-3


def test_a_crop_of_all_of_an_image_is_resized():
  images = pixels(2, height=12, width=12, dtype=np.float32)
  result = apply(transforms.resized_crop, images, size=5, area=(1, 1), aspect=(1, 1))
  np.testing.assert_allclose(
    result, apply(transforms.resize, images, size=5), atol=1e-3)


def test_a_rectangle_that_never_fits_is_cut_to_fit():
  found = boxes(4, aspect=(3.0, 3.0), area=(1.0, 1.0))
  high, wide = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
  np.testing.assert_allclose(high, 40 / np.sqrt(3), rtol=1e-4)
  np.testing.assert_allclose(wide, 40, rtol=1e-4)


@pytest.mark.parametrize('keywords, message', [
  ({'area': (0.0, 1.0)}, 'area: must be 0 < smallest <= largest <= 1'),
  ({'aspect': (2.0, 1.0)}, 'aspect: must be 0 < smallest <= largest')])
def test_resized_crop_refuses(keywords, message):
  with pytest.raises(ValueError, match=message):
    apply(transforms.resized_crop, pixels(), size=4, **keywords)


def test_translate_moves_by_a_fraction_of_each_side():
  images, n = pixels(4, 20, 10, dtype=np.float32), 400
  ramps = np.stack([np.stack(np.mgrid[:20, :10], -1).astype(np.float32)] * n)
  moves = apply(transforms.translate, ramps, fraction=0.2)[:, 10, 5] - [10, 5]
  for axis, most in enumerate((4, 2)):
    assert stats.kstest(moves[:, axis], stats.uniform(-most, 2 * most).cdf
                        ).pvalue > 1e-3
  moves = apply(transforms.translate, ramps[:4], fraction=0.2)[:, 10, 5] - [10, 5]
  for image, move, found in zip(images, moves, apply(
      transforms.translate, images, fraction=0.2), strict=True):
    expected = ndimage.shift(image.astype(float), (*-move, 0), order=1,
                             mode='grid-constant')
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_rotation_angles_are_uniform_in_the_range():
  found = angles(500, degrees=20.0)
  assert stats.kstest(found, stats.uniform(-20, 40).cdf).pvalue > 1e-3
  assert np.abs(found).max() <= 20.001


@pytest.mark.parametrize('shape', [(7, 7), (6, 9)])
def test_rotate_equals_scipy_at_the_angles_it_drew(shape):
  images = pixels(4, *shape, dtype=np.float32)
  matrices = origins(transforms.rotate, 4, degrees=35.0)
  np.testing.assert_allclose(
    matrices @ matrices.swapaxes(1, 2), np.stack([np.eye(2)] * 4), atol=1e-5)
  assert np.linalg.det(matrices) == pytest.approx(1, abs=1e-5)
  expected = [reference(i, m) for i, m in zip(images, matrices, strict=True)]
  result = apply(transforms.rotate, images, degrees=35.0)
  np.testing.assert_allclose(result, expected, atol=2e-3)


@pytest.mark.parametrize('size', [6, 7])
def test_rotate_by_90_degrees_is_rot90(size):
  fraction = angles(1, degrees=10.0)[0] / 10  # of the range, in this draw
  images = pixels(height=size, width=size)
  result = apply(transforms.rotate, images, degrees=90 / float(fraction))
  inner = slice(1, -1)  # rounding may put the outermost positions outside
  turned = [np.rot90(images[0], k)[inner, inner] for k in (1, -1)]
  assert any(np.array_equal(result[0, inner, inner], t) for t in turned)


def test_rotate_by_0_is_nothing():
  np.testing.assert_array_equal(
    apply(transforms.rotate, pixels(2), degrees=0.0), pixels(2))


@pytest.mark.parametrize('factor', [0.5, 1.0, 1.7])
def test_scale_by_a_fixed_factor_equals_scipy(factor):
  images = pixels(2, dtype=np.float32)
  result = apply(transforms.scale, images, low=factor, high=factor)
  expected = [reference(image, np.eye(2) / factor) for image in images]
  np.testing.assert_allclose(result, expected, atol=2e-3)


def test_scale_factors_are_uniform_in_their_logarithm():
  matrices = origins(transforms.scale, 500, low=0.8, high=3.0)
  np.testing.assert_allclose(matrices[:, 0, 0], matrices[:, 1, 1], rtol=1e-4)
  np.testing.assert_allclose(matrices[:, 0, 1], 0, atol=1e-5)
  logs = -np.log(matrices[:, 0, 0])
  low, high = np.log(0.8), np.log(3)
  assert stats.kstest(logs, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize('low, high', [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_scale_refuses(low, high):
  with pytest.raises(ValueError, match='must be 0 < low <= high'):
    apply(transforms.scale, pixels(), low=low, high=high)


def test_resampled_integers_are_rounded_and_do_not_wrap_around():
  images = np.full((4, 8, 8, 1), 255, np.uint8)
  exact = apply(transforms.rotate, images.astype(np.float32), degrees=40.0)
  result = apply(transforms.rotate, images, degrees=40.0)
  np.testing.assert_array_equal(result, np.clip(np.round(exact), 0, 255))
  np.testing.assert_array_equal(result[:, 3:5, 3:5], 255)
