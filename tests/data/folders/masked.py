"""Images and masks that tests write, in two folders."""

import numpy as np
from PIL import Image


def write(root, name, seed=0, *, shape=(9, 11), channels=3, classes=3, mode='P',
          suffix='', values=None):
  """Writes an image to `photos` and its mask to `masks`; returns both as arrays.

  Where the mask is c, the image is about 60 c.

  Args:
    root: of both folders.
    name: of the image, without ending.
    seed: of the pixels.
    shape: height and width.
    channels: of the image.
    classes: number of classes.
    mode: of the mask: 'P' with a palette, 'L', '1' or 'I;16'.
    suffix: of the name of the mask.
    values: what the mask has for each class; None for its number.
  """
  rng = np.random.default_rng(seed)
  blocks = rng.integers(0, classes, (-(-shape[0] // 4), -(-shape[1] // 4)))
  mask = blocks.repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]]
  image = (60 * mask[..., None] + rng.integers(0, 50, (*shape, channels))).astype(
    np.uint8)
  for folder in ('photos', 'masks'):
    (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(image[..., 0] if channels == 1 else image).save(
    root / 'photos' / f'{name}.png')
  written = mask if values is None else np.array(values)[mask]
  if mode == '1':
    picture = Image.fromarray(written.astype(bool))
  elif mode == 'I;16':
    picture = Image.fromarray(written.astype(np.uint16))
  else:
    picture = Image.fromarray(written.astype(np.uint8))
  if mode == 'P':
    picture.putpalette(bytes(range(255, -1, -1)) * 3)
  picture.save(root / 'masks' / f'{name}{suffix}.png')
  return image, mask
