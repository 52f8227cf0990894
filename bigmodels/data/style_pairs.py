"""Photographs beside the images whose style they take."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import one_line
from bigmodels.data.folders import image_files, listing
from bigmodels.data.sources import Columns, Compact, DataContext, Dataset, in_memory


@dataclasses.dataclass(frozen=True)
class StylePairs:
  """Photographs, each beside an image whose style it takes.

  With several styles, row `i` takes style `i` modulo their number. All images become
  RGB, are cut to the aspect of their size at the center, and resized. They are kept in
  memory, every style once.

  Opened: `inputs` uint8 `[n, height, width, 3]`; `style` uint8 `[n, h, w, 3]`.

  Attributes:
    photographs: folders, files or patterns of images.
    styles: the same of the images with the styles.
    size: side of the photographs in pixels, or their height and width.
    style_size: the same of the images with the styles.
  """

  photographs: str | tuple[str, ...]
  styles: str | tuple[str, ...]
  size: int | tuple[int, int] = 256
  style_size: int | tuple[int, int] = 256

  def __post_init__(self):
    for name in ('photographs', 'styles'):
      object.__setattr__(self, name, image_files.absolute(getattr(self, name), name))
    for name in ('size', 'style_size'):
      sides = _sides(getattr(self, name))
      if len(sides) != 2 or not all(type(n) is int and n >= 1 for n in sides):
        raise ValueError(f'{name}: must be a number of pixels >= 1, or two, got '
                         f'{getattr(self, name)!r}')

  def open(self, context: DataContext) -> Dataset:
    """Reads all images.

    Raises:
      UserError: if there are no photographs or no styles, or one is damaged.
    """
    photographs, styles = (image_files.opened(paths, context)
                           for paths in (self.photographs, self.styles))
    inputs = _resized(photographs, self.size, 'photograph', context)
    style = _resized(styles, self.style_size, 'style', context)
    length, count = len(inputs), len(style)

    def read(rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      del seeds
      return gather({'inputs': inputs, 'style': style}, rows)

    def gather(arrays: Mapping[str, Any], rows: Any) -> dict[str, Any]:
      return {'inputs': arrays['inputs'][rows], 'style': arrays['style'][rows % count]}

    def words(rows: np.ndarray) -> list[dict[str, str]]:
      return [{'image': one_line(photographs.names[row]),
               'style': one_line(styles.names[row % count])}
              for row in np.asarray(rows).tolist()]

    apart = [in_memory({'inputs': each}, None) for each in (inputs, style)]
    return Dataset(
      length=length, nbytes=sum(each.nbytes for each in apart),
      load=lambda: read(np.arange(length)), read=read, classes=None,
      identity=' in the style of '.join(each.identity for each in apart),
      describe=lambda row: photographs.files[row].path, words=words,
      origin=photographs.origin(),
      compact=Compact(lambda: {'inputs': inputs, 'style': style}, gather))


def _sides(size: int | tuple[int, int]) -> tuple[int, ...]:
  return size if isinstance(size, tuple) else (size, size)


def _resized(found: image_files.Images, size: int | tuple[int, int], what: str,
             context: DataContext) -> np.ndarray:
  """Images in RGB and of one size, uint8 `[n, height, width, 3]`; says what changed."""
  sides = _sides(size)
  small = sum(any(n < side for n, side in zip(image.shape, sides, strict=False))
              for image in found.arrays)
  lines = [f'{listing.counted(len(found.arrays), what)}, of {found.sizes()}, cut and '
           f'resized to {image_files.pixels(sides)}']
  for count, line in ((found.grey, image_files.GREY),
                      (small, 'smaller, and enlarged')):
    if count:
      lines.append(f'{listing.counted(count, what)} {"is" if count == 1 else "are"} '
                   f'{line}')
  found.say(lines, context)
  return found.rgb(sides)
