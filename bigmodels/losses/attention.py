"""Losses of attention."""

import jax
import jax.numpy as jnp


def guided_attention(alignment: jax.Array, steps: jax.Array, characters: jax.Array, *,
                     width: float = 0.2) -> jax.Array:
  """How far attention is from the diagonal, which speech follows roughly.

  Tachibana, Uenoyama and Aihara, *Efficiently trainable text-to-speech system based on
  deep convolutional networks with guided attention*, 2018: 1 - exp(-d^2 / (2 width^2))
  for a distance d of relative positions, weighted by attention.

  Args:
    alignment: weights `[batch, steps, characters]`, 0 for padding.
    steps: number of steps of each, int `[batch]`.
    characters: number of characters of each, int `[batch]`.
    width: distance, as a fraction of the length, up to which little is lost.

  Returns:
    The sum over steps, `[batch]`.
  """
  def along(size, counts):
    return jnp.arange(size) / jnp.maximum(counts, 1)[:, None]

  distance = (along(alignment.shape[1], steps)[:, :, None]
              - along(alignment.shape[2], characters)[:, None])
  return jnp.sum(alignment * (1 - jnp.exp(-(distance**2) / (2 * width**2))), (1, 2))
