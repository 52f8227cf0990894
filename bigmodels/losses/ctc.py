"""The loss of connectionist temporal classification."""

import jax
import jax.numpy as jnp
import optax


def ctc(logits: jax.Array, lengths: jax.Array, labels: jax.Array) -> jax.Array:
  """The negative log probability of labels, over all their alignments.

  Graves et al., *Connectionist temporal classification: Labelling unsegmented sequence
  data with recurrent neural networks*, 2006. Token 0 is the blank, and the padding of
  labels.

  Args:
    logits: float32 `[batch, length, tokens]`.
    lengths: int `[batch]`, the outputs that are not padding.
    labels: int `[batch, most]`, 0 for padding.

  Returns:
    float32 `[batch]`, in nats, at least 0. For a transcript that cannot be aligned,
    because it is too long, see `alignable`, it is large and of no meaning.
  """
  padding = (jnp.arange(logits.shape[1]) >= lengths[:, None]).astype(jnp.float32)
  labels = labels.astype(jnp.int32)
  found = optax.ctc_loss(logits, padding, labels, (labels == 0).astype(jnp.float32))
  return jnp.maximum(found, 0)  # rounding may make a probability of 1 larger


def alignable(lengths: jax.Array, labels: jax.Array) -> jax.Array:
  """Whether there are enough outputs for the labels, with a blank between equal ones.

  Args:
    lengths: int `[batch]`, the number of outputs.
    labels: int `[batch, most]`, 0 for padding.

  Returns:
    bool `[batch]`.
  """
  twice = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)
  return lengths >= jnp.sum(labels > 0, 1) + jnp.sum(twice, 1)
