"""Losses of predictions against real-valued targets."""

import jax
import jax.numpy as jnp


def squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the mean squared difference: `[batch, n]` twice -> `[batch]`."""
  return jnp.mean((predictions - targets) ** 2, axis=-1)


def absolute_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the mean absolute difference: `[batch, n]` twice -> `[batch]`."""
  return jnp.mean(jnp.abs(predictions - targets), axis=-1)
