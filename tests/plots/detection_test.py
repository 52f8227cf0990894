"""Tests of plots.detection."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots.rendering import render

BOXES = np.array([[[2, 2, 10, 10], [20, 4, 30, 12]], [[0, 0, 8, 8], [0, 0, 0, 0]]])
OUTPUTS = {  # one object is missed; one box is right, another wrong and unsure
  'boxes': BOXES, 'labels': np.array([[0, 1], [1, 0]]),
  'present': np.array([[True, True], [True, False]]),
  'found_boxes': np.array([[[2, 2, 10, 11], [0, 30, 9, 39]], BOXES[1]]),
  'found_labels': np.array([[0, 1], [1, 0]]),
  'found_scores': np.array([[0.9, 0.4], [0.8, 0.0]]), 'scales': np.full((2, 2), 2.0)}
FOUND, SEEN = [np.array([0, -1]), np.array([0, -2])], [
  np.array([True, False]), np.array([True, True])]
INPUTS = plots.Inputs(lambda rows: np.zeros((len(rows), 64, 80, 1), np.uint8),
                      lambda rows: [{'picture': f'photo {row}'} for row in rows])


@pytest.mark.parametrize('threshold, wrong, count', [
  (0.0, 1, 4), (0.3, 1, 4), (0.5, 0, 3)])
def test_boxes_of_a_score_are_drawn_and_count(threshold, wrong, count):
  precision = np.linspace(1, 0, 101)[None, :, None, None] * np.ones((10, 1, 2, 4))
  drawn = render(plots.detection(
    OUTPUTS, INPUTS, ('cat', 'dog'), precision=precision, found=FOUND, seen=SEEN,
    draw_threshold=threshold))
  first, second, *_ = drawn['True and found boxes'].axes
  assert first.get_title(loc='left') == f'photo 0\n1 missed, {wrong} wrong'
  assert second.get_title(loc='left') == 'photo 1\nall found'
  assert len(first.patches) == count and len(second.patches) == 2
  assert first.patches[0].get_bbox().extents.tolist() == [4, 4, 20, 20]  # times 2
  worst = [axes for axes in drawn['Worst misses'].axes if axes.get_visible()]
  assert [axes.get_title(loc='left') for axes in worst] == [
    f'photo 0\n1 missed, {wrong} wrong']
  labels = [text.get_text() for text in
            drawn['Precision and recall'].axes[0].get_legend().get_texts()]
  assert labels == ['cat, 0.500', 'dog, 0.500']


def test_a_box_is_framed_at_its_edges():
  image = np.full((20, 30, 1), 9, np.uint8)
  found = plots.draw_boxes(image, np.array([[3, 4, 15, 21.0]]), np.array([0]), [''])
  changed = (found != 9).any(-1)
  expected = np.zeros((20, 30), bool)
  expected[3:15, 4:21] = True
  expected[4:14, 5:20] = False
  np.testing.assert_array_equal(changed, expected)
