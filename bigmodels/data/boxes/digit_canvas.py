"""Handwritten digits at random places of a canvas, with exact boxes."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.boxes.annotations import Annotations, Example, Objects
from bigmodels.data.origins import Origin
from bigmodels.data.scikit import Digits
from bigmodels.data.sources import DataContext

_INK = 4  # of 16: fainter pixels of a digit are left out, so that its edges can be seen
_NOISE = 40  # of 255, the brightest of the background
_TRIES = 20  # to place a digit beside others


@dataclasses.dataclass(frozen=True)
class DigitCanvas:
  """Digits of scikit-learn on canvases: each a function of its split and row.

  A digit is enlarged by a whole number, so that its box, around its ink, is exact. It
  lies on a background of noise, beside the others; boxes touch, but do not overlap.
  Digits of a split are those of the same split of `data.Digits`.

  Attributes:
    counts: split -> number of canvases.
    size: height and width of a canvas.
    digits: smallest and largest number of digits on a canvas; fewer if there is no
      place for more.
    enlarged: smallest and largest factor.
  """

  counts: Mapping[str, int]
  size: tuple[int, int] = (96, 96)
  digits: tuple[int, int] = (1, 5)
  enlarged: tuple[int, int] = (3, 5)

  def __post_init__(self):
    for name, least in (('digits', 0), ('enlarged', 1)):
      low, high = getattr(self, name)
      if not least <= low <= high:
        raise ValueError(f'{name}: must be (smallest, largest), from {least}, got '
                         f'{(low, high)}')
    if min(self.size) < 8 * self.enlarged[1]:
      raise ValueError(f'size: must be >= {8 * self.enlarged[1]}, the largest digit, '
                       f'got {self.size}')
    for split, count in self.counts.items():
      if count < 1:
        raise ValueError(f'counts: {split!r} must be >= 1, got {count}')

  def read(self, split: str, context: DataContext) -> Annotations:
    """Draws the canvases of a split when they are asked for.

    Raises:
      UserError: if there is no such split.
    """
    if split not in self.counts:
      raise UserError(f'no split {split!r}{nearest(split, self.counts)}')
    source = Digits().split(split)
    digits = source.open(context)
    columns = digits.load()
    seed = int.from_bytes(split.encode()[:8], 'little')
    facts = [split, self.counts[split], self.size, self.digits, self.enlarged]
    return Annotations(
      'digits on canvases', self.counts[split], tuple(map(str, range(10))),
      functools.partial(
        _example, columns['inputs'][..., 0], columns['labels'], seed, self.size,
        self.digits, self.enlarged),
      'canvas {}'.format, f'canvases {digests.of_json(facts)}',
      origin=Origin({f'canvases {split}': range(self.counts[split])}))


def _example(digits: np.ndarray, labels: np.ndarray, seed: int, size: tuple[int, int],
             counts: tuple[int, int], enlarged: tuple[int, int], row: int) -> Example:
  rng = np.random.Generator(np.random.Philox(key=[seed, int(row)]))
  canvas = rng.integers(0, _NOISE, size).astype(np.uint8)
  boxes, found = [], []
  for _ in range(int(rng.integers(counts[0], counts[1] + 1))):
    index = int(rng.integers(len(digits)))
    digit = np.where(digits[index] >= _INK, digits[index], 0)
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = int(rng.integers(enlarged[0], enlarged[1] + 1))
    ink = (digit.astype(int) * 255 // 16).astype(np.uint8).repeat(factor, 0).repeat(
      factor, 1)
    for _ in range(_TRIES):
      top, left = (int(rng.integers(0, size[axis] - ink.shape[axis] + 1))
                   for axis in (0, 1))
      box = top, left, top + ink.shape[0], left + ink.shape[1]
      if not any(_overlap(box, other) for other in boxes):
        place = canvas[box[0] : box[2], box[1] : box[3]]
        np.maximum(place, ink, out=place)
        boxes.append(box)
        found.append(int(labels[index]))
        break
  return Example(canvas[..., None], size, Objects(
    np.array(boxes, np.float64).reshape(-1, 4), np.array(found, np.int32)))


def _overlap(box, other) -> bool:
  return box[0] < other[2] and other[0] < box[2] and (
    box[1] < other[3] and other[1] < box[3])
