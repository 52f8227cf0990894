"""Geometry of boxes: `[..., 4]`, top, left, bottom and right, in any unit.

Rows grow downwards: a box has an area if bottom > top and right > left.
"""

import jax
import jax.numpy as jnp
import numpy as np

_TINY = 1e-7  # in place of an area of 0


def area(boxes: jax.Array) -> jax.Array:
  """Computes the area of each box, `[..., 4]` -> `[...]`; 0 if corners are swapped."""
  top, left, bottom, right = jnp.moveaxis(boxes, -1, 0)
  return jnp.maximum(bottom - top, 0) * jnp.maximum(right - left, 0)


def intersection(boxes: jax.Array, others: jax.Array) -> jax.Array:
  """Computes the area that boxes have in common with others.

  Args:
    boxes, others: `[..., 4]`; they are broadcast against each other.

  Returns:
    `[...]`.
  """
  return _product(boxes, others, jnp.maximum, jnp.minimum)


def _product(boxes: jax.Array, others: jax.Array, start, end) -> jax.Array:
  """The area from `start` to `end` of both; 0 if the end is before the start.

  Coordinates are taken one by one: an axis of two is slow on a CPU.
  """
  height, width = (
    jnp.maximum(end(boxes[..., i + 2], others[..., i + 2])
                - start(boxes[..., i], others[..., i]), 0) for i in (0, 1))
  return height * width


def iou(boxes: jax.Array, others: jax.Array) -> jax.Array:
  """Computes the intersection over union of boxes and others.

  `iou(a[:, None], b)` compares all boxes `a` `[n, 4]` with all `b` `[m, 4]`.

  Args:
    boxes, others: `[..., 4]`; they are broadcast against each other.

  Returns:
    `[...]`, 0 to 1; 0 for two boxes of no area.
  """
  both = intersection(boxes, others)
  return both / jnp.maximum(area(boxes) + area(others) - both, _TINY)


def giou(boxes: jax.Array, others: jax.Array) -> jax.Array:
  """Computes the generalized intersection over union (Rezatofighi et al., 2019).

  It is the intersection over union, less the fraction of the smallest box around both
  that neither fills; so it has a gradient for boxes that do not touch.

  Args:
    boxes, others: `[..., 4]`; they are broadcast against each other.

  Returns:
    `[...]`, -1 to 1.
  """
  both = intersection(boxes, others)
  union = area(boxes) + area(others) - both
  around = _product(boxes, others, jnp.minimum, jnp.maximum)
  return both / jnp.maximum(union, _TINY) - (
    around - union) / jnp.maximum(around, _TINY)


def centres(boxes: jax.Array) -> jax.Array:
  """Returns the centers of boxes, `[..., 4]` -> `[..., 2]`, row and column."""
  return (boxes[..., :2] + boxes[..., 2:]) / 2


def sizes(boxes: jax.Array) -> jax.Array:
  """Returns the sizes of boxes, `[..., 4]` -> `[..., 2]`, height and width."""
  return boxes[..., 2:] - boxes[..., :2]


def of_centres(centres: jax.Array, sizes: jax.Array) -> jax.Array:
  """Returns the boxes of centers and sizes.

  Args:
    centres: row and column, `[..., 2]`.
    sizes: height and width, `[..., 2]`.

  Returns:
    `[..., 4]`.
  """
  return jnp.concatenate([centres - sizes / 2, centres + sizes / 2], -1)


def xywh(boxes: np.ndarray) -> np.ndarray:
  """Returns left, top, width and height of boxes, as COCO has them, by NumPy.

  Args:
    boxes: `[n, 4]`.

  Returns:
    float64 `[n, 4]`.
  """
  top, left, bottom, right = np.asarray(boxes, np.float64).reshape(-1, 4).T
  return np.stack([left, top, right - left, bottom - top], -1)


def clipped(boxes: jax.Array, shape: jax.Array) -> jax.Array:
  """Returns the parts of boxes `[..., 4]` inside of images.

  Args:
    boxes: `[..., 4]`.
    shape: height and width, broadcast to `[..., 2]`.
  """
  shape = jnp.asarray(shape)
  return jnp.clip(boxes, 0, jnp.concatenate([shape, shape], -1).astype(boxes.dtype))
