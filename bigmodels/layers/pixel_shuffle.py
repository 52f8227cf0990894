"""Pixel shuffle: channels become pixels.

Shi et al., *Real-time single image and video super-resolution using an efficient
sub-pixel convolutional neural network*, 2016.
"""

import jax

FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}  # scale -> those of its pixel shuffles


def pixel_shuffle(x: jax.Array, scale: int) -> jax.Array:
  """Enlarges images: each pixel becomes a square of `scale * scale` pixels.

  Channels are in the order of PyTorch's `pixel_shuffle`.

  Args:
    x: `[batch, height, width, channels * scale**2]`.
    scale: the factor, for height and width.

  Returns:
    `[batch, height * scale, width * scale, channels]`.

  Raises:
    ValueError: if the channels are not a multiple of `scale**2`.
  """
  batch, height, width, channels = x.shape
  if channels % scale**2:
    raise ValueError(f'pixel_shuffle: channels must be a multiple of {scale}**2, got '
                     f'{channels}')
  x = x.reshape(batch, height, width, -1, scale, scale).transpose(0, 1, 4, 2, 5, 3)
  return x.reshape(batch, height * scale, width * scale, -1)
