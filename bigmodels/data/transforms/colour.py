"""Colour transforms of bytes, or of floats from 0 to 1; before `standardize`."""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import (
  Batch,
  check_range,
  from_unit,
  images_of,
  to_unit,
)


def colour(batch: Batch, key: jax.Array, *, brightness: float = 0.0,
           contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0) -> Batch:
  """Colour jitter: changes brightness, contrast, saturation and hue, in this order.

  As `ColorJitter` of torchvision, after Howard (*Some improvements on deep
  convolutional neural network based image classification*, 2013). The first three blend
  an image with black, with its mean grey, and with its grey version. Factors are
  uniform from `1 - strength`, at least 0, to `1 + strength`.

  Args:
    batch: images `[batch, height, width, channels]`.
    key: PRNG key.
    brightness, contrast, saturation: strengths.
    hue: largest rotation of the colour circle in either direction; 0.5 is half of it.

  Raises:
    ValueError: for strengths below 0, a hue beyond 0.5, or a hue of images that do not
      have 3 channels.
  """
  check_range(
    'colour', 0, brightness=brightness, contrast=contrast, saturation=saturation)
  check_range('colour', 0, 0.5, hue=hue)
  images = images_of(batch, 'colour')
  if hue and images.shape[-1] != 3:
    raise ValueError(f'colour: hue needs images of 3 channels, got {images.shape}')
  amounts = jax.random.uniform(key, (len(images), 4, 1, 1, 1))
  values = to_unit(images)
  for index, (other, strength) in enumerate((
      (jnp.zeros_like, brightness), (mean_grey, contrast), (grey, saturation))):
    if strength:
      low = max(0.0, 1 - strength)
      factors = low + (1 + strength - low) * amounts[:, index]
      values = mix(values, other(values), factors)
  if hue:
    import dm_pix

    turns = hue * (2 * amounts[:, 3, ..., 0] - 1)
    values = dm_pix.adjust_hue(values, turns)
  return {**batch, 'inputs': from_unit(values, images.dtype)}


def mix(images: jax.Array, others: jax.Array, factors: jax.Array) -> jax.Array:
  """Returns `factors * images + (1 - factors) * others`, clipped to 0 to 1.

  Args:
    images, others: `[batch, height, width, channels]`, or broadcast to it.
    factors: `[batch, 1, 1, 1]`.
  """
  return jnp.clip(others + factors * (images - others), 0, 1)


def grey(images: jax.Array) -> jax.Array:
  """Returns images `[..., channels]` in grey, with the same luma (ITU-R BT.601)."""
  if images.shape[-1] != 3:
    return images
  import dm_pix

  return dm_pix.rgb_to_grayscale(images, keep_dims=True)


def mean_grey(images: jax.Array) -> jax.Array:
  """Returns the mean grey of each image, `[batch, 1, 1, channels]`."""
  return grey(images).mean((1, 2), keepdims=True)
