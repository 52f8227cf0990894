"""Objects in small images, for the tests of detectors."""

import numpy as np

from bigmodels.tasks.detectors import Truth

SHAPE = 32, 40


def truth(seed, images=3, most=4) -> Truth:
  """Boxes of three classes with centers in different cells of 4 pixels."""
  rng = np.random.default_rng(seed)
  boxes = np.zeros((images, most, 4), np.float32)
  for image in range(images):
    cells = rng.permutation(8 * 10)[:most]
    middles = np.stack([cells // 10, cells % 10], -1) * 4 + rng.uniform(0.5, 3.5, (
      most, 2))
    sizes = rng.uniform(4, 16, (most, 2))
    boxes[image] = np.concatenate([middles - sizes / 2, middles + sizes / 2], -1)
  present = np.arange(most) < rng.integers(1, most + 1, images)[:, None]
  present[-1] = False  # an image without objects
  return Truth(np.where(present[..., None], boxes, 0), np.where(
    present, rng.integers(0, 3, (images, most)), 0), present)


def drawn_outputs(seed, features, scale=1.0):
  """Outputs of maps with the strides 4 and 8: name -> features of a cell."""
  rng = np.random.default_rng(seed)
  return tuple({name: (scale * rng.normal(size=(3, *size, *shape))).astype(np.float32)
                for name, shape in features.items()} for size in ((8, 10), (4, 5)))


def iou(box, other) -> float:
  """The intersection over union of two boxes."""
  start, end = np.maximum(box, other)[:2], np.minimum(box, other)[2:]
  both = np.prod(np.maximum(end - start, 0))
  areas = [np.prod(each[2:] - each[:2]) for each in (box, other)]
  return float(both / (sum(areas) - both))


def painted(given: Truth) -> dict[str, np.ndarray]:
  """A batch of images in which objects are bright in the channel of their class."""
  images = len(given.boxes)
  inputs = np.zeros((images, *SHAPE, 3), np.float32)
  for image, index in zip(*np.nonzero(given.present), strict=True):
    top, left, bottom, right = np.maximum(
      np.round(given.boxes[image, index]), 0).astype(int)
    inputs[image, top:bottom, left:right, given.labels[image, index]] = 1
  return {
    'inputs': inputs, 'boxes': given.boxes, 'labels': given.labels,
    'present': given.present, 'crowd': np.zeros_like(given.present),
    'areas': np.ones(given.labels.shape, np.float32),
    'mask': np.ones(images, np.float32)}
