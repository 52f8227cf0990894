"""Tests of data.EllipseMasks: ellipses of boxes, and what is said of them."""

import dataclasses

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import EllipseMasks
from bigmodels.data.ellipse_masks import ellipses
from tests.data import objects
from tests.data.folders.written import context
from tests.data.tfds import prepared


def test_an_ellipse_fills_pi_quarters_of_its_box_and_touches_its_sides():
  found = ellipses((200, 300), np.array([[0.1, 0.2, 0.85, 0.7]]), np.array([3])) == 3
  assert found.sum() == pytest.approx(np.pi / 4 * 150 * 150, rel=2e-3)
  for axis, (first, last) in ((1, (20, 169)), (0, (60, 209))):
    lines = np.flatnonzero(found.any(axis))
    assert (lines[0], lines[-1]) == (first, last)


@pytest.mark.reference
def test_an_ellipse_is_scikit_images():
  draw = pytest.importorskip('skimage.draw', reason='scikit-image is what this '
                             'compares with')
  found = ellipses((40, 60), np.array([[0.1, 0.2, 0.85, 0.7]]), np.array([3]))
  rows, columns = draw.ellipse(  # pixel centres are whole numbers there
    0.475 * 40 - 0.5, 0.45 * 60 - 0.5, 0.375 * 40, 0.25 * 60)
  expected = np.zeros((40, 60), np.uint8)
  expected[rows, columns] = 3
  np.testing.assert_array_equal(found, expected)


def test_small_boxes_lie_above_large_ones_and_empty_ones_are_nothing():
  boxes = np.array([[0.4, 0.4, 0.6, 0.6], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5],
                    [-0.5, 0.9, 0.1, 1.2]])
  found = ellipses((20, 20), boxes, np.array([1, 2, 3, 4]))
  assert found[10, 10] == 1 and found[10, 2] == 2 and not (found == 3).any()
  assert (found == 4).any()  # clipped to the image


def test_columns(tmp_path):
  objects.write(tmp_path, {'train': 4, 'test': 2}, empty=True)
  asked = context(tmp_path)
  dataset = EllipseMasks('bccd').split('train').open(asked)
  columns = dataset.load()
  assert columns['inputs'].shape == (4, 20, 30, 3)
  assert dataset.classes == ('background', 'RBC', 'WBC', 'Platelets')
  for row in range(4):
    boxes, labels = objects.boxes_of(row)
    np.testing.assert_array_equal(
      columns['labels'][row], ellipses((20, 30), boxes[1:], labels[1:] + 1))
  assert asked.said == [
    'bccd train: 12 ellipses in boxes are masks: weak labels, which nobody has drawn; '
    '4 of no area left out']
  assert dataset.origin.rows == {'bccd/1.0.0 train': range(4)}
  assert EllipseMasks('bccd', 'train[1:3]').open(asked).describe(0) == (
    'bccd train, row 1')
  shapes = EllipseMasks('bccd', 'test').open(dataclasses.replace(
    asked, shapes_only=True))
  assert shapes.shapes_only and shapes.length == 2
  assert {name: x.shape for name, x in shapes.load().items()} == {
    'inputs': (2, 20, 30, 3), 'labels': (2, 20, 30)}


def test_a_dataset_without_boxes(tmp_path):
  prepared.forget()
  prepared.write(tmp_path, {'train': prepared.GOOD})
  with pytest.raises(UserError, match=r'no feature objects/bbox.*; boxes are needed'):
    EllipseMasks('pets').open(context(tmp_path))
