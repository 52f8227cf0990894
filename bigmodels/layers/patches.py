"""Images as sequences of patches, and back."""

import jax


def patches(images: jax.Array, size: int) -> jax.Array:
  """Cuts images into square patches; a dense layer on these is a convolution.

  Args:
    images: `[batch, height, width, channels]`.
    size: side of a patch, which divides height and width.

  Returns:
    `[batch, patches, size * size * channels]`, row by row.
  """
  batch, height, width, channels = images.shape
  x = images.reshape(batch, height // size, size, width // size, size, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * channels)


def images_of(x: jax.Array, size: int, shape: tuple[int, int, int]) -> jax.Array:
  """Puts patches together: the inverse of `patches`.

  Args:
    x: `[batch, patches, size * size * channels]`.
    size: side of a patch.
    shape: height, width and channels of the images.

  Returns:
    `[batch, *shape]`.
  """
  height, width, channels = shape
  x = x.reshape(len(x), height // size, width // size, size, size, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), *shape)
