"""Activations that XLA is slow at on a CPU as `flax.linen` writes them."""

import jax
import jax.numpy as jnp


def gelu(x: jax.Array) -> jax.Array:
  """`x` times the normal distribution function of `x`: `[...]` -> `[...]`.

  Hendrycks and Gimpel, *Gaussian error linear units*, 2016. By `erf` in float32, as in
  PyTorch, so that the error is some 1e-7 of `x`. `nn.gelu(x, approximate=False)` is by
  `erfc`: slower, and more accurate far below zero.
  """
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)
