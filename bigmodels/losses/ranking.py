"""Losses that rank items that a user has above others."""

import jax
import jax.numpy as jnp
import optax


def binary_ranking(positive: jax.Array, negatives: jax.Array) -> jax.Array:
  """Computes the cross-entropy of telling an item that a user has from others.

  He et al., *Neural collaborative filtering*, 2017; its mean is over the item and the
  negatives.

  Args:
    positive: logit of the item, `[...]`.
    negatives: logits of items that the user does not have, `[..., count]`.

  Returns:
    `[...]`, in nats.
  """
  total = optax.sigmoid_binary_cross_entropy(positive, jnp.ones_like(positive)) + (
    optax.sigmoid_binary_cross_entropy(negatives, jnp.zeros_like(negatives)).sum(-1))
  return total / (1 + negatives.shape[-1])


def softmax_ranking(positive: jax.Array, negatives: jax.Array) -> jax.Array:
  """Computes the cross-entropy of choosing the item among itself and negatives.

  Args:
    positive: logit of the item, `[...]`.
    negatives: logits of the other items, `[..., count]`; -inf for one that does not
      count.

  Returns:
    `[...]`, in nats.
  """
  every = jnp.concatenate([positive[..., None], negatives], -1)
  return jax.nn.logsumexp(every, -1) - positive


def in_batch_softmax(logits: jax.Array, log_q: jax.Array, others: jax.Array
                     ) -> jax.Array:
  """Computes the cross-entropy of each user's item among the items of the batch.

  Items are in a batch as often as they are popular; the correction by the logarithm of
  that makes the sum over the batch an estimate of the sum over all items (Yi et al.,
  *Sampling-bias-corrected neural modeling for large corpus item recommendations*,
  2019).

  Args:
    logits: of each user with the item of each row, `[batch, batch]`.
    log_q: logarithm of the probability that a row has this item, `[batch]`.
    others: bool `[batch, batch]`, which other rows are negatives of each user.

  Returns:
    `[batch]`, in nats.
  """
  corrected = logits - log_q
  return softmax_ranking(jnp.diagonal(corrected), jnp.where(others, corrected,
                                                            -jnp.inf))
