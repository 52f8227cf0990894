"""Average precision of boxes as COCO defines it, by pycocotools."""

import contextlib
import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bigmodels.core.boxes import xywh
from bigmodels.core.errors import UserError

_SIZES = ('all', 'small', 'medium', 'large')  # up to 32 x 32, 96 x 96 pixels, and above


class Evaluation(NamedTuple):
  """What COCO's average precision is the mean of.

  Attributes:
    precision: `[10, 101, classes, 4]`, of the intersections over union 0.5, 0.55, ...,
      0.95; at the recalls 0, 0.01, ..., 1; for objects of all sizes, small, medium and
      large ones. NaN where there is no such object.
    recall: the largest recall, `[10, classes, 4]`.
  """

  precision: np.ndarray
  recall: np.ndarray


def detection(outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Computes COCO's metrics of the boxes of all images.

  Args:
    outputs: see `evaluate`; `classes`, int `[]`, if there are more than in any box.

  Returns:
    Name -> number: `ap`, the mean over the intersections over union 0.5 to 0.95;
    `ap50` and `ap75`, at one of these; `ap_small`, `ap_medium` and `ap_large`, by the
    area of an object; `recall`, the mean of the largest recalls; and `ap/N` and
    `ap50/N` of class N. What no object is of is left out.

  Raises:
    UserError: if pycocotools is missing.
  """
  precision, recall = evaluate(outputs)
  values = {'ap': precision[..., 0], 'ap50': precision[0, ..., 0],
            'ap75': precision[5, ..., 0],
            **{f'ap_{name}': precision[..., index]
               for index, name in enumerate(_SIZES) if index},
            'recall': recall[..., 0]}
  for index in range(precision.shape[2]):
    values[f'ap/{index}'] = precision[:, :, index, 0]
    values[f'ap50/{index}'] = precision[0, :, index, 0]
  return {name: float(np.nanmean(value)) for name, value in values.items()
          if np.isfinite(value).any()}


def evaluate(outputs: Mapping[str, np.ndarray]) -> Evaluation:
  """Evaluates the boxes of all images by pycocotools.

  Args:
    outputs: `found_boxes` `[n, k, 4]` in pixels of the original images, see
      `core.boxes`; `found_labels` int `[n, k]`; `found_scores` `[n, k]`, 0 where there
      is no box; `boxes` `[n, objects, 4]`; `labels` int `[n, objects]`; `present`,
      whether there is such a box, and `crowd`, whether it is a group of objects, which
      may be found or not, bool `[n, objects]`; `areas` `[n, objects]`, in pixels.

  Raises:
    UserError: if pycocotools is missing.
  """
  tools = library()
  from pycocotools.cocoeval import COCOeval

  found, present = outputs['found_scores'] > 0, np.asarray(outputs['present'], bool)
  labels, truth = outputs['found_labels'][found], outputs['labels'][present]
  classes = 1 + max([0, *labels.tolist(), *truth.tolist()])
  with contextlib.redirect_stdout(io.StringIO()):
    images = [{'id': image} for image in range(len(found))]
    theirs = _indexed(tools, images, classes, {
      'image_id': np.nonzero(present)[0], 'category_id': truth,
      'bbox': xywh(outputs['boxes'][present]),
      'area': outputs['areas'][present].astype(np.float64),
      'iscrowd': outputs['crowd'][present].astype(int)})
    boxes = xywh(outputs['found_boxes'][found])
    ours = _indexed(tools, images, classes, {
      'image_id': np.nonzero(found)[0], 'category_id': labels, 'bbox': boxes,
      'area': boxes[:, 2] * boxes[:, 3],
      'score': outputs['found_scores'][found].astype(np.float64),
      'iscrowd': np.zeros(len(boxes), int)})
    run = COCOeval(theirs, ours, 'bbox')
    run.params.maxDets = [max(100, outputs['found_scores'].shape[1])]
    run.evaluate()
    run.accumulate()
  precision, recall = run.eval['precision'][..., 0], run.eval['recall'][..., 0]
  return Evaluation(*(np.where(x < 0, np.nan, x) for x in (precision, recall)))


def matches(outputs: Mapping[str, np.ndarray], image: int, iou_threshold: float = 0.5
            ) -> tuple[np.ndarray, np.ndarray]:
  """Matches boxes that were found in an image to objects, the best scores first.

  Each takes the object of its class, of those that are left, that it overlaps most.

  Args:
    outputs: see `evaluate`.
    image: which image.
    iou_threshold: smallest intersection over union of a match.

  Returns:
    The object of each box that was found, int `[k]`; of each object whether it was
    found, bool `[objects]`. -1 is none, and -2 where there is no box; groups of objects
    count as found.
  """
  boxes, truth = outputs['found_boxes'][image], outputs['boxes'][image]
  present = np.asarray(outputs['present'][image], bool)
  crowd = present & np.asarray(outputs['crowd'][image], bool)
  scores, seen = outputs['found_scores'][image], crowd.copy()
  of = np.where(scores > 0, -1, -2)
  start = np.maximum(boxes[:, None, :2], truth[:, :2])
  end = np.minimum(boxes[:, None, 2:], truth[:, 2:])
  both = np.prod(np.maximum(end - start, 0), -1)
  areas, sizes = (np.prod(x[..., 2:] - x[..., :2], -1) for x in (boxes, truth))
  ious = both / np.maximum(areas[:, None] + sizes - both, 1e-9)
  ious = np.where(outputs['found_labels'][image][:, None] == outputs['labels'][image],
                  ious, 0)
  for index in np.argsort(-scores, kind='stable'):
    if of[index] == -2:
      break
    left = np.where(present & ~seen, ious[index], 0)
    best = int(np.argmax(left))
    if left[best] >= iou_threshold:
      of[index], seen[best] = best, True
  return of, seen | ~present


def _indexed(tools, images: list[dict], classes: int, columns: Mapping[str, np.ndarray]
             ) -> object:
  """A `COCO` of annotations."""
  found = tools.COCO()
  rows = zip(*(column.tolist() for column in columns.values()), strict=True)
  found.dataset = {
    'images': images, 'categories': [{'id': index} for index in range(classes)],
    'annotations': [{'id': index, **dict(zip(columns, row, strict=True))}
                    for index, row in enumerate(rows, 1)]}
  found.createIndex()
  return found


def library():
  """Returns the package `pycocotools.coco`.

  Raises:
    UserError: if it is missing.
  """
  try:
    from pycocotools import coco
  except ImportError as error:
    raise UserError(f'average precision needs the package pycocotools ({error}): '
                    'pip install -r requirements-detection.txt') from None
  return coco
