"""Handwritten digits on canvases, with the class of each pixel."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data import images
from bigmodels.data.scikit import Digits
from bigmodels.data.sources import DataContext, Dataset, in_memory

_INK = 240  # of 255, the brightest of a digit
_NOISE = 60  # of 255, the brightest of the background
_LEAST, _MOST = 1.5, 3.0  # how many times digits are enlarged
_SIDE = 8  # pixels of a digit
_TRIES = 10  # to place a digit beside others


@dataclasses.dataclass(frozen=True)
class DigitMasks:
  """Scikit-learn's digits at random places and sizes, and exact masks of them.

  A canvas has from one to `digits` digits on noise, each enlarged by a bilinear filter
  1.5 to 3 times, beside the others. A pixel that is at least half as bright as the
  brightest ink has the class of its digit, others are `background`. Canvases of a split
  are made of the digits of this split of `Digits`, the same on every machine.

  Opened: `inputs` uint8 `[n, size, size, 1]`; `labels` uint8 `[n, size, size]`, 0 for
  the background and 1 to 10 for the digits 0 to 9.

  Attributes:
    counts: split -> number of canvases.
    size: height and width of a canvas, in pixels, at least 24.
    digits: largest number of digits on a canvas; there are fewer without a place for
      more.
    selected: the split that `open` gives.
  """

  counts: Mapping[str, int] = dataclasses.field(
    default_factory=lambda: {'train': 2000, 'test': 400})
  size: int = 64
  digits: int = 5
  selected: str = 'train'

  def __post_init__(self):
    least = int(_SIDE * _MOST)
    for name, value, smallest in (('size', self.size, least), ('digits', self.digits, 1)
                                  ):
      if type(value) is not int or value < smallest:
        raise ValueError(f'{name}: must be an integer >= {smallest}, got {value!r}')
    for split, count in self.counts.items():
      if type(count) is not int or count < 1:
        raise ValueError(f'counts: that of {split!r} must be an integer >= 1, got '
                         f'{count!r}')

  def split(self, name: str) -> 'DigitMasks':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Makes the canvases of the split.

    Raises:
      UserError: if there is no such split.
    """
    if self.selected not in self.counts:
      raise UserError(
        f'no split {self.selected!r}{nearest(self.selected, self.counts)}')
    digits = Digits().split(self.selected).open(context)
    count, columns = self.counts[self.selected], digits.load()
    # The raw stream of a bit generator is the same in all releases of NumPy.
    stream = np.random.Philox(key=int.from_bytes(self.selected.encode()[:8], 'little'))

    def draws(*shape):
      return (stream.random_raw(int(np.prod(shape))) / 2**64).reshape(shape)

    noise = (draws(count, self.size, self.size) * _NOISE).astype(np.uint8)
    inks, masks = np.zeros_like(noise), np.zeros_like(noise)
    numbers = 1 + (draws(count) * self.digits).astype(int)
    for ink, mask, number, drawn in zip(
      inks, masks, numbers, draws(count, self.digits, 2 + 2 * _TRIES), strict=True):
      for which, factor, *places in drawn[:number]:
        row = int(which * len(columns['inputs']))
        side = int(_SIDE * (_LEAST + factor * (_MOST - _LEAST)))
        digit = images.resized(
          columns['inputs'][row] * (_INK // 16), None, (side, side))[..., 0]
        for place in zip(*[iter(places)] * 2, strict=True):
          top, left = (int(x * (self.size - side + 1)) for x in place)
          window = slice(top, top + side), slice(left, left + side)
          if not ink[window].any():
            ink[window] = digit
            mask[window] = np.where(digit >= _INK // 2, 1 + columns['labels'][row], 0)
            break
    inputs = np.maximum(noise, inks)[..., None]
    dataset = in_memory(
      {'inputs': inputs, 'labels': masks}, ('background', *digits.classes))
    return dataset._replace(describe=lambda row: f'canvas {row}', origin=digits.origin)
