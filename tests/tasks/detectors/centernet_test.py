"""Tests of the detector of CenterNet: its targets against plain loops."""

import jax
import numpy as np
import pytest

from bigmodels.core import boxes as geometry
from bigmodels.tasks import detectors
from bigmodels.tasks.detectors.centernet import peaks, radius
from tests.tasks.detecting import SHAPE, truth

DETECTOR = detectors.centernet()
CELLS = 8, 10  # of a map with a stride of 4
loss = jax.jit(DETECTOR.loss, static_argnums=2)


def perfect(given, scale=10.0):
  """The outputs that give the boxes of a truth, one for each cell."""
  batch = len(given.boxes)
  logits = np.full((batch, *CELLS, 3), -scale, np.float32)
  sizes, offsets = (np.zeros((batch, *CELLS, 2), np.float32) for _ in range(2))
  for image, index in zip(*np.nonzero(given.present), strict=True):
    box = given.boxes[image, index] / 4
    middle = (box[:2] + box[2:]) / 2
    row, column = np.floor(middle).astype(int)
    logits[image, row, column, given.labels[image, index]] = scale
    sizes[image, row, column] = box[2:] - box[:2]
    offsets[image, row, column] = middle - [row, column]
  return {'centres': logits, 'sizes': sizes, 'offsets': offsets}


@pytest.mark.parametrize('overlap', [0.3, 0.7, 0.9])
def test_within_the_radius_boxes_overlap_enough(overlap):
  rng = np.random.default_rng(0)
  sizes = rng.uniform(2, 60, (30, 2)).astype(np.float32)
  far = np.asarray(radius(sizes, overlap))
  box = np.concatenate([0 * sizes, sizes], -1)
  least = np.ones(30)
  for start in (-1, 1):
    for end in (-1, 1):
      moved = box + far[:, None] * [start, start, end, end]
      least = np.minimum(least, geometry.iou(box, moved))
  np.testing.assert_allclose(least, overlap, atol=1e-3)  # and no further than that


def test_peaks_are_the_gaussians_of_a_loop():
  given = truth(0)
  rng = np.random.default_rng(1)
  cells = rng.integers(0, 8, (*given.labels.shape, 2))
  radii = rng.uniform(0.5, 6, given.labels.shape).astype(np.float32)
  found = np.asarray(jax.jit(peaks, static_argnums=3)(cells, radii, given, (*CELLS, 3)))
  expected = np.zeros((len(cells), *CELLS, 3))
  for image, index in zip(*np.nonzero(given.present), strict=True):
    deviation = max(radii[image, index], 1) / 3
    for row in range(CELLS[0]):
      for column in range(CELLS[1]):
        square = ((cells[image, index] - [row, column]) ** 2).sum()
        label = given.labels[image, index]
        expected[image, row, column, label] = max(
          expected[image, row, column, label], np.exp(-square / (2 * deviation**2)))
  np.testing.assert_allclose(found, expected, atol=1e-6)
  assert (found == 1).any()


def test_perfect_outputs_have_no_loss_and_give_the_boxes():
  given = truth(1)
  outputs = perfect(given, 20.0)
  found = loss(outputs, given, SHAPE)
  np.testing.assert_allclose(found.parts['sizes'], 0, atol=1e-5)
  np.testing.assert_allclose(found.parts['offsets'], 0, atol=1e-5)
  assert np.asarray(found.parts['centres']).max() < 1e-4
  np.testing.assert_array_equal(found.positives, given.present.sum(1))
  boxes, scores = jax.jit(DETECTOR.decode, static_argnums=1)(outputs, SHAPE)
  for image in range(len(given.boxes)):
    index, label = np.nonzero(np.asarray(scores)[image] > 0.5)
    got = {(*np.round(box, 3).tolist(), int(c)) for box, c in zip(
      np.asarray(boxes)[image, index], label, strict=True)}
    there = given.present[image]
    want = {(*np.round(box, 3).tolist(), int(c)) for box, c in zip(
      given.boxes[image, there], given.labels[image, there], strict=True)}
    assert got == want


def test_the_losses_are_those_of_a_loop():
  given, rng = truth(2), np.random.default_rng(3)
  outputs = {name: rng.normal(size=x.shape).astype(np.float32)
             for name, x in perfect(given).items()}
  found = loss(outputs, given, SHAPE)
  sizes, offsets = (np.zeros(len(given.boxes)) for _ in range(2))
  for image, index in zip(*np.nonzero(given.present), strict=True):
    box = given.boxes[image, index] / 4
    middle = (box[:2] + box[2:]) / 2
    row, column = np.floor(middle).astype(int)
    sizes[image] += np.abs(outputs['sizes'][image, row, column]
                           - (box[2:] - box[:2])).sum()
    offsets[image] += np.abs(outputs['offsets'][image, row, column]
                             - (middle - [row, column])).sum()
  np.testing.assert_allclose(found.parts['sizes'], 0.1 * sizes, rtol=1e-4)
  np.testing.assert_allclose(found.parts['offsets'], offsets, rtol=1e-4)


def test_absent_boxes_change_nothing():
  given = truth(2)
  other = given._replace(
    boxes=np.where(given.present[..., None], given.boxes, 9.0).astype(np.float32),
    labels=np.where(given.present, given.labels, 2))
  outputs = perfect(truth(3))
  ours, theirs = (loss(outputs, each, SHAPE) for each in (given, other))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_wrong_min_iou():
  with pytest.raises(ValueError, match='min_iou: must be > 0 and < 1, got 1'):
    detectors.centernet(min_iou=1)
  for name in ('size', 'offset'):
    with pytest.raises(ValueError, match=f'{name}: must be >= 0 and finite, got -1'):
      detectors.centernet(**{name: -1})
