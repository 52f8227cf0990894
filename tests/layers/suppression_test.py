"""Tests of layers.suppression: against a plain loop."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels.layers.suppression import suppress


def overlap_of(a, b):
  top, left = np.maximum(a[:2], b[:2])
  bottom, right = np.minimum(a[2:], b[2:])
  both = max(bottom - top, 0) * max(right - left, 0)
  areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
  return both / (sum(areas) - both)


def kept(boxes, scores, labels, overlap, most):
  """The indices that greedy suppression keeps, one box after another."""
  found = []
  for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
    if scores[index] > 0 and not any(
      labels[index] == labels[other]
      and overlap_of(boxes[index], boxes[other]) > overlap for other in found):
      found.append(index)
  return found[:most]


def drawn(seed, images=3, count=40):
  rng = np.random.default_rng(seed)
  corners = rng.uniform(0, 30, (images, count, 2))
  boxes = np.concatenate([corners, corners + rng.uniform(4, 20, corners.shape)], -1)
  scores = rng.choice([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0], (images, count))  # with ties
  return (boxes.astype(np.float32), scores.astype(np.float32),
          rng.integers(0, 2, (images, count)))


@pytest.mark.parametrize('classes', [True, False])
@pytest.mark.parametrize('overlap, most', [(0.5, 40), (0.3, 6), (0.0, 50)])
def test_what_is_kept(overlap, most, classes):
  call = jax.jit(partial(suppress, iou_threshold=overlap, max_boxes=most))
  for seed in range(5):
    boxes, scores, labels = drawn(seed)
    index, there = map(np.asarray, call(boxes, scores, labels if classes else None))
    assert index.shape == there.shape == (3, most)
    for image in range(3):
      given = labels[image] if classes else np.zeros(40)
      expected = kept(boxes[image], scores[image], given, overlap, most)
      assert index[image][there[image]].tolist() == expected
      assert there[image][: len(expected)].all()


def test_an_image_without_boxes_keeps_none():
  boxes, scores, _ = drawn(0)
  _, there = suppress(boxes, 0 * scores, iou_threshold=0.5, max_boxes=5)
  assert not there.any()


@pytest.mark.parametrize('settings, message', [
  ({'iou_threshold': 1.5, 'max_boxes': 3}, 'iou_threshold: must be 0 to 1, got 1.5'),
  ({'iou_threshold': 0.5, 'max_boxes': 0}, 'max_boxes: must be >= 1, got 0')])
def test_wrong_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    suppress(*drawn(0)[:2], **settings)
