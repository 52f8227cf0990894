"""Non-maximum suppression: of boxes that overlap, the best."""

import jax
import jax.numpy as jnp

from bigmodels.core import boxes as geometry


def suppress(boxes: jax.Array, scores: jax.Array, labels: jax.Array | None = None, *,
             iou_threshold: float, max_boxes: int) -> tuple[jax.Array, jax.Array]:
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
    iou_threshold: intersection over union above which a box is dropped.
    max_boxes: maximum number of boxes to keep in each image.

  Returns:
    Indices int32 `[batch, max_boxes]` of the boxes that are kept; and whether there is
    such a box, bool `[batch, max_boxes]`.

  Raises:
    ValueError: for `iou_threshold` below 0 or above 1, or `max_boxes` below 1.
  """
  if not 0 <= iou_threshold <= 1:
    raise ValueError(f'iou_threshold: must be 0 to 1, got {iou_threshold}')
  if max_boxes < 1:
    raise ValueError(f'max_boxes: must be >= 1, got {max_boxes}')
  count = scores.shape[1]
  order = jnp.argsort(-scores, -1, stable=True)
  boxes = jnp.take_along_axis(boxes, order[..., None], 1)
  there = jnp.take_along_axis(scores, order, 1) > 0
  if labels is not None:
    labels = jnp.take_along_axis(labels, order, 1)

  def drop(index, kept):
    over = geometry.iou(boxes[:, index][:, None], boxes) > iou_threshold
    if labels is not None:
      over &= labels == labels[:, index][:, None]
    over &= jnp.arange(count) > index
    return kept & ~(over & kept[:, index][:, None])

  kept = jax.lax.fori_loop(0, count, drop, there)
  # The kept ones first, in their order.
  first = jnp.argsort(~kept, -1, stable=True)[:, :max_boxes]
  more = ((0, 0), (0, max_boxes - first.shape[1]))
  return (jnp.pad(jnp.take_along_axis(order, first, 1), more).astype(jnp.int32),
          jnp.pad(jnp.take_along_axis(kept, first, 1), more))
