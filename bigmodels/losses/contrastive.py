"""Contrastive losses of images and their captions, over the batch of all devices.

Each compares the images of a device with the captions of all of them: under jit the
compiler divides the matrix of logits by its rows, under pmap collectives bring what
other devices have; see `core.whole_batch`. A loss is a number for each image; the
loss of a batch is the mean over those that count.
"""

import jax
import jax.numpy as jnp

from bigmodels.core import whole_batch
from bigmodels.core.vectors import products


def softmax_contrastive(images: jax.Array, captions: jax.Array, groups: jax.Array,
                        mask: jax.Array, *, logit_scale: jax.Array | float,
                        bias: jax.Array | float = 0.0) -> jax.Array:
  """Computes the cross-entropy of choosing the caption of an image, and the reverse.

  Radford et al., *Learning transferable visual models from natural language
  supervision* (CLIP), 2021; the mean of both directions.

  Args:
    images: of length 1, `[batch, width]`.
    captions: of length 1, one for each image, `[batch, width]`.
    groups: int `[batch]`, equal for captions that say the same: those of another
      image are then no negatives.
    mask: `[batch]`, 0 for pairs that are no negatives.
    logit_scale: of the cosines, > 0, the inverse of the temperature.
    bias: of the logits, which does not change the loss.

  Returns:
    `[batch]`, in nats.
  """
  del bias
  mine = (groups, mask, whole_batch.numbers(len(images)))
  every_image, every_caption, *theirs = whole_batch.gathered((images, captions, *mine))
  right, counted = _relations(mine, theirs)

  def cross_entropy(vectors, others):
    logits = jnp.where(counted, logit_scale * products(vectors, others), -1e9)
    return jax.nn.logsumexp(logits, 1) - jnp.where(right, logits, 0.0).sum(1)

  return (cross_entropy(images, every_caption)
          + cross_entropy(captions, every_image)) / 2


def sigmoid_contrastive(images: jax.Array, captions: jax.Array, groups: jax.Array,
                        mask: jax.Array, *, logit_scale: jax.Array | float,
                        bias: jax.Array | float) -> jax.Array:
  """Computes the cross-entropy of telling, for each pair, whether it is a true one.

  Zhai et al., *Sigmoid loss for language image pre-training* (SigLIP), 2023. Under pmap
  the captions of a device are passed round, so that none has the logits of the whole
  batch.

  Args:
    images, captions, groups, mask, logit_scale: see `softmax_contrastive`.
    bias: of the logits; initially negative, as most pairs are false.

  Returns:
    For each image the sum over all captions, `[batch]`, in nats.
  """
  mine = (groups, mask, whole_batch.numbers(len(images)))

  def against(others):
    theirs, *facts = others
    right, counted = _relations(mine, facts)
    logits = logit_scale * products(images, theirs) + bias
    costs = jax.nn.softplus(jnp.where(right, -logits, logits))
    return jnp.where(counted, costs, 0.0).sum(1)

  return whole_batch.summed_over_devices(against, (captions, *mine))


def _relations(mine, theirs) -> tuple[jax.Array, jax.Array]:
  """Which pairs are true, and which count, bool `[n, m]`."""
  groups, _, numbers = mine
  other_groups, other_mask, other_numbers = theirs
  right = numbers[:, None] == other_numbers
  return right, right | ((groups[:, None] != other_groups) & (other_mask > 0))
