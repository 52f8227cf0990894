"""Attention as products of matrices that are contiguous in memory.

On a CPU this takes half the time of `jax.nn.dot_product_attention`. Attention with
dropout, which JAX does not have, is computed here on other backends too.
"""

import jax
import jax.numpy as jnp


def attend(query: jax.Array, key: jax.Array, value: jax.Array, *,
           mask: jax.Array | None, causal: bool, dropout: float,
           dropout_key: jax.Array | None) -> jax.Array:
  """`layers.attention.attend`, the softmax in float32.

  Args:
    query: `[batch, queries, heads, width]`.
    key, value: `[batch, keys, kv heads, width]`.
    mask: bool `[batch, 1 or heads, queries or 1, keys]`, True where a query
      attends to a key.
    causal: whether query i attends only to the keys up to i.
    dropout: rate of dropout of the weights.
    dropout_key: PRNG key for dropout; None for no dropout.

  Returns:
    `[batch, queries, heads, width]`.
  """
  batch, queries, heads, width = query.shape
  exact = jnp.promote_types(query.dtype, jnp.float32)
  query = (query * width**-0.5).swapaxes(1, 2).reshape(
    batch, key.shape[2], -1, width)  # all heads that share keys
  key, value = key.swapaxes(1, 2), value.swapaxes(1, 2)
  scores = jnp.matmul(query, key.swapaxes(2, 3), preferred_element_type=exact)
  scores = scores.reshape(batch, heads, queries, -1)
  if causal:
    past = jnp.tri(queries, key.shape[2], dtype=bool)
    mask = past if mask is None else mask & past
  if mask is not None:
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
  # Divide by the softmax's sum last, where there are fewer numbers.
  weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
  total = weights.sum(-1, keepdims=True)
  if dropout_key is not None:
    kept = jax.random.bernoulli(dropout_key, 1 - dropout, weights.shape)
    weights = jnp.where(kept, weights / (1 - dropout), 0)
  answer = jnp.matmul(
    weights.reshape(*query.shape[:3], -1).astype(value.dtype), value,
    preferred_element_type=exact)
  answer = answer.reshape(batch, heads, queries, width) / total
  return answer.swapaxes(1, 2).astype(value.dtype)
