"""Boxes that move with their images; see `data.Detection` for their columns."""

import jax
import jax.numpy as jnp

from bigmodels.core import boxes as geometry
from bigmodels.data.transforms.images import Batch

_KEPT = 0.25  # of the area of a box, which must be left inside


def moved(batch: Batch, scales: jax.Array | float, offsets: jax.Array | float,
          shape: tuple[int, int]) -> Batch:
  """Returns the columns of boxes after a map of the images; {} without boxes.

  Coordinates are multiplied and then shifted, in pixels. Boxes are clipped to the
  images; one of which less than a quarter is left inside is no longer present.

  Args:
    batch: may have `boxes` `[batch, most, 4]` and `present` `[batch, most]`.
    scales: vertical and horizontal, broadcast to `[batch, 2]`.
    offsets: the same.
    shape: height and width of the new images.

  Returns:
    `boxes` and `present`.
  """
  if 'boxes' not in batch:
    return {}
  boxes = batch['boxes']
  scales, offsets = (
    jnp.tile(jnp.broadcast_to(jnp.asarray(x, jnp.float32), (len(boxes), 2)), 2)[:, None]
    for x in (scales, offsets))
  boxes = boxes * scales + offsets
  return visible(boxes, geometry.clipped(boxes, shape), batch['present'])


def visible(boxes: jax.Array, inside: jax.Array, present: jax.Array) -> Batch:
  """Returns the columns of boxes of which enough is inside of an image.

  Args:
    boxes: `[batch, most, 4]`.
    inside: the parts of them that are inside.
    present: whether there is such a box, bool `[batch, most]`.

  Returns:
    `boxes`, zeros where there is none, and `present`.
  """
  area = geometry.area(inside)
  present = present & (area > 0) & (area >= _KEPT * geometry.area(boxes))
  return {'boxes': jnp.where(present[..., None], inside, 0.0), 'present': present}


def mirrored(batch: Batch, chosen: jax.Array) -> Batch:
  """Returns the columns of boxes of images that are mirrored left to right.

  Args:
    batch: may have `boxes`.
    chosen: which images are, bool `[batch]`.

  Returns:
    `boxes`; {} without boxes.
  """
  if 'boxes' not in batch:
    return {}
  width, boxes = batch['inputs'].shape[2], batch['boxes']
  other = jnp.stack([boxes[..., 0], width - boxes[..., 3], boxes[..., 2],
                     width - boxes[..., 1]], -1)
  other = jnp.where(batch['present'][..., None], other, boxes)
  return {'boxes': jnp.where(chosen[:, None, None], other, boxes)}


def refuse(batch: Batch, transform: str, instead: str = '') -> None:
  """Refuses boxes, which a transform would leave where they were.

  Args:
    batch: must not have `boxes`.
    transform: name of the transform.
    instead: what to use, to print.

  Raises:
    ValueError: naming the transform.
  """
  if 'boxes' in batch:
    raise ValueError(f'{transform}: does not move boxes with their images'
                     f'{instead and "; use "}{instead}')
