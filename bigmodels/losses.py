"""Losses: pure functions, one number an example; no reduction over the batch."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, *,
                  smoothing: float = 0.0) -> jax.Array:
  """Negative log-likelihood of the labels.

  Args:
    logits: `[..., classes]`, or `[..., 1]` for two classes (the log-odds of 1).
    labels: `[...]`, class indices; or float `[..., classes]`, the share of each class.
    smoothing: label smoothing (Szegedy et al., 2016): this share of every label is
      spread over all classes.

  Returns:
    `[...]`, in nats.

  Raises:
    ValueError: for shares of another number of classes.
  """
  logits = _two_sided(logits)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    if labels.shape != logits.shape:
      raise ValueError(f'cross_entropy wants the shares of the classes, '
                       f'{logits.shape}, got labels {labels.shape}')
    values = optax.softmax_cross_entropy(logits, labels)
  else:
    values = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  if not smoothing:
    return values
  # The mean over all classes of -log p, without the labels as rows of numbers.
  spread = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
  return (1 - smoothing) * values + smoothing * spread


def hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """The margin loss of support vector machines.

  For one logit `max(0, 1 - y x)` with y = -1 or 1 (Cortes and Vapnik, 1995); for more
  the margin over the best wrong class (Crammer and Singer, 2001).

  Args:
    logits: `[batch, classes]` or `[batch, 1]`.
    labels: `[batch]`, class indices.

  Returns:
    `[batch]`.
  """
  if logits.shape[-1] == 1:
    return optax.hinge_loss(logits[:, 0], 2.0 * labels - 1.0)
  return optax.losses.multiclass_hinge_loss(logits, labels)


def squared_error(answer: jax.Array, targets: jax.Array) -> jax.Array:
  """`[batch, n]` twice -> `[batch]`: the mean over n of the squared differences."""
  return jnp.mean((answer - targets) ** 2, axis=-1)


def absolute_error(answer: jax.Array, targets: jax.Array) -> jax.Array:
  """`[batch, n]` twice -> `[batch]`: the mean over n of the absolute differences."""
  return jnp.mean(jnp.abs(answer - targets), axis=-1)


def probabilities(logits: jax.Array) -> jax.Array:
  """`[batch, classes]` by softmax; one logit is the log-odds of class 1 of two."""
  return jax.nn.softmax(_two_sided(logits), axis=-1)


def _two_sided(logits: jax.Array) -> jax.Array:
  if logits.shape[-1] > 1:
    return logits
  return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
