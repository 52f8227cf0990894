"""Bicubic resizing of images, as by MATLAB's `imresize`.

Keys, *Cubic convolution interpolation for digital image processing*, 1981, with a =
-1/2. An image that shrinks is smoothed by a kernel that is as many times wider, so that
nothing is aliased; beyond its edges it is mirrored. Published results of
super-resolution are for low-resolution images that were made so. Pillow has the same
kernel, rounds its weights, and cuts it at the edges.
"""

import math
from typing import Any

import numpy as np


def resize(images: Any, numerator: int = 1, denominator: int = 1, *,
           sizes: Any = None) -> Any:
  """Resizes images by a factor.

  Args:
    images: `[..., height, width]`, an array of NumPy or JAX, of floats.
    numerator, denominator: the factor, such as 3 or 1 / 3; height and width times the
      factor are rounded up.
    sizes: height and width of an image that is padded, which may be traced; None for an
      image without padding. Only the part without padding determines that of the
      result.

  Returns:
    `[..., height * factor, width * factor]`.
  """
  for axis, size in zip((-2, -1), sizes if sizes is not None else images.shape[-2:],
                        strict=True):
    images = _resized(images, numerator, denominator, axis, size)
  return images


def _resized(images: Any, numerator: int, denominator: int, axis: int, size: Any
             ) -> Any:
  """The images resized along one axis, whose first `size` values are not padding."""
  xp = images.__array_namespace__()
  count = -(-images.shape[axis] * numerator // denominator)
  factor = numerator / denominator
  stretch = max(1.0, 1 / factor)  # of the kernel
  # The position of each new pixel in the image, whose pixels are at 0, 1, ...
  position = (np.arange(count) + 0.5) / factor - 0.5
  taps = np.floor(position - 2 * stretch)[:, None] + np.arange(
    1, math.ceil(4 * stretch) + 2)
  weights = _kernel((position[:, None] - taps) / stretch)
  weights = (weights / weights.sum(-1, keepdims=True)).astype(images.dtype)
  taps = xp.asarray(taps.astype(np.int32)) % (2 * size)
  taps = xp.minimum(taps, 2 * size - 1 - taps)  # mirrored, with the edge twice
  images = xp.moveaxis(images, axis, -1)
  total = sum(images[..., taps[:, each]] * weights[:, each]
              for each in range(weights.shape[1]))
  return xp.moveaxis(total, -1, axis)


def _kernel(x: np.ndarray) -> np.ndarray:
  """The cubic convolution kernel at distances in pixels."""
  x = np.abs(x)
  near = 1.5 * x**3 - 2.5 * x**2 + 1
  far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
  return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
