"""Tests of transforms of images with boxes: a drawn rectangle stays under its box."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels.data import transforms

SHAPE = (32, 40)
mosaic = jax.jit(transforms.mosaic)
TRANSFORMS = {
  'flip': (transforms.flip, 0),
  'alternating_flip': (transforms.alternating_flip, 0),
  'shift': (partial(transforms.shift, pixels=6), 0),
  'crop': (partial(transforms.crop, size=24), 0),
  'centre_crop': (partial(transforms.centre_crop, size=24), 0),
  'translate': (partial(transforms.translate, fraction=0.3), 1),
  'scale': (partial(transforms.scale, low=0.6, high=1.6), 1),
  'resize': (partial(transforms.resize, size=48), 1),
  'resized_crop': (partial(transforms.resized_crop, size=32, area=(0.4, 1.0)), 1.6),
  'mosaic': (mosaic, 0),
  'colour': (partial(transforms.colour, brightness=0.1), 0),
}


def drawn(seed, count=8):
  """Images with two bright rectangles each, of different channels, and their boxes."""
  rng = np.random.default_rng(seed)
  inputs = np.zeros((count, *SHAPE, 2), np.uint8)
  boxes = np.zeros((count, 3, 4), np.float32)
  for row in range(count):
    for index in range(2):
      top, left = rng.integers(0, 20), rng.integers(0, 26)
      bottom, right = top + rng.integers(6, 12), left + rng.integers(6, 13)
      inputs[row, top:bottom, left:right, index] = 200
      boxes[row, index] = top, left, bottom, right
  labels = np.broadcast_to(np.array([0, 1, 0], np.int32), (count, 3))
  present = np.broadcast_to(np.array([True, True, False]), (count, 3))
  return {'inputs': inputs, 'boxes': boxes, 'labels': labels, 'present': present,
          'crowd': np.zeros((count, 3), bool), 'areas': np.ones((count, 3), np.float32),
          'mask': np.ones(count, np.float32), 'row': np.arange(count),
          'epoch': np.zeros(count, np.int32)}


@pytest.mark.parametrize('name', TRANSFORMS)
def test_a_rectangle_stays_under_its_box(name):
  transform, tolerance = TRANSFORMS[name]
  before = drawn(1)
  batch = jax.tree.map(np.asarray, jax.jit(transform)(before, jax.random.PRNGKey(3)))
  shape, moved, checked = batch['inputs'].shape[1:3], False, 0
  for row in range(len(batch['inputs'])):
    present = batch['present'][row]
    boxes, labels = batch['boxes'][row][present], batch['labels'][row][present]
    assert (boxes >= 0).all() and (boxes <= [*shape, *shape]).all()
    for channel in range(2):
      bright = batch['inputs'][row, ..., channel] > 95
      of_class = boxes[labels == channel]
      covered = np.zeros(shape, bool)
      for top, left, bottom, right in of_class:
        window = bright[round(top) : round(bottom), round(left) : round(right)]
        # A box is full, up to pixels at its edge that are blended.
        assert window.mean() >= (1 if tolerance == 0 else 0.75)
        low, high = np.floor([top, left]), np.ceil([bottom, right])
        grown = [*(low - np.ceil(tolerance)), *(high + np.ceil(tolerance))]
        grown = np.maximum(grown, 0).astype(int)
        covered[grown[0] : grown[2], grown[1] : grown[3]] = True
        checked += 1
      if len(of_class) and name != 'mosaic' and bright.any():
        assert not (bright & ~covered).any()  # and nothing is outside of it
        rows, columns = np.nonzero(bright)
        found = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        np.testing.assert_allclose(of_class[0], found, atol=tolerance + 1e-3)
    moved |= not np.array_equal(batch['boxes'][row][:3], before['boxes'][row])
  assert checked >= 8 and moved == (name != 'colour')


def test_a_box_that_leaves_the_image_is_dropped():
  batch = drawn(0, 4)
  batch['boxes'][:, 0] = 0, 0, 10, 10
  batch['boxes'][:, 1] = 20, 20, 30, 30
  found = transforms.centre_crop(batch, None, size=14)  # rows 9 to 23, columns 13 to 27
  assert not np.asarray(found['present'])[:, 0].any()
  assert not np.asarray(found['present'])[:, 1].any()  # 3 of 10 rows, 7 of 10 columns
  np.testing.assert_array_equal(found['boxes'], 0)
  found = transforms.centre_crop(batch, None, size=20)  # 6 to 26, 10 to 30
  np.testing.assert_array_equal(found['present'][0], [False, True, False])
  np.testing.assert_array_equal(found['boxes'][0, 1], [14, 10, 20, 20])


def test_a_mosaic_has_the_parts_of_four_images():
  batch = drawn(2)
  found = jax.tree.map(np.asarray, mosaic(batch, jax.random.PRNGKey(0)))
  assert found['boxes'].shape == (8, 12, 4) and found['crowd'].shape == (8, 12)
  # All that is bright is in a box of its class, but for boxes that were mostly cut.
  outside = 0
  for row in range(8):
    for channel in range(2):
      bright = found['inputs'][row, ..., channel] > 0
      for top, left, bottom, right in found['boxes'][row][
          found['present'][row] & (found['labels'][row] == channel)].astype(int):
        bright[top:bottom, left:right] = False
      outside += bright.sum()
  assert outside < 0.05 * (found['inputs'] > 0).sum()
  sums = found['present'].sum(1)
  assert sums.max() > 3  # of several images


def test_a_batch_divided_in_groups_has_the_same_mosaics():
  batch, key = drawn(3), jax.random.PRNGKey(1)
  from bigmodels.parallel.random import slice_key

  whole = mosaic(batch, key)
  for part in range(2):
    rows = slice(4 * part, 4 * part + 4)
    found = mosaic({k: v[rows] for k, v in batch.items()}, slice_key(key, part))
    for name in ('inputs', 'boxes', 'present'):
      np.testing.assert_array_equal(found[name], np.asarray(whole[name])[rows], name)


def test_masked_images_are_in_no_mosaic():
  batch = drawn(3) | {'mask': np.array([1, 1, 1, 0, 1, 1, 1, 1], np.float32)}
  found = mosaic(batch, jax.random.PRNGKey(1))
  np.testing.assert_array_equal(found['inputs'][:4], batch['inputs'][:4])
  np.testing.assert_array_equal(found['boxes'][:4, :3], batch['boxes'][:4])
  assert not np.asarray(found['present'])[:4, 3:].any()


@pytest.mark.parametrize('transform, message', [
  (partial(transforms.rotate, degrees=5), 'rotate: does not move boxes'),
  (transforms.dihedral, 'dihedral: does not move boxes'),
  (partial(transforms.paired_crop, size=8), 'paired_crop: does not move boxes'),
  (partial(transforms.mixup, num_outputs=2), 'mixup: does not move .* use mosaic'),
  (partial(transforms.cutmix, num_outputs=2), 'cutmix: does not move .* use mosaic'),
  (transforms.randaugment, 'randaugment: does not move boxes'),
  (partial(transforms.shift, pixels=2, padding='reflect'), 'use padding=zeros')])
def test_what_does_not_move_boxes_refuses_them(transform, message):
  with pytest.raises(ValueError, match=message):
    transform(drawn(0), jax.random.PRNGKey(0))


def test_a_mosaic_needs_groups_of_four_and_boxes():
  with pytest.raises(ValueError, match='four must divide the batch on each device'):
    transforms.mosaic(drawn(0, 6), jax.random.PRNGKey(0))
  batch = drawn(0)
  del batch['boxes']
  with pytest.raises(ValueError, match="mosaic: needs the column 'boxes'"):
    transforms.mosaic(batch, jax.random.PRNGKey(0))
