"""Checks of the input images of a model, when it is traced."""

from typing import Any

import jax
import jax.numpy as jnp


def check_images(model: Any, images: jax.Array, least: int = 0) -> None:
  """Checks that inputs are floats `[batch, height, width, channels]`.

  Args:
    model: the model, for its name.
    images: its inputs.
    least: minimum height and width, in pixels.

  Raises:
    ValueError: if they are not.
  """
  name = type(model).__name__
  if images.ndim != 4 or min(images.shape[1:3]) < least:
    size = f' of at least {least}x{least} pixels' if least else ''
    raise ValueError(f'{name} needs images [batch, height, width, channels]{size}, got '
                     f'{images.shape}')
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(f'{name} needs images of floats, got {images.dtype} '
                     f'{images.shape[1:]}: end the transforms with standardize')


def check_size(model: Any, images: jax.Array) -> None:
  """Checks that images have the model's `size`, (height, width, channels).

  Args:
    model: a model with a `size`.
    images: its inputs, `[batch, height, width, channels]`.

  Raises:
    ValueError: if they have another size, or are not images of floats.
  """
  check_images(model, images)
  if images.shape[1:] != tuple(model.size):
    raise ValueError(f'{type(model).__name__} makes images of {tuple(model.size)}, the '
                     f'data has {images.shape[1:]}; set --config.model.size to that')
