"""Images of several sizes, with a class for each pixel, as columns of a split."""

from collections.abc import Sequence

import numpy as np

from bigmodels.data.folders import image_files
from bigmodels.data.sources import Columns

IGNORED = 255  # the label of pixels that do not count


def columns(images: Sequence[np.ndarray], masks: Sequence[np.ndarray],
            names: Sequence[str]) -> Columns:
  """Returns images and masks as columns, padded to the largest of each side.

  Args:
    images: uint8 `[height, width, channels]` each.
    masks: uint8 `[height, width]`, each of the size of its image.
    names: of the images, for errors.

  Returns:
    `inputs` uint8 `[n, H, W, channels]`, zeros in padding; `labels` uint8 `[n, H, W]`,
    255 in padding; and if images differ in size `inside` bool `[n, H, W]`, False in
    padding.

  Raises:
    UserError: if they take too much memory.
  """
  channels = images[0].shape[-1]
  shape = (len(images), *image_files.padded_size(images, names, channels + 2))
  found = {'inputs': np.zeros((*shape, channels), np.uint8),
           'labels': np.full(shape, IGNORED, np.uint8)}
  inside = np.zeros(shape, bool)
  for row, (image, mask) in enumerate(zip(images, masks, strict=True)):
    area = row, slice(mask.shape[0]), slice(mask.shape[1])
    found['inputs'][area], found['labels'][area], inside[area] = image, mask, True
  return found if inside.all() else {**found, 'inside': inside}
