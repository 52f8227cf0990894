"""Metrics of images against the true ones, with values from 0 to 255.

They count the pixels of a rectangle only, so that images may be padded to one size.
"""

import jax
import jax.numpy as jnp
import numpy as np

_MOST_PSNR = 100.0  # dB, of equal images, in place of infinity
_WINDOW, _SIGMA = 11, 1.5  # of SSIM, in pixels


def psnr(images: jax.Array, targets: jax.Array, counted: jax.Array) -> jax.Array:
  """Computes the peak signal-to-noise ratio of each image in dB, at most 100.

  Args:
    images, targets: from 0 to 255, `[batch, height, width]`.
    counted: which pixels count, `[batch, height, width]`.

  Returns:
    `[batch]`; 100 for an image without pixels that count.
  """
  counted = counted.astype(jnp.float32)
  squares = jnp.sum(counted * (images - targets) ** 2, (1, 2))
  error = squares / jnp.maximum(jnp.sum(counted, (1, 2)), 1)
  return 10 * jnp.log10(255**2 / jnp.maximum(error, 255**2 * 10 ** (-_MOST_PSNR / 10)))


def ssim(images: jax.Array, targets: jax.Array, counted: jax.Array) -> jax.Array:
  """Computes the structural similarity of each image, at most 1.

  Wang et al., *Image quality assessment: from error visibility to structural
  similarity*, 2004: Gaussian windows of 11 x 11 pixels with a standard deviation of
  1.5, K1 = 0.01 and K2 = 0.03; the mean over all windows inside the image.

  Args:
    images, targets: from 0 to 255, `[batch, height, width]`.
    counted: which pixels count, a rectangle of each image, `[batch, height, width]`.

  Returns:
    `[batch]`; 0 for an image without a window.
  """
  low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  # Centered values keep the variances from cancellation in float32.
  x, y = images - 128.0, targets - 128.0
  mean_x, mean_y, xx, yy, xy = jnp.split(
    _smooth(jnp.concatenate([x, y, x * x, y * y, x * y])), 5)
  variances = xx - mean_x**2 + yy - mean_y**2
  covariance = xy - mean_x * mean_y
  mean_x, mean_y = mean_x + 128.0, mean_y + 128.0
  values = (2 * mean_x * mean_y + low) * (2 * covariance + high) / (
    (mean_x**2 + mean_y**2 + low) * (variances + high))
  last = _WINDOW - 1
  whole = (counted[:, : counted.shape[1] - last, : counted.shape[2] - last]
           & counted[:, last:, last:])
  return jnp.sum(jnp.where(whole, values, 0.0), (1, 2)) / jnp.maximum(
    jnp.sum(whole, (1, 2)), 1)


def _smooth(images: jax.Array) -> jax.Array:
  """Gaussian means of all windows, `[batch, height - 10, width - 10]`."""
  distances = np.arange(_WINDOW) - _WINDOW // 2
  weights = np.exp(-distances**2 / (2 * _SIGMA**2))
  weights = (weights / weights.sum()).astype(np.float32)
  for axis in (1, 2):
    count = images.shape[axis] - _WINDOW + 1
    images = sum(weight * jax.lax.slice_in_dim(images, at, at + count, axis=axis)
                 for at, weight in enumerate(weights))
  return images
