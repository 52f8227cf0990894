"""Activations that are slow on a CPU as implemented in `flax.linen`."""

import jax
import jax.numpy as jnp


def gelu(x: jax.Array) -> jax.Array:
  """`x` times the normal distribution function of `x`: `[...]` -> `[...]`.

  Hendrycks and Gimpel, *Gaussian error linear units*, 2016. It uses `erf` in float32,
  as PyTorch does, with an error of about 1e-7 times `x`. `nn.gelu(x,
  approximate=False)` uses `erfc`, which is slower, and more accurate far below zero.
  """
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)
