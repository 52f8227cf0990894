"""Inputs of a diffusion model beside the image: its time and class."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense, Embedding
from bigmodels.layers.positions import sinusoidal


def conditions(times: jax.Array, labels: jax.Array, classes: int, encoded: int,
               width: int, dtype: jnp.dtype) -> jax.Array:
  """Encodes time and class, by layers of the calling module.

  Args:
    times: in [0, 1], `[batch]`.
    labels: int `[batch]`; `classes` stands for no class.
    classes: number of classes; 0 for none.
    encoded: width of the encoding of the time, even.
    width: of the result.
    dtype: of the result.

  Returns:
    `[batch, width]`.
  """
  x = sinusoidal(1000 * times.astype(jnp.float32), encoded).astype(dtype)
  x = Dense(width, name='time')(x)
  if classes:
    x = x + Embedding(classes + 1, width, name='classes')(labels).astype(dtype)
  return nn.silu(Dense(width, name='conditions')(nn.silu(x)))
