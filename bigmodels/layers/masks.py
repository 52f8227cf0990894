"""Masks of sequences by their lengths."""

import jax
import jax.numpy as jnp


def zero_padding(x: jax.Array, lengths: jax.Array | None) -> jax.Array:
  """Replaces what is beyond the end of each sequence by zeros.

  Args:
    x: `[batch, length, ...]`.
    lengths: int `[batch]`; None for no padding.

  Returns:
    `[batch, length, ...]`; NaN of the padding does not reach it, nor its gradient.
  """
  if lengths is None:
    return x
  real = jnp.arange(x.shape[1]) < lengths[:, None]
  return jnp.where(real.reshape(*real.shape, *[1] * (x.ndim - 2)), x, 0)


def segments_of(lengths: jax.Array | None, size: int) -> jax.Array | None:
  """Segments of one document a row: 1, and 0 beyond its length.

  Args:
    lengths: int `[batch]`; None for no padding.
    size: number of columns.

  Returns:
    int32 `[batch, size]`; None for no lengths.
  """
  if lengths is None:
    return None
  return (jnp.arange(size) < lengths[:, None]).astype(jnp.int32)
