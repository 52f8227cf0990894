"""Losses of the classes of pixels."""

import jax
import jax.numpy as jnp


def dice(logits: jax.Array, labels: jax.Array, counted: jax.Array, *,
         smooth: float = 1.0) -> jax.Array:
  """Computes one minus the soft Dice coefficient of each image, the mean over classes.

  The coefficient of a class is `(2 sum(p g) + smooth) / (sum(p) + sum(g) + smooth)`,
  with its probability p and g, 1 where it is the label and else 0 (Milletari et al.,
  *V-Net*, 2016, without the squares; Drozdzal et al., *The importance of skip
  connections in biomedical image segmentation*, 2016). It does not matter how large a
  class is. One that is neither in the labels nor predicted has a coefficient of 1.

  Args:
    logits: `[batch, ..., classes]`.
    labels: class indices, int `[batch, ...]`.
    counted: which pixels count, bool `[batch, ...]`; the labels of others may be any.
    smooth: pixels added to both sides.

  Returns:
    `[batch]`, 0 to 1; 0 for an image without pixels that count.

  Raises:
    ValueError: for `smooth` that is not above 0.
  """
  if not smooth > 0:
    raise ValueError(f'dice: smooth must be > 0, got {smooth}')
  classes = logits.shape[-1]
  count = counted[..., None].astype(jnp.float32)
  probabilities = jax.nn.softmax(logits.astype(jnp.float32), -1) * count
  truth = (labels[..., None] == jnp.arange(classes)) * count
  axes = tuple(range(1, labels.ndim))
  both = jnp.sum(probabilities * truth, axes)
  sizes = jnp.sum(probabilities, axes) + jnp.sum(truth, axes)
  return 1 - jnp.mean((2 * both + smooth) / (sizes + smooth), -1)
