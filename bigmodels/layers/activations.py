"""Activations that XLA is slow at on a CPU as `flax.linen` writes them."""

import jax
import jax.numpy as jnp


def gelu(x: jax.Array) -> jax.Array:
  """`x` times the normal distribution function of `x` (Hendrycks and Gimpel, 2016).

  By `erf`, as PyTorch has it. `nn.gelu(x, approximate=False)` is by `erfc`, which is
  nearer for what is far below zero, where the result is less than 1e-6, and slower.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * jnp.asarray(0.5**0.5, x.dtype)))
