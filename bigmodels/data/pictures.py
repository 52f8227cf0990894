"""Pictures of any size, cut to one size where they are read, on the host.

Pictures that differ in size cannot be batched, so this cannot wait for the step. Each
is `(picture, chance, *, ...) -> picture`: uint8 `[height, width, 1 or 3]`, and a
`numpy.random.Generator` of this example and epoch. Set the keywords with
`functools.partial`, and give the whole to `Tfds.fit`.
"""

import math

import numpy as np


def random_part(picture: np.ndarray, chance: np.random.Generator, *, size: int,
                area: tuple[float, float] = (0.08, 1.0),
                ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> np.ndarray:
  """A random rectangle, resized to a square of `size` pixels.

  Szegedy et al., *Going deeper with convolutions*, 2015, section 6; known as the
  Inception crop and, in torchvision, as `RandomResizedCrop`.

  Args:
    picture, chance: see above.
    size: side of the result, in pixels.
    area: least and greatest share of the picture.
    ratio: least and greatest width over height; its logarithm is drawn evenly.

  Raises:
    ValueError: for another size, area or ratio.
  """
  if size < 1 or not 0 < area[0] <= area[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
    raise ValueError(
      'random_part: wants a size of at least 1, an area between 0 and 1 and a ratio '
      f'above 0, the lesser first, got size={size}, area={area}, ratio={ratio}')
  height, width = picture.shape[:2]
  for _ in range(10):
    pixels = height * width * chance.uniform(*area)
    stretch = math.exp(chance.uniform(*map(math.log, ratio)))
    rows, columns = round((pixels / stretch) ** 0.5), round((pixels * stretch) ** 0.5)
    if 0 < rows <= height and 0 < columns <= width:
      top = int(chance.integers(height - rows + 1))
      left = int(chance.integers(width - columns + 1))
      return _resized(picture, (left, top, left + columns, top + rows), size)
  # A picture so long that nothing fits: its middle, as long as is allowed.
  rows = min(height, width / ratio[0])
  columns = min(width, height * ratio[1])
  left, top = (width - columns) / 2, (height - rows) / 2
  return _resized(picture, (left, top, left + columns, top + rows), size)


def middle(picture: np.ndarray, chance: np.random.Generator, *, size: int,
           shorter: int) -> np.ndarray:
  """The square in the middle, of a picture resized as a whole.

  Args:
    picture: see above.
    chance: nothing is drawn.
    size: side of the result, in pixels.
    shorter: what the shorter side of the picture is resized to before, in pixels; at
      least `size`.

  Raises:
    ValueError: for a `size` of 0 or above `shorter`.
  """
  del chance
  if not 1 <= size <= shorter:
    raise ValueError(f'middle: wants a size from 1 to shorter={shorter}, got {size}')
  height, width = picture.shape[:2]
  side = min(height, width) * size / shorter
  left, top = (width - side) / 2, (height - side) / 2
  return _resized(picture, (left, top, left + side, top + side), size)


def _resized(picture, box, size):
  from PIL import Image

  image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
  image = image.resize((size, size), Image.Resampling.BILINEAR, box)
  return np.asarray(image).reshape(size, size, picture.shape[2])
