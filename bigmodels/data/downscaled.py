"""Images beside smaller versions of them, for networks that enlarge images."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from bigmodels.core.errors import UserError, one_line
from bigmodels.data.folders import image_files, listing
from bigmodels.data.sources import DataContext, Dataset, in_memory
from bigmodels.layers import bicubic, ycbcr

_LEAST = 32  # pixels of a side: SSIM needs 11 inside of both borders
_SCALES = range(2, 9)


@dataclasses.dataclass(frozen=True)
class Downscaled:
  """The luma of images, made smaller as the field does.

  An image is cut to a multiple of the scale, at the bottom and right; its luma (see
  `layers.ycbcr`) is rounded to 8 bits, made smaller by `layers.bicubic`, and rounded
  again. Grey images are luma already. All images of a split are padded with zeros to
  the largest, and kept in memory.

  Opened, with H x W the largest smaller image: `inputs` uint8 `[n, H, W, 1]`; `labels`
  uint8 `[n, H * scale, W * scale, 1]`; `inside` bool `[n, H, W]`, False for padding.

  Attributes:
    paths: folders, files or patterns of images.
    scale: how many times smaller height and width become, 2 to 8.
  """

  paths: str | tuple[str, ...]
  scale: int

  def __post_init__(self):
    object.__setattr__(self, 'paths', image_files.absolute(self.paths, 'paths'))
    if type(self.scale) is not int or self.scale not in _SCALES:
      raise ValueError(f'scale: must be {_SCALES[0]} to {_SCALES[-1]}, got '
                       f'{self.scale!r}')

  def open(self, context: DataContext) -> Dataset:
    """Reads all images.

    Raises:
      UserError: if there are none, or one is damaged or too small; or if they take too
        much memory.
    """
    found = image_files.opened(self.paths, context)
    images = [self._cut(np.round(_luma(image)), file.path)
              for image, file in zip(found.arrays, found.files, strict=True)]
    found.say(self._lines(found, images), context)
    names = found.names
    dataset = in_memory(self._columns(images, names), None)

    def words(rows: np.ndarray) -> list[dict[str, str]]:
      return [{'image': one_line(names[row])} for row in np.asarray(rows).tolist()]

    return dataset._replace(
      identity=f'{dataset.identity}, scale {self.scale}', words=words,
      describe=lambda row: found.files[row].path,
      origin=found._replace(arrays=images).origin(),
      provides={'scale': self._scale})

  def recorded(self, kept) -> dict[str, Callable[[], int]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    del kept
    return {'scale': self._scale}

  def _scale(self) -> int:
    return self.scale

  def _cut(self, image: np.ndarray, path: str) -> np.ndarray:
    """An image cut to a multiple of the scale."""
    height, width = image.shape
    if min(height, width) < _LEAST:
      raise UserError(f'{path}: has {image_files.pixels(image.shape)}, must have at '
                      f'least {_LEAST} x {_LEAST}')
    return image[: height - height % self.scale, : width - width % self.scale]

  def _lines(self, found: image_files.Images, images: list[np.ndarray]) -> list[str]:
    """Lines about what was read, and what was made of it."""
    count, grey = len(images), found.grey
    sizes = found._replace(arrays=images).sizes()
    lines = [f'{listing.counted(count, "image")}, of {sizes}, of which '
             f'{self.scale} times smaller ones are made']
    if 0 < grey < count:
      lines.append(f'{grey} of {listing.counted(count, "image")} '
                   f'{"is" if grey == 1 else "are"} grey, with values from 0 to 255 '
                   'taken as luma; the luma of the others is from 16 to 235')
    return lines

  def _columns(self, images: Sequence[np.ndarray], names: Sequence[str]
               ) -> dict[str, np.ndarray]:
    """The padded columns of a split."""
    scale, count = self.scale, len(images)
    height, width = image_files.padded_size(images, names, 1)
    low = (count, height // scale, width // scale)
    columns = {'inputs': np.zeros((*low, 1), np.uint8), 'inside': np.zeros(low, bool),
               'labels': np.zeros((count, height, width, 1), np.uint8)}
    for row, image in enumerate(images):
      small = bicubic.resize(image, 1, scale)
      area = row, *map(slice, small.shape)
      columns['inputs'][area] = np.clip(np.round(small), 0, 255)[..., None]
      columns['inside'][area] = True
      columns['labels'][row, : len(image), : image.shape[1], 0] = image
    return columns


def _luma(image: np.ndarray) -> np.ndarray:
  """Returns the luma of an image, float64 `[height, width]`, 0 to 255, not rounded.

  Args:
    image: uint8 `[height, width, 1 or 3]`: grey, which is luma already; or RGB.
  """
  image = image.astype(np.float64)
  return (image if image.shape[-1] == 1 else ycbcr.from_rgb(image))[..., 0]
