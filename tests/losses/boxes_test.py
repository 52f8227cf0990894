"""Tests of losses.boxes against torchvision's formula."""

import jax
import numpy as np

from bigmodels import losses

RNG = np.random.default_rng(0)


def drawn(count=50):
  corners = RNG.uniform(0, 10, (count, 2))
  return np.concatenate([corners, corners + RNG.uniform(0.5, 8, (count, 2))], -1)


def torchvision(boxes, targets, eps=1e-7):
  """`generalized_box_iou_loss` of torchvision.ops, in NumPy; of x1, y1, x2, y2."""
  x1, y1, x2, y2 = boxes.T
  x1g, y1g, x2g, y2g = targets.T
  xkis1, ykis1 = np.maximum(x1, x1g), np.maximum(y1, y1g)
  xkis2, ykis2 = np.minimum(x2, x2g), np.minimum(y2, y2g)
  both = np.where((ykis2 > ykis1) & (xkis2 > xkis1), (xkis2 - xkis1) * (ykis2 - ykis1),
                  0)
  union = (x2 - x1) * (y2 - y1) + (x2g - x1g) * (y2g - y1g) - both
  iou = both / (union + eps)
  area = (np.maximum(x2, x2g) - np.minimum(x1, x1g)) * (
    np.maximum(y2, y2g) - np.minimum(y1, y1g))
  return 1 - (iou - (area - union) / (area + eps))


def test_giou_is_that_of_torchvision():
  boxes, targets = drawn(), drawn()
  found = losses.giou(boxes.astype(np.float32), targets.astype(np.float32))
  swapped = [1, 0, 3, 2]  # rows and columns
  np.testing.assert_allclose(found, torchvision(boxes[:, swapped], targets[:, swapped]),
                             rtol=1e-4, atol=1e-5)


def test_the_loss_pulls_boxes_together_that_do_not_touch():
  box, target = np.array([0.0, 0, 2, 2]), np.array([8.0, 8, 10, 10])
  gradient = jax.grad(lambda box: losses.giou(box, target))(box)
  assert (np.asarray(gradient)[2:] < 0).all()  # the far corner moves to the target
  assert losses.giou(target, target) == 0
