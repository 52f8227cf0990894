"""Tests of bigmodels.data.transforms.values against NumPy, and the shapes of holes."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from bigmodels.data import transforms
from tests.data.transforms.images import apply, pixels


def test_standardize_is_per_channel_in_float32():
  images, mean, std = pixels(3), [10.0, 100.0], [2.0, 5.0]
  result = apply(transforms.standardize, images, mean=mean, std=std)
  assert result.dtype == np.float32
  np.testing.assert_allclose(result, (images - np.array(mean)) / std, rtol=1e-6)


def test_noise_is_gaussian_of_the_deviation():
  images = pixels(20, dtype=np.uint8)
  result = apply(transforms.noise, images, std=0.3)
  assert result.dtype == np.float32
  added = (result - images).ravel() / 0.3
  assert stats.kstest(added, 'norm').pvalue > 1e-3
  assert added.std() == pytest.approx(1, abs=0.07)  # 4 deviations


def holes(transform, n, side=20, **keywords):
  """bool `[n, side, side]`: what was filled."""
  images = np.ones((n, side, side, 2), np.float32)
  result = apply(transform, images, **keywords)
  assert set(np.unique(result)) <= {0, 1}
  return result[..., 0] == 0


def test_cutout_is_a_square_about_any_pixel():
  for size in (4, 5):
    found = holes(transforms.cutout, 400, 9, size=size)
    centres = []
    for hole in found:
      rows, columns = np.nonzero(hole.any(1))[0], np.nonzero(hole.any(0))[0]
      np.testing.assert_array_equal(hole, hole.any(1)[:, None] & hole.any(0))
      assert 2 <= len(rows) <= size and 2 <= len(columns) <= size
      # The end that is not cut off tells the middle.
      middle = [line[-1] - size // 2 + (size % 2 == 0) if line[0] == 0 else
                line[0] + size // 2 for line in (rows, columns)]
      centres.append(middle)
    counts = np.bincount(np.array(centres)[:, 0], minlength=9)
    assert len(counts) == 9 and stats.chisquare(counts).pvalue > 1e-3
    inner = found.sum((1, 2))
    assert inner.max() == size * size


def test_erase_fills_a_rectangle_of_the_areas_and_aspects_it_is_given():
  found = holes(transforms.erase, 400, 40, probability=1.0, area=(0.1, 0.3),
                aspect=(0.5, 2.0))
  high, wide = found.any(2).sum(1), found.any(1).sum(1)
  np.testing.assert_array_equal(found.sum((1, 2)), high * wide)
  fraction, ratio = high * wide / 1600, np.log(wide / high)
  assert stats.kstest(fraction, stats.uniform(0.1, 0.2).cdf).pvalue > 1e-3
  assert stats.kstest(ratio, stats.uniform(-np.log(2), 2 * np.log(2)).cdf).pvalue > 1e-3


def test_erase_leaves_the_others_as_they_are():
  filled = holes(transforms.erase, 400, probability=0.25).any((1, 2))
  assert 65 < filled.sum() < 135  # 4 deviations


@pytest.mark.parametrize('transform', [
  partial(transforms.cutout, size=4), partial(transforms.erase, probability=1.0)])
def test_holes_of_another_value(transform):
  images = pixels(3, 12, 12)
  result = apply(transform, images, fill=7)
  changed = (result != images).any(-1)
  assert changed.any((1, 2)).all() and np.all(result[changed] == 7)
