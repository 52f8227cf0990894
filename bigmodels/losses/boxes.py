"""Losses of boxes."""

import jax

from bigmodels.core import boxes as geometry


def giou(boxes: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes 1 less the generalized intersection over union, 0 to 2.

  As `torchvision.ops.generalized_box_iou_loss` (Rezatofighi et al., 2019).

  Args:
    boxes, targets: `[..., 4]`, see `core.boxes`.

  Returns:
    `[...]`.
  """
  return 1 - geometry.giou(boxes, targets)
