"""Tests of transforms of pairs: where windows lie, and the ways to turn them."""

import jax
import numpy as np
import pytest

from bigmodels.data import transforms

SCALE = 3
SIZES = ((9, 7), (4, 12), (9, 12), (3, 3))


def batch(count=1):
  """Pixels that tell where they are: 1 + 16 * row + column of the smaller image.

  The larger image has the same values as the pixel that it enlarges; padding is 0.
  """
  place = 1 + 16 * np.arange(9)[:, None] + np.arange(12)
  inside = np.array([(np.arange(9)[:, None] < h) & (np.arange(12) < w)
                     for h, w in SIZES * count])
  inputs = np.where(inside, place, 0).astype(np.uint8)[..., None]
  labels = inputs.repeat(SCALE, 1).repeat(SCALE, 2)
  return {'inputs': inputs, 'labels': labels, 'inside': inside}


def check_aligned(found):
  np.testing.assert_array_equal(
    found['labels'], found['inputs'].repeat(SCALE, 1).repeat(SCALE, 2))
  np.testing.assert_array_equal(found['inside'], found['inputs'][..., 0] > 0)


def test_windows_lie_in_the_images_everywhere():
  count = 600
  found = jax.tree.map(np.asarray, jax.jit(
    lambda b, key: transforms.paired_crop(b, key, size=4))(
      batch(count), jax.random.key(0)))
  assert found['inputs'].shape == (4 * count, 4, 4, 1)
  assert found['labels'].shape == (4 * count, 12, 12, 1)
  check_aligned(found)
  for index, (height, width) in enumerate(SIZES):
    windows = found['inputs'][index::4, ..., 0]
    inside = found['inside'][index::4]
    whole = min(height, 4) * min(width, 4)
    assert (inside.sum((1, 2)) == whole).all()  # no padding in place of the image
    corners = windows[:, 0, 0] - 1
    places = {(int(c) // 16, int(c) % 16) for c in corners}
    assert places == {(r, c) for r in range(max(height - 4, 0) + 1)
                      for c in range(max(width - 4, 0) + 1)}
    for window, corner in zip(windows, corners, strict=True):
      expected = 1 + corner + 16 * np.arange(4)[:, None] + np.arange(4)
      real = window > 0
      np.testing.assert_array_equal(window[real], expected[real])


@pytest.mark.parametrize('padded', [True, False])
def test_masks_are_cropped_and_turned_with_their_images(padded):
  given = batch(2)
  given['labels'] = given['inputs'][..., 0].astype(np.uint8)  # no channels
  if not padded:
    del given['inside']
  found = jax.tree.map(np.asarray, jax.jit(lambda b, key: transforms.dihedral(
    transforms.paired_crop(b, key, size=4), key))(given, jax.random.key(0)))
  assert found.keys() == given.keys() and found['labels'].shape == (8, 4, 4)
  np.testing.assert_array_equal(found['labels'], found['inputs'][..., 0])
  if padded:
    np.testing.assert_array_equal(found['inside'], found['labels'] > 0)


def test_a_window_is_a_function_of_the_key():
  cut = jax.jit(lambda key: transforms.paired_crop(batch(5), key, size=3)['inputs'])
  one, again, other = (cut(jax.random.key(seed)) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, again)
  assert (one != other).any()


def test_the_eight_symmetries():
  square = {name: x[:1, :side, :side].repeat(400, 0) for (name, x), side in zip(
    batch().items(), (4, 4 * SCALE, 4), strict=True)}
  found = jax.tree.map(np.asarray, jax.jit(transforms.dihedral)(
    square, jax.random.key(1)))
  check_aligned(found)
  image = square['inputs'][0, ..., 0]
  expected = [turn for k in range(4) for turn in (
    np.rot90(image, k), np.rot90(image, k)[:, ::-1])]
  counts = [int((found['inputs'][..., 0] == each).all((1, 2)).sum())
            for each in expected]
  assert sum(counts) == 400 and min(counts) > 25  # 50 expected


@pytest.mark.parametrize('call, message', [
  (lambda b, k: transforms.paired_crop(b, k, size=10),
   'size 10 is above that of all images, which have at most 12 x 9 pixels'),
  (lambda b, k: transforms.paired_crop(b, k, size=0), 'size must be an integer >= 1'),
  (transforms.dihedral, 'must be square, got 12 x 9; crop them before'),
  (lambda b, k: transforms.dihedral({'inputs': b['inputs']}, k),
   "dihedral: needs the column 'labels', the batch has inputs")])
def test_what_cannot_be_cut(call, message):
  with pytest.raises(ValueError, match=message):
    call(batch(), jax.random.key(0))
