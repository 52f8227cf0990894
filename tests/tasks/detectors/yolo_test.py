"""Tests of the detector of YOLO: its assignment against a plain loop."""

import jax
import numpy as np
import pytest

from bigmodels.tasks import detectors
from bigmodels.tasks.detectors.yolo import Cells, assign, cells_of
from tests.tasks.detecting import SHAPE, drawn_outputs, iou, truth

DETECTOR = detectors.yolo()
loss = jax.jit(DETECTOR.loss, static_argnums=2)
decode = jax.jit(DETECTOR.decode, static_argnums=1)
OUTPUTS = drawn_outputs(1, {'classes': (3,), 'objects': (1,), 'boxes': (4,)}, 0.7)
for level in OUTPUTS:
  level['boxes'][..., 2:] += 0.8  # boxes of about the sizes of objects
GIVEN = truth(6)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def assigned(cells, image, radius=2.5, top_k=10):
  """Cell -> object of an image and their overlap, by the rule of the paper in loops."""
  points, strides = cells.points, cells.strides
  p = np.sqrt(sigmoid(cells.classes[image]) * sigmoid(cells.objects[image])[:, None])
  takes, costs = {}, {}
  for number in np.flatnonzero(GIVEN.present[image]):
    box, label = GIVEN.boxes[image, number], GIVEN.labels[image, number]
    middle, rows = (box[:2] + box[2:]) / 2, []
    for index in range(len(points)):
      inside = (points[index] > box[:2]).all() and (points[index] < box[2:]).all()
      near = (np.abs(points[index] - middle) < radius * strides[index]).all()
      if inside or near:
        overlap = iou(box, cells.boxes[image, index])
        own = np.arange(3) == label
        cross_entropy = -np.where(own, np.log(p[index]), np.log1p(-p[index])).sum()
        cost = cross_entropy - 3 * np.log(overlap + 1e-8) + 1e5 * (
          not (inside and near))
        rows.append((cost, index, overlap))
    count = max(1, int(sum(sorted((row[2] for row in rows), reverse=True)[:top_k])))
    for cost, index, overlap in sorted(rows)[:count]:
      if cost < costs.get(index, np.inf):
        costs[index], takes[index] = cost, (int(number), overlap)
  return takes


@pytest.fixture(scope='module')
def cells():
  return Cells(*map(np.asarray, jax.jit(cells_of, static_argnums=1)(OUTPUTS, SHAPE)))


def test_boxes_of_cells(cells):
  assert cells.boxes.shape == (3, 8 * 10 + 4 * 5, 4)
  raw = OUTPUTS[1]['boxes'][2, 1, 3]  # of a stride of 8
  index = 80 + 1 * 5 + 3
  middle = np.array([1.5, 3.5]) * 8 + raw[:2] * 8
  np.testing.assert_allclose(cells.boxes[2, index], np.concatenate(
    [middle - np.exp(raw[2:]) * 4, middle + np.exp(raw[2:]) * 4]), rtol=1e-4)
  np.testing.assert_array_equal(cells.points[index], [12, 28])
  assert cells.strides[index] == 8


def test_assignment_is_that_of_a_loop(cells):
  find = jax.jit(jax.vmap(lambda boxes, objects, classes, given: assign(
    Cells(boxes, objects, classes, cells.points, cells.strides), given, radius=2.5,
    top_k=10)))
  taken, of, ious = map(np.asarray, find(
    cells.boxes, cells.objects, cells.classes, GIVEN))
  several = 0
  for image in range(3):
    expected = assigned(cells, image)
    assert {int(i): int(of[image, i]) for i in np.flatnonzero(taken[image])} == {
      index: number for index, (number, _) in expected.items()}
    for index, (_, overlap) in expected.items():
      assert ious[image, index] == pytest.approx(overlap, abs=1e-5)
    several += len(expected) > GIVEN.present[image].sum()
  assert several and not taken[-1].any()


def test_the_losses_are_those_of_a_loop(cells):
  found = loss(OUTPUTS, GIVEN, SHAPE)
  for image in range(3):
    expected = assigned(cells, image)
    objects, classes = sigmoid(cells.objects[image]), sigmoid(cells.classes[image])
    own = np.isin(np.arange(len(objects)), [*expected])
    of_object = -np.where(own, np.log(objects), np.log(1 - objects)).sum()
    of_class = of_box = 0.0
    for index, (number, overlap) in expected.items():
      target = overlap * (np.arange(3) == GIVEN.labels[image, number])
      of_class -= (target * np.log(classes[index]) + (1 - target) * np.log(
        1 - classes[index])).sum()
      box, other = cells.boxes[image, index], GIVEN.boxes[image, number]
      corners = np.minimum(box, other)[:2], np.maximum(box, other)[2:]
      around = np.prod(corners[1] - corners[0])
      sizes = np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])
      union = sizes / (1 + overlap)
      of_box += 5 * (1 - overlap + (around - union) / around)
    assert found.positives[image] == len(expected)
    assert found.parts['objects'][image] == pytest.approx(of_object, rel=1e-3)
    assert found.parts['classes'][image] == pytest.approx(of_class, rel=1e-3, abs=1e-6)
    assert found.parts['boxes'][image] == pytest.approx(of_box, rel=1e-3, abs=1e-6)


def test_scores_are_of_objects_and_classes(cells):
  boxes, scores = decode(OUTPUTS, SHAPE)
  np.testing.assert_allclose(scores, sigmoid(cells.objects)[..., None] * sigmoid(
    cells.classes), rtol=1e-4)
  np.testing.assert_allclose(boxes, cells.boxes, rtol=1e-5)
  assert DETECTOR.iou_threshold == 0.65


def test_wrong_settings():
  with pytest.raises(ValueError, match='radius: must be > 0, got 0'):
    detectors.yolo(radius=0)
  with pytest.raises(ValueError, match='box: must be >= 0 and finite, got nan'):
    detectors.yolo(box=float('nan'))
