"""Tests of bigmodels.data.test_time against slices written out."""

import jax
import numpy as np
import pytest

from bigmodels.data import test_time

IMAGES = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)


def same(actual, expected):
  np.testing.assert_array_equal(actual, expected)


def test_moved_is_a_cut_out_of_the_reflected_image():
  padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), 'reflect')
  same(test_time.moved(IMAGES, down=1, right=-2), padded[:, 1:6, 4:11])
  same(test_time.moved(IMAGES, down=1, right=-2, mirror=True), padded[:, 1:6, 10:3:-1])
  same(test_time.moved(IMAGES, down=0, right=0), IMAGES)


def test_windows():
  same(test_time.window(IMAGES, size=4), IMAGES[:, 0:4, 1:5])
  same(test_time.window(IMAGES, size=3, down=1.0, right=0.0), IMAGES[:, 2:, :3])
  same(test_time.window(IMAGES, size=3, mirror=True), IMAGES[:, 1:4, 4:1:-1])
  with pytest.raises(ValueError, match='size must be 1 to 5, for images of 5 x 7'):
    test_time.window(IMAGES, size=6)


def test_ten_windows_are_those_of_krizhevsky():
  found = {np.asarray(view).tobytes() for _, view in test_time.ten_crop(IMAGES, size=3)}
  cuts = [IMAGES[:, i : i + 3, j : j + 3]
          for i, j in ((0, 0), (0, 4), (2, 0), (2, 4), (1, 2))]
  assert found == {cut.tobytes() for c in cuts for cut in (c, c[:, :, ::-1])}


def test_mirrored_and_moved_are_the_six_of_airbench():
  padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)), 'reflect')
  cuts = [IMAGES, padded[:, :5, :7], padded[:, 2:, 2:]]
  views = test_time.mirrored_and_moved(IMAGES)
  found = [np.asarray(view).tobytes() for _, view in views]
  assert [weight for weight, _ in views] == [2, 2, 1, 1, 1, 1]
  assert set(found) == {cut.tobytes() for c in cuts for cut in (c, c[:, :, ::-1])}
  assert set(found[:2]) == {IMAGES.tobytes(), IMAGES[:, :, ::-1].tobytes()}


def test_views_of_every_dtype_and_under_jit():
  for each in (test_time.mirrored, test_time.mirrored_and_moved, test_time.ten_crop):
    for _, view in jax.eval_shape(each, IMAGES.astype(np.uint8)):
      assert view.dtype == np.uint8
  (_, whole), (_, other) = test_time.mirrored(IMAGES)
  np.testing.assert_array_equal(whole, IMAGES)
  np.testing.assert_array_equal(other, IMAGES[:, :, ::-1])
