"""Boxes that were found in images: as text, drawn, and as COCO's JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels import plots
from bigmodels.core.boxes import xywh
from bigmodels.plots import style


def texts(classes: Sequence[str] | None, outputs: Mapping[str, np.ndarray]
          ) -> dict[str, list[str]]:
  """Returns the boxes of each image as a JSON list, and their number.

  Args:
    classes: names of the classes, or None.
    outputs: `found_boxes`, `found_labels` and `found_scores` `[n, ...]`.
  """
  found = [[{'class': name, 'score': score, 'bbox': box} for name, score, box in zip(
    *_named(classes, *one), strict=True)] for one in _each(outputs)]
  return {'boxes': [str(len(each)) for each in found],
          'found': [json.dumps(each, ensure_ascii=False) for each in found]}


def draw(classes: Sequence[str] | None, threshold: float, image: np.ndarray,
         outputs: Mapping[str, np.ndarray]) -> np.ndarray:
  """Returns an image with its boxes, uint8 `[height, width, 3]`.

  Args:
    classes: names of the classes, or None.
    threshold: minimum score of a box that is drawn.
    image: uint8 `[height, width, 1 or 3]`.
    outputs: of the image.
  """
  (boxes, labels, scores), = _each({name: x[None] for name, x in outputs.items()})
  kept = np.flatnonzero(scores >= threshold)[::-1]  # the best on top
  names = style.class_names(classes, int(labels.max(initial=0)) + 1)
  return plots.draw_boxes(image, boxes[kept], labels[kept], [
    f'{style.shorten(names[labels[i]], 20)} {scores[i]:.2f}' for i in kept])


def line(threshold: float, outputs: Mapping[str, np.ndarray]) -> str:
  """Returns how many boxes were found, and how many of them are drawn.

  Args:
    threshold: minimum score of a box that is drawn.
    outputs: `[n, ...]`.
  """
  scores = outputs['found_scores']
  found = scores > 0
  return (f'boxes: {found.sum():,} found; {(found & (scores >= threshold)).sum():,} '
          f'drawn, of a score of at least {threshold:g} (--draw_threshold)')


def coco(classes: Sequence[str] | None, names: Sequence[str],
         sizes: Sequence[tuple[int, int]], outputs: Mapping[str, np.ndarray]
         ) -> dict[str, Any]:
  """Returns boxes in the format of COCO, with a `score` for each annotation.

  `data.boxes.Coco` reads it.

  Args:
    classes: names of the classes, or None.
    names: names of the `n` images.
    sizes: their heights and widths.
    outputs: `[n, ...]`.
  """
  annotations, most = [], int(outputs['found_labels'].max(initial=0)) + 1
  for image, (boxes, labels, scores) in enumerate(_each(outputs), 1):
    for label, box, score in zip(labels.tolist(), _rounded(boxes),
                                 _digits(scores), strict=True):
      annotations.append({
        'id': len(annotations) + 1, 'image_id': image, 'category_id': label + 1,
        'bbox': box, 'area': round(box[2] * box[3], 2), 'iscrowd': 0, 'score': score})
  return {
    'images': [{'id': index, 'file_name': name, 'height': int(height),
                'width': int(width)}
               for index, (name, (height, width)) in enumerate(
                 zip(names, sizes, strict=True), 1)],
    'categories': [{'id': index, 'name': name} for index, name in enumerate(
      style.class_names(classes, max(most, len(classes or ()))), 1)],
    'annotations': annotations}


def _each(outputs: Mapping[str, np.ndarray]):
  """Boxes, labels and scores of each image, those that are there."""
  for boxes, labels, scores in zip(
    outputs['found_boxes'], outputs['found_labels'], outputs['found_scores'],
    strict=True):
    there = scores > 0
    yield boxes[there], labels[there], scores[there]


def _named(classes, boxes, labels, scores):
  names = style.class_names(classes, int(labels.max(initial=0)) + 1)
  return [names[label] for label in labels], _digits(scores), _rounded(boxes)


def _rounded(boxes: np.ndarray) -> list[list[float]]:
  """Left, top, width and height of boxes, to a hundredth of a pixel."""
  return np.round(xywh(boxes), 2).tolist()


def _digits(scores: np.ndarray) -> list[float]:
  return np.round(scores.astype(np.float64), 4).tolist()
