"""Weak masks: an ellipse in each box of a TFDS dataset of objects."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data import masks
from bigmodels.data.folders.listing import counted
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, in_memory, zeros
from bigmodels.data.tfds import builders, descriptions

_ASSUMED = (480, 640)  # of images of any size, where none is read
_FEATURES = ('bbox', 'label')


@dataclasses.dataclass(frozen=True)
class EllipseMasks:
  """Images of a TFDS dataset, and masks with an ellipse in each of its boxes.

  Nobody has drawn these masks: they are weak labels, about right for round objects such
  as cells. Smaller boxes lie above larger ones. See `data.masks.columns` for what is
  opened; class 0 is the background.

  Attributes:
    name: name of the dataset, with a feature of images and one of objects that have a
      `bbox` and a `label`.
    selected: a split in the notation of TFDS: 'train', 'test', 'train[:90%]'.
    inputs: the feature of images.
    objects: the feature of objects.
  """

  name: str
  selected: str = 'train'
  inputs: str = 'image'
  objects: str = 'objects'

  # What `descriptions` asks of a source: no feature is a column of labels.
  labels = fit = None

  def split(self, name: str) -> 'EllipseMasks':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the images and draws their masks.

    Raises:
      UserError: if the dataset is not prepared, or has no such split or features.
    """
    info, there = builders.described(self.name, context)
    features = descriptions.features(self, info)
    sequence = dict(info.features.items()).get(self.objects)
    objects = getattr(sequence, 'feature', ())
    missing = [name for name in _FEATURES if name not in objects]
    if missing:
      raise UserError(f'{self.name}: has no feature {self.objects}/{missing[0]}'
                      f'{nearest(self.objects, info.features)}; boxes are needed')
    names = getattr(objects['label'], 'names', None)
    if not names:
      raise UserError(f'{self.name}: the labels of {self.objects} have no classes')
    classes = ('background', *names)
    if context.shapes_only:
      return self._shapes(info, there, features[self.inputs].shape, classes, context)
    base, first, last = descriptions.rows(self, info.splits)
    with builders.quiet():
      source = builders.prepared(self.name, context).as_data_source(split=base)
      examples = [source[row] for row in range(first, last)]
    images = [np.array(example[self.inputs]) for example in examples]
    found = [example[self.objects] for example in examples]
    boxes = [np.asarray(each['bbox'], np.float64).reshape(-1, 4) for each in found]
    labels = [np.asarray(each['label'], int).reshape(-1) for each in found]
    drawn = [ellipses(image.shape[:2], b, label + 1)
             for image, b, label in zip(images, boxes, labels, strict=True)]
    every = np.concatenate(boxes)
    empty = int((every[:, 2:] <= every[:, :2]).any(1).sum())
    context.note(
      f'{self.name} {self.selected}: {counted(len(every), "ellipse")} in boxes are '
      'masks: weak labels, which nobody has drawn' + (
        f'; {empty} of no area left out'
        if empty else ''))
    columns = masks.columns(images, drawn, [f'row {row}' for row in range(len(images))])
    return in_memory(columns, classes)._replace(
      describe=lambda row: f'{self.name} {base}, row {first + row}',
      origin=Origin({f'{info.full_name} {base}': range(first, last)}))

  def _shapes(self, info, there: bool, shape: Sequence[int | None],
              classes: tuple[str, ...], context: DataContext) -> Dataset:
    """The split with zeros for its examples."""
    height, width, channels = (
      given or other for given, other in zip(shape, (*_ASSUMED, 3), strict=True))
    length = 100
    if there:
      _, first, last = descriptions.rows(self, info.splits)
      length = last - first
    context.say(f'assumed: {self.name} {self.selected}: {length:,} images of {width} x '
                f'{height} pixels')
    return zeros({'inputs': ('uint8', (height, width, channels)),
                  'labels': ('uint8', (height, width))}, length, classes,
                 f'{info.full_name} {self.selected}',
                 nbytes=length * height * width * (channels + 1))


def ellipses(shape: tuple[int, int], boxes: np.ndarray, classes: np.ndarray
             ) -> np.ndarray:
  """Draws the ellipse in each box; smaller boxes above larger ones.

  A pixel is of an ellipse if its centre is inside.

  Args:
    shape: height and width.
    boxes: top, left, bottom and right, as fractions of height and width, `[k, 4]`.
    classes: what to draw, int `[k]`, below 255.

  Returns:
    uint8 `[height, width]`, 0 for the background.
  """
  mask = np.zeros(shape, np.uint8)
  boxes = np.clip(boxes, 0, 1) * np.tile(shape, 2)
  sizes = boxes[:, 2:] - boxes[:, :2]
  for index in np.argsort(-sizes.prod(1), kind='stable'):
    if (sizes[index] <= 0).any():
      continue
    start = np.floor(boxes[index, :2]).astype(int)
    end = np.ceil(boxes[index, 2:]).astype(int)
    rows, columns = (np.arange(a, b) + 0.5 for a, b in zip(start, end, strict=True))
    middle, radius = (boxes[index, :2] + boxes[index, 2:]) / 2, sizes[index] / 2
    down, right = (rows - middle[0]) / radius[0], (columns - middle[1]) / radius[1]
    window = mask[start[0] : end[0], start[1] : end[1]]
    window[down[:, None] ** 2 + right**2 <= 1] = classes[index]
  return mask
