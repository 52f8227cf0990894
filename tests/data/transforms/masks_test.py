"""Tests of transforms of masks: every pixel has the class that its image shows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from bigmodels.data import transforms

KEY = jax.random.key(3)
N, HEIGHT, WIDTH = 6, 17, 22


def batch():
  """A disc at another place in every image: 200 where the mask is 1, and else 50."""
  rng = np.random.default_rng(0)
  rows, columns = np.mgrid[:HEIGHT, :WIDTH]
  masks = np.array([np.hypot(rows - r, columns - c) < 5.5 for r, c in rng.uniform(
    6, 12, (N, 2))]).astype(np.uint8)
  return {'inputs': np.where(masks, 200, 50).astype(np.uint8)[..., None],
          'labels': masks, 'mask': np.ones(N, np.float32), 'row': np.arange(N),
          'epoch': np.arange(N)}


def moved(*given, key=KEY, **more):
  return jax.tree.map(np.asarray, jax.jit(partial(
    transforms.with_masks, transforms=given))(batch() | more, key))


@pytest.mark.parametrize('transform', [
  transforms.flip, partial(transforms.shift, pixels=4, padding='reflect'),
  partial(transforms.crop, size=9), partial(transforms.rotate, degrees=60),
  *(pytest.param(each, marks=pytest.mark.slow('transforms')) for each in (
    transforms.alternating_flip, partial(transforms.shift, pixels=4),
    partial(transforms.centre_crop, size=11), partial(transforms.resize, size=25),
    partial(transforms.resize, size=9), partial(transforms.translate, fraction=0.3),
    partial(transforms.resized_crop, size=14, area=(0.4, 1.0)),
    partial(transforms.scale, low=0.6, high=1.6)))])
def test_masks_follow_their_images(transform):
  found, before = moved(transform), batch()
  alone = jax.jit(transform)(before, jax.random.fold_in(KEY, 0))['inputs']
  np.testing.assert_array_equal(found['inputs'], alone)  # as without a mask
  image, mask = found['inputs'][..., 0], found['labels']
  assert mask.shape == image.shape and mask.dtype == np.uint8
  assert {*np.unique(mask)} <= {0, 1, 255}
  # Where the image is not interpolated between a disc and what is around it.
  sure = (image == 200) | (image == 50) | (image == 0)
  assert sure.mean() > 0.55
  np.testing.assert_array_equal(
    mask[sure], np.select([image == 200, image == 50], [1, 0], 255)[sure])
  # Between two classes, mostly the one that there is more of.
  between = ~sure & (mask != 255)
  assert not between.any() or (
    (mask == 1) == (image > 125))[between].mean() > 0.75
  assert image.shape != (N, HEIGHT, WIDTH) or (image != before['inputs'][..., 0]).any()


def test_rotations_are_those_of_scipy():
  degrees = 40.0
  found = moved(partial(transforms.rotate, degrees=degrees))
  own = jax.random.fold_in(KEY, 0)
  angles = np.deg2rad(degrees) * np.asarray(
    jax.random.uniform(own, (N,), minval=-1.0, maxval=1.0), np.float64)
  centre = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
  for angle, mask, label in zip(angles, batch()['labels'], found['labels'],
                                strict=True):
    matrix = np.array([[np.cos(angle), -np.sin(angle)],
                       [np.sin(angle), np.cos(angle)]])
    expected = ndimage.affine_transform(
      mask, matrix, centre - matrix @ centre, order=0, mode='constant', cval=255)
    inside = expected != 255  # SciPy leaves out what is half inside
    assert (label[inside] == expected[inside]).mean() > 0.99  # ties are rounded apart
    assert not (label == 255)[ndimage.binary_erosion(inside)].any()
    assert (expected[label == 255] == 255).all()


def test_several_one_after_the_other():
  found = moved(transforms.flip, partial(transforms.crop, size=9))
  sure = jax.jit(lambda b: transforms.crop(transforms.flip(
    b, jax.random.fold_in(KEY, 0)), jax.random.fold_in(KEY, 1), size=9))(
      batch())['inputs']
  np.testing.assert_array_equal(found['inputs'], sure)
  np.testing.assert_array_equal(found['labels'] == 1, sure[..., 0] == 200)


def test_ignored_pixels_and_padding_are_moved_too():
  labels = batch()['labels'].copy()
  labels[:, :, :3] = 255
  inside = np.ones(labels.shape, bool)
  inside[:, 12:] = False
  found = moved(partial(transforms.shift, pixels=5), labels=labels, inside=inside)
  again = moved(partial(transforms.shift, pixels=5),
                labels=np.where(inside, 1, 0).astype(np.uint8))
  np.testing.assert_array_equal(found['inside'], again['labels'] == 1)
  assert (found['labels'] == 255).sum() >= 0.5 * (labels == 255).sum()


def test_the_pixels_around_an_image_are_ignored():
  found = moved(partial(transforms.shift, pixels=5))
  np.testing.assert_array_equal(found['labels'] == 255, found['inputs'][..., 0] == 0)
  assert (found['labels'] == 255).any()
  other = jax.jit(partial(transforms.with_masks, ignore=9, transforms=(
    partial(transforms.shift, pixels=5),)))(batch(), KEY)['labels']
  np.testing.assert_array_equal(other == 9, found['labels'] == 255)


@pytest.mark.parametrize('ignore', [-1, 256])
def test_what_labels_cannot_be_is_not_ignored(ignore):
  with pytest.raises(ValueError, match='ignore must be 0 to 255, as the labels are '
                                       f'uint8, got {ignore}'):
    transforms.with_masks(batch(), KEY, transforms=(transforms.flip,), ignore=ignore)


@pytest.mark.parametrize('transform', [
  partial(transforms.colour, brightness=0.2), transforms.standardize, transforms.mixup])
def test_transforms_of_values_are_refused(transform):
  with pytest.raises(ValueError, match='changes values; transforms must move pixels'):
    transforms.with_masks(batch(), KEY, transforms=(transform,))


@pytest.mark.parametrize('labels, found', [
  (None, 'none'), (np.zeros(N, int), r'int64 \(6,\)'),
  (np.zeros((N, HEIGHT, WIDTH)), 'float64'),
  (np.zeros((N, HEIGHT, 9), int), r'\(6, 17, 9\)')])
def test_labels_that_are_no_masks(labels, found):
  given = batch() | {'labels': labels}
  if labels is None:
    del given['labels']
  with pytest.raises(ValueError, match=rf'labels must be integers .*{found}'):
    transforms.with_masks(given, KEY, transforms=(transforms.flip,))


def test_parts_of_a_batch_are_moved_as_in_the_whole():
  from bigmodels.parallel.random import slice_key

  raw = jax.random.PRNGKey(0)
  transform = jax.jit(partial(transforms.with_masks, transforms=(
    partial(transforms.shift, pixels=4), transforms.flip)))
  whole = transform(batch(), slice_key(raw, 0))
  for part in range(2):
    rows = slice(3 * part, 3 * part + 3)
    found = transform({k: jnp.asarray(v[rows]) for k, v in batch().items()},
                      slice_key(raw, part))
    np.testing.assert_array_equal(found['labels'], whole['labels'][rows])
