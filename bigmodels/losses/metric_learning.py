"""Losses of embeddings: examples of a class near each other, and apart from others.

Each takes a whole batch, whose other examples are the positives and negatives of an
anchor. It returns a loss for each anchor, and whether the anchor counts: one without
another example of its class, say, has no loss. The loss of a batch is the mean over
those that count.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.vectors import products, unit_length
from bigmodels.losses.classification import cross_entropy

Mining = Literal['all', 'semi_hard', 'batch_hard']
_MINING = ('all', 'semi_hard', 'batch_hard')


def triplet(embeddings: jax.Array, labels: jax.Array, mask: jax.Array, *,
            margin: float | None = 0.2, mining: Mining = 'semi_hard',
            distance: Literal['squared', 'euclidean'] = 'squared'
            ) -> tuple[jax.Array, jax.Array]:
  """Computes how much nearer a positive should be to its anchor than a negative.

  Schroff et al., *FaceNet: a unified embedding for face recognition and clustering*,
  2015; Hermans et al., *In defense of the triplet loss*, 2017. A triplet's loss is
  max(0, d(a, p) - d(a, n) + margin); an anchor's is the mean over its triplets:

  - 'all': every positive with every negative.
  - 'semi_hard': every positive with the nearest negative that is farther than it; if
    there is none, with the farthest negative.
  - 'batch_hard': the farthest positive with the nearest negative.

  Args:
    embeddings: `[batch, width]`.
    labels: the class of each example, int `[batch]`.
    mask: `[batch]`, 0 for examples that are no anchors, positives or negatives.
    margin: >= 0; None is the soft margin, log(1 + exp(d(a, p) - d(a, n))).
    mining: which triplets count.
    distance: 'squared' Euclidean distances as in FaceNet, or 'euclidean' ones as in
      Hermans et al.

  Returns:
    The losses, `[batch]`; float32 `[batch]`, 1 for anchors with a positive and a
    negative, 0 for others.

  Raises:
    ValueError: for a negative margin, or an unknown mining or distance.
  """
  if margin is not None and not 0 <= margin < np.inf:
    raise ValueError('margin: must be >= 0 and finite, or None for the soft margin, '
                     f'got {margin}')
  if mining not in _MINING:
    raise ValueError(f'mining: must be one of {", ".join(_MINING)}; got {mining!r}')
  if distance not in ('squared', 'euclidean'):
    raise ValueError(f"distance: must be 'squared' or 'euclidean', got {distance!r}")
  positive, negative = _relations(labels, mask)
  apart = _distances(embeddings, distance)
  counted = positive.any(1) & negative.any(1)

  def cost(near, far):
    return jax.nn.softplus(near - far) if margin is None else (
      jax.nn.relu(near - far + margin))

  if mining == 'batch_hard':
    near = jnp.where(positive, apart, -jnp.inf).max(1)
    far = jnp.where(negative, apart, jnp.inf).min(1)
    near, far = (jnp.where(counted, x, 0.0) for x in (near, far))
    return jnp.where(counted, cost(near, far), 0.0), counted.astype(jnp.float32)
  if mining == 'all':
    triplets = positive[:, :, None] & negative[:, None]
    values = jnp.where(triplets, cost(apart[:, :, None], apart[:, None]), 0.0)
    return _mean(values, triplets, (1, 2)), counted.astype(jnp.float32)
  fixed = jax.lax.stop_gradient(apart)  # which negative is chosen has no gradient
  farther = negative[:, None] & (fixed[:, None] > fixed[:, :, None])
  nearest = jnp.where(farther, fixed[:, None], jnp.inf).argmin(-1)
  farthest = jnp.where(negative, fixed, -jnp.inf).argmax(1)
  chosen = jnp.where(farther.any(-1), nearest, farthest[:, None])
  far = jnp.take_along_axis(apart, chosen, 1)
  pairs = positive & counted[:, None]
  values = jnp.where(pairs, cost(apart, far), 0.0)
  return _mean(values, pairs, 1), counted.astype(jnp.float32)


def supervised_contrastive(embeddings: jax.Array, labels: jax.Array, mask: jax.Array,
                           *, temperature: float = 0.1
                           ) -> tuple[jax.Array, jax.Array]:
  """Computes the cross-entropy of choosing a positive among all other examples.

  Khosla et al., *Supervised contrastive learning*, 2020, with the mean over positives
  outside of the logarithm (equation 2).

  Args:
    embeddings: of length 1, `[batch, width]`.
    labels: the class of each example, int `[batch]`.
    mask: `[batch]`, 0 for examples that are left out.
    temperature: > 0, by which the cosines are divided.

  Returns:
    The losses, `[batch]`, in nats; float32 `[batch]`, 1 for anchors with a positive.

  Raises:
    ValueError: for a temperature that is not > 0.
  """
  if not temperature > 0:
    raise ValueError(f'temperature: must be > 0, got {temperature}')
  positive, negative = _relations(labels, mask)
  scores = products(embeddings, embeddings) / temperature
  total = jax.nn.logsumexp(jnp.where(positive | negative, scores, -1e9), 1)
  values = jnp.where(positive, total[:, None] - scores, 0.0)
  return _mean(values, positive, 1), positive.any(1).astype(jnp.float32)


def arc_face(embeddings: jax.Array, labels: jax.Array, mask: jax.Array,
             prototypes: jax.Array, *, margin: float = 0.5, scale: float = 64.0
             ) -> tuple[jax.Array, jax.Array]:
  """Computes the cross-entropy of classes, with a margin added to the right angle.

  Deng et al., *ArcFace: additive angular margin loss for deep face recognition*, 2019.
  The logits are cosines with the prototypes, times the scale. From the angle
  pi - margin on, where the cosine would rise again, the cosine decreases by
  margin * sin(margin) instead, as in the authors' code.

  Args:
    embeddings: of length 1, `[batch, width]`.
    labels: the class of each example, int `[batch]`.
    mask: `[batch]`, 0 for examples that are left out.
    prototypes: a vector for each class, of any length > 0, `[classes, width]`.
    margin: in radians, >= 0 and < pi.
    scale: > 0.

  Returns:
    The losses, `[batch]`, in nats; the mask as float32.

  Raises:
    ValueError: for a margin or a scale out of range.
  """
  if not 0 <= margin < np.pi:
    raise ValueError(f'margin: must be >= 0 and < pi, got {margin}')
  if not 0 < scale < np.inf:
    raise ValueError(f'scale: must be > 0 and finite, got {scale}')
  cosines = products(embeddings, unit_length(prototypes))
  own = jnp.take_along_axis(cosines, labels[:, None], 1)
  sine = jnp.sqrt(jnp.maximum(1 - own**2, 1e-9))
  moved = jnp.where(own > -np.cos(margin), own * np.cos(margin) - sine * np.sin(margin),
                    own - margin * np.sin(margin))
  right = jnp.arange(len(prototypes)) == labels[:, None]
  logits = scale * jnp.where(right, moved, cosines)
  kept = (mask > 0).astype(jnp.float32)
  return jnp.where(kept > 0, cross_entropy(logits, labels), 0.0), kept


def _relations(labels: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Which examples are positives and negatives of each anchor, bool `[batch, batch]`.
  """
  kept = mask > 0
  both = kept[:, None] & kept
  same = labels[:, None] == labels
  return both & same & ~jnp.eye(len(labels), dtype=bool), both & ~same


def _distances(embeddings: jax.Array, distance: str) -> jax.Array:
  """Between all examples, `[batch, batch]`."""
  found = products(embeddings, embeddings)
  squares = jnp.diagonal(found)
  squared = jnp.maximum(squares[:, None] + squares - 2 * found, 0.0)
  if distance == 'squared':
    return squared
  # The root has no gradient at 0.
  apart = squared > 1e-12
  return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)


def _mean(values: jax.Array, counted: jax.Array, axes: int | tuple[int, ...]
          ) -> jax.Array:
  """The mean of the values that count; 0 where none does."""
  return values.sum(axes) / jnp.maximum(counted.sum(axes), 1)
