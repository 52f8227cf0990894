"""Non-maximum suppression: of boxes that overlap, the best."""

import jax
import jax.numpy as jnp

from bigmodels.core import boxes as geometry


def suppress(boxes: jax.Array, scores: jax.Array, labels: jax.Array | None = None, *,
             overlap: float, most: int) -> tuple[jax.Array, jax.Array]:
  """Selects the boxes that greedy non-maximum suppression keeps, the best first.

  The box with the highest score is kept, and others of its class that overlap it are
  dropped, until none is left; as `torchvision.ops.batched_nms`. Of equal scores, the
  first counts as higher. Shapes are fixed, so that it is part of a compiled step: a
  loop over the sorted boxes, in which all images advance together. No array has the
  size of all pairs.

  Args:
    boxes: `[batch, n, 4]`, see `core.boxes`.
    scores: `[batch, n]`; boxes with a score of 0 or below are not there.
    labels: int `[batch, n]`; boxes of different classes do not suppress each other.
      None for one class.
    overlap: intersection over union above which a box is dropped.
    most: maximum number of boxes to keep in each image.

  Returns:
    Indices int32 `[batch, most]` of the boxes that are kept; and whether there is such
    a box, bool `[batch, most]`.

  Raises:
    ValueError: for an overlap below 0 or above 1, or `most` below 1.
  """
  if not 0 <= overlap <= 1:
    raise ValueError(f'overlap: must be 0 to 1, got {overlap}')
  if most < 1:
    raise ValueError(f'most: must be >= 1, got {most}')
  count = scores.shape[1]
  order = jnp.argsort(-scores, -1, stable=True)
  boxes = jnp.take_along_axis(boxes, order[..., None], 1)
  there = jnp.take_along_axis(scores, order, 1) > 0
  if labels is not None:
    labels = jnp.take_along_axis(labels, order, 1)

  def drop(index, kept):
    over = geometry.iou(boxes[:, index][:, None], boxes) > overlap
    if labels is not None:
      over &= labels == labels[:, index][:, None]
    over &= jnp.arange(count) > index
    return kept & ~(over & kept[:, index][:, None])

  kept = jax.lax.fori_loop(0, count, drop, there)
  # The kept ones first, in their order.
  first = jnp.argsort(~kept, -1, stable=True)[:, :most]
  more = ((0, 0), (0, most - first.shape[1]))
  return (jnp.pad(jnp.take_along_axis(order, first, 1), more).astype(jnp.int32),
          jnp.pad(jnp.take_along_axis(kept, first, 1), more))
