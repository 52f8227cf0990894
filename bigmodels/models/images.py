"""What images a model takes: told when it is traced, before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp


def check_images(model: Any, images: jax.Array, least: int = 0) -> None:
  """Refuses inputs that are no floats `[batch, height, width, channels]`.

  Args:
    model: for its name.
    images: its inputs.
    least: pixels of height and width, for strides to leave something.

  Raises:
    ValueError: telling what is wanted and what was given.
  """
  name = type(model).__name__
  if images.ndim != 4 or min(images.shape[1:3]) < least:
    size = f' of at least {least}x{least} pixels' if least else ''
    raise ValueError(f'{name} wants images [batch, height, width, channels]{size}, got '
                     f'{images.shape}')
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(f'{name} wants images of floats, got {images.dtype} '
                     f'{images.shape[1:]}: end the transforms with standardize')


def check_size(model: Any, images: jax.Array) -> None:
  """Refuses images of another size than the model's `size`, (height, width, channels).

  Raises:
    ValueError: telling both.
  """
  check_images(model, images)
  if images.shape[1:] != tuple(model.size):
    raise ValueError(f'{type(model).__name__} makes images of {tuple(model.size)}, the '
                     f'data has {images.shape[1:]}; set --config.model.size to that')
