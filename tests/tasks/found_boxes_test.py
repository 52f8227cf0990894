"""Tests of tasks.found_boxes: text, drawn boxes, and COCO's JSON."""

import json

import numpy as np
import pytest

from bigmodels.tasks import found_boxes

OUTPUTS = {
  'found_boxes': np.array([[[2, 3, 12, 23], [5, 5, 15, 15], [0, 0, 0, 0]],
                           [[0, 0, 0, 0]] * 3], np.float32),
  'found_labels': np.array([[1, 0, 0], [0, 0, 0]]),
  'found_scores': np.array([[0.9, 0.2, 0], [0, 0, 0]], np.float32)}
CLASSES = ('ball', 'cup')


def test_texts():
  found = found_boxes.texts(CLASSES, OUTPUTS)
  assert found['boxes'] == ['2', '0'] and found['found'][1] == '[]'
  assert json.loads(found['found'][0]) == [
    {'class': 'cup', 'score': 0.9, 'bbox': [3, 2, 20, 10]},
    {'class': 'ball', 'score': 0.2, 'bbox': [5, 5, 10, 10]}]


@pytest.mark.parametrize('threshold, drawn', [(0.0, 2), (0.3, 1), (0.95, 0)])
def test_a_line_counts_boxes_and_those_that_are_drawn(threshold, drawn):
  assert found_boxes.line(threshold, OUTPUTS) == (
    f'boxes: 2 found; {drawn} drawn, of a score of at least {threshold:g} '
    '(--draw_threshold)')


def test_coco():
  found = found_boxes.coco(CLASSES, ['a.png', 'b/c.png'], [(20, 30), (40, 50)], OUTPUTS)
  assert json.loads(json.dumps(found)) == {
    'images': [{'id': 1, 'file_name': 'a.png', 'height': 20, 'width': 30},
               {'id': 2, 'file_name': 'b/c.png', 'height': 40, 'width': 50}],
    'categories': [{'id': 1, 'name': 'ball'}, {'id': 2, 'name': 'cup'}],
    'annotations': [
      {'id': 1, 'image_id': 1, 'category_id': 2, 'bbox': [3, 2, 20, 10], 'area': 200,
       'iscrowd': 0, 'score': 0.9},
      {'id': 2, 'image_id': 1, 'category_id': 1, 'bbox': [5, 5, 10, 10], 'area': 100,
       'iscrowd': 0, 'score': 0.2}]}


def test_drawn_boxes_are_at_their_edges():
  image = np.zeros((40, 50, 1), np.uint8)
  one = {name: x[0] for name, x in OUTPUTS.items()}
  drawn = found_boxes.draw(CLASSES, 0.3, image, one)
  assert drawn.shape == (40, 50, 3)
  lit = drawn.any(-1)
  assert lit[11, 3:23].all() and lit[2:12, 22].all() and lit[2:12, 3].all()
  assert not lit[13:].any() and not lit[:, 23 + 40:].any()  # 0.2 is not drawn
  assert found_boxes.draw(CLASSES, 0.1, image, one)[14, 5:15].any(-1).all()
