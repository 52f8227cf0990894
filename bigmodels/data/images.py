"""Crops images of any size to one size, on the host, while they are read.

Images of different sizes cannot be batched, so this cannot be part of the step. Each
function is `(image, rng, *, ...) -> image`, with uint8 images `[height, width, 1 or 3]`
and the `numpy.random.Generator` of this example and epoch. Set the keywords with
`functools.partial`, and pass the result as `fit` of `Tfds` or `ImageFolder`.
"""

import math

import numpy as np


def random_resized_crop(image: np.ndarray, rng: np.random.Generator, *, size: int,
                        area: tuple[float, float] = (0.08, 1.0),
                        aspect: tuple[float, float] = (3 / 4, 4 / 3)) -> np.ndarray:
  """Returns a random rectangle of an image, resized to a square.

  Known as the Inception crop (Szegedy et al., *Going deeper with convolutions*, 2015,
  section 6), and in torchvision as `RandomResizedCrop`. If none of ten rectangles fits,
  the largest center crop that `aspect` allows is taken.

  Args:
    image: uint8 `[height, width, channels]`.
    rng: random generator for the rectangle.
    size: side of the result, in pixels.
    area: smallest and largest fraction of the image.
    aspect: smallest and largest ratio of width to height; its logarithm is uniform.

  Returns:
    uint8 `[size, size, channels]`.

  Raises:
    ValueError: for another size, area or aspect.
  """
  if size < 1:
    raise ValueError(f'random_resized_crop: size must be >= 1, got {size}')
  if not 0 < area[0] <= area[1] <= 1:
    raise ValueError('random_resized_crop: area must be 0 < smallest <= largest <= 1, '
                     f'got {area}')
  if not 0 < aspect[0] <= aspect[1]:
    raise ValueError('random_resized_crop: aspect must be 0 < smallest <= largest, got '
                     f'{aspect}')
  height, width = image.shape[:2]
  for _ in range(10):
    pixels = height * width * rng.uniform(*area)
    stretch = math.exp(rng.uniform(*map(math.log, aspect)))
    rows, columns = round((pixels / stretch) ** 0.5), round((pixels * stretch) ** 0.5)
    if 0 < rows <= height and 0 < columns <= width:
      top = int(rng.integers(height - rows + 1))
      left = int(rng.integers(width - columns + 1))
      return resized(image, (left, top, left + columns, top + rows), (size, size))
  rows = min(height, width / aspect[0])
  columns = min(width, height * aspect[1])
  left, top = (width - columns) / 2, (height - rows) / 2
  return resized(image, (left, top, left + columns, top + rows), (size, size))


def centre_crop(image: np.ndarray, rng: np.random.Generator, *, size: int,
                shorter: int) -> np.ndarray:
  """Returns the center square of a resized image.

  Args:
    image: uint8 `[height, width, channels]`.
    rng: not used.
    size: side of the result, in pixels.
    shorter: size of the shorter side of the resized image, in pixels; at least `size`.

  Returns:
    uint8 `[size, size, channels]`.

  Raises:
    ValueError: for a size below 1 or above `shorter`.
  """
  del rng
  if not 1 <= size <= shorter:
    raise ValueError(f'centre_crop: size must be 1 to shorter={shorter}, got {size}')
  height, width = image.shape[:2]
  side = min(height, width) * size / shorter
  left, top = (width - side) / 2, (height - side) / 2
  return resized(image, (left, top, left + side, top + side), (size, size))


def resized(image: np.ndarray, box: tuple[float, float, float, float] | None,
            size: tuple[int, int]) -> np.ndarray:
  """Returns a rectangle of an image, resized by an antialiased bilinear filter.

  Args:
    image: uint8 `[height, width, 1 or 3]`.
    box: left, top, right and bottom of the rectangle; None for the whole image.
    size: height and width of the result.

  Returns:
    uint8 `[*size, channels]`.
  """
  from PIL import Image

  channels = image.shape[2]
  picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
  picture = picture.resize(size[::-1], Image.Resampling.BILINEAR, box)
  return np.asarray(picture).reshape(*size, channels)
