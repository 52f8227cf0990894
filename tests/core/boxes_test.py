"""Tests of core.boxes: overlaps against pixels that are counted."""

import numpy as np
import pytest

from bigmodels.core import boxes


def filled(box, side=24):
  """The pixels of a box of whole numbers."""
  top, left, bottom, right = map(int, box)
  found = np.zeros((side, side), bool)
  found[top:bottom, left:right] = True
  return found


@pytest.fixture(scope='module')
def pairs():
  rng = np.random.default_rng(0)
  corners = rng.integers(0, 16, (2, 40, 2))
  return np.concatenate([corners, corners + rng.integers(1, 9, (2, 40, 2))], -1).astype(
    np.float32)


def test_overlaps_are_those_of_counted_pixels(pairs):
  ours, theirs = pairs
  for name in ('iou', 'giou'):
    expected = []
    for one, other in zip(ours, theirs, strict=True):
      a, b = filled(one), filled(other)
      both, union = (a & b).sum(), (a | b).sum()
      around = filled([*np.minimum(one, other)[:2], *np.maximum(one, other)[2:]]).sum()
      expected.append(both / union - (name == 'giou') * (around - union) / around)
    np.testing.assert_allclose(getattr(boxes, name)(ours, theirs), expected, rtol=1e-5,
                               atol=1e-6)


def test_all_pairs(pairs):
  ours, theirs = pairs
  found = boxes.iou(ours[:, None], theirs)
  assert found.shape == (40, 40)
  np.testing.assert_allclose(np.diag(found), boxes.iou(ours, theirs), rtol=1e-6)


def test_boxes_of_no_area_overlap_nothing():
  point, box = np.array([3.0, 3, 3, 3]), np.array([0.0, 0, 9, 9])
  assert boxes.iou(point, box) == boxes.iou(point, point) == 0
  assert np.isfinite(boxes.giou(point, point))
  assert boxes.area(np.array([5.0, 5, 2, 2])) == 0


def test_centers_and_sizes():
  box = np.array([1.0, 2, 4, 8])
  np.testing.assert_array_equal(boxes.centres(box), [2.5, 5])
  np.testing.assert_array_equal(boxes.sizes(box), [3, 6])
  np.testing.assert_array_equal(
    boxes.of_centres(boxes.centres(box), boxes.sizes(box)), box)
  np.testing.assert_array_equal(
    boxes.clipped(np.array([-3, 2, 40, 8], np.float32), (20, 5)), [0, 2, 20, 5])


def test_xywh_is_left_top_width_and_height():
  found = boxes.xywh(np.float32([[1, 2, 5, 9], [0, 0, 0, 0]]))
  np.testing.assert_array_equal(found, [[2, 1, 7, 4], [0, 0, 0, 0]])
  assert found.dtype == np.float64 and boxes.xywh(np.zeros((0, 4))).shape == (0, 4)
