"""Tests of metrics.detection against pycocotools on files, and against closed forms."""

import contextlib
import io
import json

import numpy as np
import pytest

from bigmodels import metrics
from bigmodels.metrics.detection import matches

cocotools = pytest.importorskip('pycocotools.coco', reason=(
  'pycocotools is not installed: pip install -r requirements-detection.txt'))
from pycocotools.cocoeval import COCOeval  # noqa: E402

NAMES = ('ap', 'ap50', 'ap75', 'ap_small', 'ap_medium', 'ap_large')


def case(seed):
  """Padded arrays of images with true boxes, and boxes that are near to them or not."""
  rng = np.random.default_rng(seed)
  images, most, k, classes = rng.integers(1, 5), 6, 8, 3
  corners = rng.uniform(0, 200, (images, most, 2))
  boxes = np.concatenate([corners, corners + rng.choice(
    [20.0, 60.0, 150.0], (images, most, 1)) * rng.uniform(
      0.6, 1.4, (images, most, 2))], -1)
  labels = rng.integers(0, classes, (images, most))
  present = rng.uniform(size=(images, most)) < 0.7
  present[0, 0] = True
  near = rng.integers(0, most, (images, k))
  found = np.take_along_axis(boxes, near[..., None], 1) + rng.normal(
    0, rng.choice([1, 6]), (images, k, 4))
  found[..., 2:] = np.maximum(found[..., 2:], found[..., :2] + 1)
  found_labels = np.where(rng.uniform(size=(images, k)) < 0.8, np.take_along_axis(
    labels, near, 1), rng.integers(0, classes, (images, k)))
  scores = rng.uniform(0.05, 1, (images, k)) * (rng.uniform(size=(images, k)) < 0.8)
  areas = np.prod(boxes[..., 2:] - boxes[..., :2], -1) * rng.uniform(
    0.5, 1, (images, most))
  return {'boxes': boxes, 'labels': labels, 'present': present,
          'crowd': present & (rng.uniform(size=(images, most)) < 0.1), 'areas': areas,
          'found_boxes': found, 'found_labels': found_labels, 'found_scores': scores}


def of_files(outputs, folder):
  """pycocotools' own summary, of the files that it reads."""
  images = len(outputs['boxes'])

  def rows(boxes, there):
    for image in range(images):
      for index in np.flatnonzero(there[image]):
        top, left, bottom, right = boxes[image, index].tolist()
        yield image, index, [left, top, right - left, bottom - top]

  truth = {'images': [{'id': 10 + i, 'width': 400, 'height': 400}
                      for i in range(images)],
           'categories': [{'id': 1 + i, 'name': str(i)} for i in range(3)],
           'annotations': [
             {'id': 1 + number, 'image_id': 10 + image, 'bbox': box,
              'category_id': 1 + int(outputs['labels'][image, index]),
              'area': float(outputs['areas'][image, index]),
              'iscrowd': int(outputs['crowd'][image, index])}
             for number, (image, index, box) in enumerate(
               rows(outputs['boxes'], outputs['present']))]}
  found = [{'image_id': 10 + image, 'bbox': box,
            'category_id': 1 + int(outputs['found_labels'][image, index]),
            'score': float(outputs['found_scores'][image, index])}
           for image, index, box in rows(
             outputs['found_boxes'], outputs['found_scores'] > 0)]
  (folder / 'truth.json').write_text(json.dumps(truth))
  (folder / 'found.json').write_text(json.dumps(found))
  with contextlib.redirect_stdout(io.StringIO()):
    theirs = cocotools.COCO(str(folder / 'truth.json'))
    run = COCOeval(theirs, theirs.loadRes(str(folder / 'found.json')), 'bbox')
    run.evaluate()
    run.accumulate()
    run.summarize()
  return run.stats[:6]


@pytest.mark.parametrize('seeds', [
  range(25), pytest.param(range(25, 1000), marks=pytest.mark.slow('compare'))],
  ids=['some', 'many'])
def test_equals_pycocotools_on_files(tmp_path, seeds):
  for seed in seeds:
    outputs = case(seed)
    if not (outputs['found_scores'] > 0).any():
      continue  # pycocotools refuses an empty file
    found = metrics.detection(outputs)
    expected = of_files(outputs, tmp_path)
    for name, value in zip(NAMES, expected, strict=True):
      assert found.get(name, -1) == pytest.approx(value, abs=1e-6), (seed, name)


def test_ranks_of_one_class_are_the_closed_form():
  """Right, wrong, right of three objects: 1 up to a recall of 1/3, then 2/3."""
  boxes = np.array([[[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]], float)
  found = np.array([[[0, 0, 10, 10], [70, 0, 80, 10], [20, 0, 30, 10]]], float)
  outputs = {
    'boxes': boxes, 'labels': np.zeros((1, 3), int), 'present': np.ones((1, 3), bool),
    'crowd': np.zeros((1, 3), bool), 'areas': np.full((1, 3), 100.0),
    'found_boxes': found, 'found_labels': np.zeros((1, 3), int),
    'found_scores': np.array([[0.9, 0.8, 0.7]])}
  found = metrics.detection(outputs)
  # Recalls 0 to 0.33 have precision 1, 0.34 to 0.66 have 2 / 3, of 101.
  assert found['ap50'] == pytest.approx((34 + 33 * 2 / 3) / 101)
  assert found['ap'] == found['ap50'] == found['ap/0'] == found['ap_small']
  assert found['recall'] == pytest.approx(2 / 3)
  assert 'ap_large' not in found


def test_without_boxes_nothing_is_found():
  outputs = case(3) | {'found_scores': np.zeros((len(case(3)['boxes']), 8))}
  assert metrics.detection(outputs)['ap'] == 0


def test_an_image_of_padding_changes_nothing():
  outputs = case(5)
  more = {name: np.concatenate([x, np.zeros_like(x[:1])])
          for name, x in outputs.items()}
  assert metrics.detection(more) == pytest.approx(metrics.detection(outputs))


def test_matches_take_each_object_once():
  outputs = case(0)
  outputs = {name: x[:1] for name, x in outputs.items()}
  outputs |= {'present': np.array([[1, 1, 1, 0, 0, 0]], bool),
              'crowd': np.array([[0, 0, 1, 0, 0, 0]], bool),
              'labels': np.array([[0, 1, 0, 0, 0, 0]])}
  found = outputs['boxes'][:, [0, 0, 1, 3, 0, 0, 0, 0]]
  outputs |= {'found_boxes': found, 'found_labels': np.array([[0, 0, 0, 0] + [0] * 4]),
              'found_scores': np.array([[0.5, 0.9, 0.8, 0.7, 0, 0, 0, 0]])}
  of, seen = matches(outputs, 0)
  # The better of two takes the object; another class and a padded box match nothing.
  assert of.tolist() == [-1, 0, -1, -1, -2, -2, -2, -2]
  assert seen.tolist() == [True, False, True, True, True, True]
