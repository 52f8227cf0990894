"""Vectors, `[..., width]`: their length and their products, in float32."""

import jax
import jax.numpy as jnp


def unit_length(vectors: jax.Array) -> jax.Array:
  """Scales vectors `[..., width]` to length 1, in float32; zeros remain zeros."""
  vectors = vectors.astype(jnp.float32)
  squares = jnp.sum(vectors**2, -1, keepdims=True)
  return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))


def products(vectors: jax.Array, others: jax.Array) -> jax.Array:
  """Computes the products of all pairs, in float32 on every device.

  Args:
    vectors: `[n, width]`.
    others: `[m, width]`.

  Returns:
    `[n, m]`: of vectors of length 1, their cosines.
  """
  return jnp.matmul(vectors.astype(jnp.float32), others.astype(jnp.float32).T,
                    precision=jax.lax.Precision.HIGHEST)
