"""Losses of logits against classes."""

import jax
import jax.numpy as jnp
import optax

from bigmodels.core import target


def cross_entropy(logits: jax.Array, labels: jax.Array, *,
                  smoothing: float = 0.0) -> jax.Array:
  """Computes the negative log-likelihood of the labels.

  Args:
    logits: `[..., classes]`, or `[..., 1]` for two classes (the log-odds of class 1).
    labels: `[...]`, class indices; or float `[..., classes]`, a probability for each
      class.
    smoothing: label smoothing (Szegedy et al., *Rethinking the Inception
      Architecture*, 2016): this fraction of every label is spread over all classes.

  Returns:
    `[...]`, in nats.

  Raises:
    ValueError: if the labels are probabilities with another shape than the logits.
  """
  logits = two_sided(logits)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    if labels.shape != logits.shape:
      raise ValueError('cross_entropy: float labels must be probabilities of the '
                       f'classes, {logits.shape}, got labels {labels.shape}')
    values = optax.softmax_cross_entropy(logits, labels)
  else:
    values = _of_indices(logits, labels)
  if not smoothing:
    return values
  # The mean over all classes of -log p, without one-hot labels.
  spread = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
  return (1 - smoothing) * values + smoothing * spread


def _of_indices(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Cross-entropy of class indices, `[..., classes]` and `[...]` -> `[...]`."""
  if target.platform() == 'cpu':
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  # To gather the labels' logits a TPU writes all of them to memory, in float32. This is
  # part of a sum that is computed anyway; NaN for a label out of range, as there.
  classes = logits.shape[-1]
  labels = jnp.where(labels < 0, labels + classes, labels)
  at_label = jnp.arange(classes) == labels[..., None]
  found = jnp.where(at_label, logits, 0).sum(-1)
  found = jnp.where((labels >= 0) & (labels < classes), found, jnp.nan)
  return jax.nn.logsumexp(logits, axis=-1) - found


def hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Computes the margin loss of support vector machines.

  For one logit, `max(0, 1 - y x)` with y = -1 or 1 (Cortes and Vapnik, *Support-Vector
  Networks*, 1995). For more, the margin over the best wrong class (Crammer and Singer,
  *On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines*, 2001).

  Args:
    logits: `[batch, classes]` or `[batch, 1]`.
    labels: `[batch]`, class indices.

  Returns:
    `[batch]`.
  """
  if logits.shape[-1] == 1:
    return optax.hinge_loss(logits[:, 0], 2.0 * labels - 1.0)
  return optax.losses.multiclass_hinge_loss(logits, labels)


def probabilities(logits: jax.Array) -> jax.Array:
  """Converts logits into probabilities by softmax.

  Args:
    logits: `[batch, classes]`, or `[batch, 1]` for two classes (the log-odds of
      class 1).

  Returns:
    `[batch, classes]`.
  """
  return jax.nn.softmax(two_sided(logits), axis=-1)


def two_sided(logits: jax.Array) -> jax.Array:
  """Returns the logits `[..., classes]`; of `[..., 1]`, with a logit 0 for class 0."""
  if logits.shape[-1] > 1:
    return logits
  return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
