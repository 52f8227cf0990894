"""Tests of bigmodels.data.transforms.randaugment against Pillow and scipy."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage, stats

from bigmodels.data import transforms
from bigmodels.data.transforms.randaugment import OPERATIONS

KEY = jax.random.key(0)
CHANCE = np.random.default_rng(0)
# Smooth, as photographs are: values next to each other, some more frequent.
IMAGES = np.clip(128 + 60 * ndimage.gaussian_filter(
  CHANCE.normal(size=(8, 23, 24, 3)), (0, 1, 1, 0)) / 0.3, 20, 240).astype(np.uint8)
FILL = 0.25


def apply(images, key=KEY, **settings):
  transform = jax.jit(partial(transforms.randaugment, **settings))
  return np.asarray(transform({'inputs': images}, key)['inputs'])


def by_pillow(change):
  def changed(image, amount):
    return np.asarray(change(Image.fromarray(image), amount))

  return changed


def by_matrix(matrix, offset=lambda amount, shape: np.zeros(2)):
  """Of output (row, column) to input, about the centre, as scipy looks it up."""
  def changed(image, amount):
    turn = np.array(matrix(amount), float)
    centre = (np.array(image.shape[:2]) - 1) / 2
    start = centre - turn @ centre + offset(amount, np.array(image.shape[:2]))
    planes = [ndimage.affine_transform(
      plane.astype(float), turn, start, order=1, mode='grid-constant',
      cval=FILL * 255) for plane in np.moveaxis(image, -1, 0)]
    return np.round(np.stack(planes, -1))

  return changed


def rotation(amount):
  angle = np.deg2rad(30 * amount)
  return [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]


def enhanced(kind):
  return by_pillow(lambda image, amount: kind(image).enhance(1 + 0.9 * amount))


REFERENCE = {
  'identity': lambda image, amount: image,
  'autocontrast': by_pillow(lambda image, amount: ImageOps.autocontrast(image)),
  'equalize': by_pillow(lambda image, amount: ImageOps.equalize(image)),
  'solarize': by_pillow(lambda image, amount: ImageOps.solarize(
    image, math.ceil(255 * (1 - abs(amount))))),
  'posterize': by_pillow(lambda image, amount: ImageOps.posterize(
    image, 8 - round(4 * abs(amount)))),
  'colour': enhanced(ImageEnhance.Color),
  'contrast': enhanced(ImageEnhance.Contrast),
  'brightness': enhanced(ImageEnhance.Brightness),
  'sharpness': enhanced(ImageEnhance.Sharpness),
  'rotate': by_matrix(rotation),
  'shear_x': by_matrix(lambda amount: [[1, 0], [0.3 * amount, 1]]),
  'shear_y': by_matrix(lambda amount: [[1, 0.3 * amount], [0, 1]]),
  'translate_x': by_matrix(lambda amount: np.eye(2), lambda amount, shape: (
    0, 0.45 * amount * shape[1])),
  'translate_y': by_matrix(lambda amount: np.eye(2), lambda amount, shape: (
    0.45 * amount * shape[0], 0)),
}
# Exact, but where Pillow works in whole numbers between, or cuts off where we round.
EXACT = ('identity', 'equalize', 'solarize', 'posterize')


def test_the_operations_are_those_of_the_paper():
  assert set(REFERENCE) == set(OPERATIONS) and len(OPERATIONS) == 14


@pytest.mark.parametrize('magnitude', [3.0, 10.0])
@pytest.mark.parametrize('name', OPERATIONS)
def test_each_operation_is_that_of_pillow_or_scipy(name, magnitude):
  result = apply(IMAGES, layers=1, magnitude=magnitude, operations=(name,), fill=FILL)
  assert result.dtype == np.uint8
  signs = []
  for image, found in zip(IMAGES, result, strict=True):
    errors = [np.abs(REFERENCE[name](image, sign * magnitude / 10) - found.astype(float)
                     ).max() for sign in (1, -1)]
    assert min(errors) <= (0 if name in EXACT else 2), errors
    signs.append(np.argmin(errors))
  one_way = name in (*EXACT, 'autocontrast')
  assert set(signs) == ({0} if one_way else {0, 1})
  if name != 'identity':
    assert not np.array_equal(result, IMAGES)


def test_equalize_of_one_value_and_of_rare_ones():
  images = np.full((3, 8, 8, 1), 77, np.uint8)
  images[1, :4], images[2, 0, 0] = 30, 200
  result = apply(images, layers=1, operations=('equalize',))
  for image, found in zip(images, result, strict=True):
    expected = ImageOps.equalize(Image.fromarray(image[..., 0]))
    np.testing.assert_array_equal(found[..., 0], expected)


def test_operations_are_drawn_evenly_for_each_image_and_layer():
  images = np.zeros((600, 2, 2, 1), np.float32)
  images[..., 0, 0] = 0.2
  images[..., 1, 0] = 0.6
  # Told apart by what becomes of 0.2: 0.8, 0, and nothing.
  result = apply(images, layers=1, magnitude=10.0,
                 operations=('solarize', 'autocontrast', 'identity'))[:, 0, 0, 0]
  counts = [int(np.isclose(result, value, atol=1e-3).sum()) for value in (0.8, 0, 0.2)]
  assert sum(counts) == 600 and stats.chisquare(counts).pvalue > 1e-3
  twice = apply(images, layers=2, magnitude=10.0, operations=('solarize', 'identity'))
  assert 200 < np.isclose(twice[:, 0, 0, 0], 0.2).sum() < 400  # both, or neither


def test_layers_follow_one_another():
  one = apply(IMAGES, layers=1, operations=('solarize',), magnitude=5.0)
  np.testing.assert_array_equal(
    apply(IMAGES, layers=2, operations=('solarize',), magnitude=5.0),
    apply(one, layers=1, operations=('solarize',), magnitude=5.0))


def test_without_magnitude_nothing_moves():
  moves = tuple(name for name in OPERATIONS if name not in (
    'autocontrast', 'equalize', 'solarize'))
  np.testing.assert_array_equal(apply(IMAGES, magnitude=0.0, operations=moves), IMAGES)


@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'bfloat16'])
@pytest.mark.parametrize('channels', [1, 3])
def test_dtype_and_shape_are_kept(dtype, channels):
  images = jnp.asarray(IMAGES[..., :channels] / 255).astype(dtype)
  found = jax.eval_shape(transforms.randaugment, {'inputs': images}, KEY)['inputs']
  assert (found.dtype, found.shape) == (images.dtype, images.shape)


def test_wrong_settings_are_refused():
  with pytest.raises(ValueError, match='magnitude must be 0 to 10, got 11'):
    apply(IMAGES, magnitude=11.0)
  with pytest.raises(ValueError, match="no operation 'sheer_x'; did you mean 'shear_x"):
    apply(IMAGES, operations=('sheer_x',))
