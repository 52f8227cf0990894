"""Default boxes (Liu et al., *SSD: single shot multibox detector*, 2016)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels.core import boxes as geometry
from bigmodels.layers import grids
from bigmodels.tasks.detectors.detector import Detector, Loss, Truth, check_not_negative

# Units of offsets, as published.
_VARIANCES = np.array([0.1, 0.1, 0.2, 0.2], np.float32)


def ssd(*, scales: tuple[float, ...] = (2.0, 4.0),
        ratios: tuple[float, ...] = (1.0, 2.0), match: float = 0.5,
        negatives: float = 3.0, iou_threshold: float = 0.45) -> Detector:
  """Learns the classes of default boxes, and the offsets of objects from them.

  A default box is matched to the object that it overlaps most, if by more than `match`;
  each object is also matched to the default box that overlaps it most. Of the other
  default boxes, those with the highest losses are learned as background. An image
  without objects has as many of these as one with a single match.

  Args:
    scales: sides of the square default boxes of a map, in cells.
    ratios: ratios of width to height of default boxes of the first scale; each other
      than 1 is used together with its inverse. The first must be 1.
    match: intersection over union above which a default box is matched.
    negatives: number of default boxes learned as background for each that is matched.
    iou_threshold: see `Detector`.

  Raises:
    ValueError: for settings out of range.
  """
  if not scales or min(scales) <= 0 or not ratios or ratios[0] != 1 or min(ratios) <= 0:
    raise ValueError('scales, ratios: must be > 0, and the first ratio 1; got '
                     f'{tuple(scales)} and {tuple(ratios)}')
  if not 0 < match < 1:
    raise ValueError(f'match: must be > 0 and < 1, got {match}')
  check_not_negative(negatives=negatives)

  def loss(outputs: Any, truth: Truth, shape: tuple[int, int]) -> Loss:
    classes, offsets = joined(outputs)
    boxes = default_boxes(outputs, shape, scales, ratios)
    has, of = jax.vmap(lambda truth: matched(boxes, truth, match))(truth)
    targets = jnp.take_along_axis(truth.boxes, of[..., None], 1)
    labels = jnp.where(has, 1 + jnp.take_along_axis(truth.labels, of, 1), 0)
    targets = encoded(jnp.where(has[..., None], targets, boxes), boxes)
    of_box = optax.huber_loss(offsets, targets).sum(-1)
    of_class = optax.softmax_cross_entropy_with_integer_labels(classes, labels)
    kept = has | hardest(jax.lax.stop_gradient(of_class), has, negatives)
    return Loss({'classes': jnp.where(kept, of_class, 0.0).sum(-1),
                 'boxes': jnp.where(has, of_box, 0.0).sum(-1)}, has.sum(-1))

  def decode(outputs: Any, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    classes, offsets = joined(outputs)
    boxes = default_boxes(outputs, shape, scales, ratios)
    return decoded(offsets, boxes), jax.nn.softmax(classes)[..., 1:]

  return Detector(loss, decode, iou_threshold)


def joined(outputs: Any) -> tuple[jax.Array, jax.Array]:
  """Returns classes `[batch, n, 1 + classes]` and offsets `[batch, n, 4]` of all maps.

  Args:
    outputs: of `models.Ssd`.
  """
  return tuple(jnp.concatenate([level[name].reshape(
    len(level[name]), -1, level[name].shape[-1]) for level in outputs], 1)
    for name in ('classes', 'offsets'))


def default_boxes(outputs: Any, shape: tuple[int, int], scales: Sequence[float],
                  ratios: Sequence[float]) -> np.ndarray:
  """Returns the default boxes of all maps, `[n, 4]`, in pixels.

  Args:
    outputs: of `models.Ssd`.
    shape: height and width of the images.
    scales, ratios: see `ssd`.

  Raises:
    ValueError: if the model has another number of boxes in a cell.
  """
  sizes = [(scale, scale) for scale in scales]
  for ratio in ratios[1:]:
    root = ratio**0.5
    wide = scales[0] / root, scales[0] * root
    sizes += [wide, wide[::-1]]
  found = []
  for level in outputs:
    size, count = level['offsets'].shape[1:3], level['offsets'].shape[3]
    if count != len(sizes):
      raise ValueError(f'scales and ratios are {len(sizes)} default boxes in a cell, '
                       f'the model has {count}: set --config.model.boxes={len(sizes)}')
    stride = shape[0] // size[0]
    found.append(grids.default_boxes(size, stride, np.array(sizes) * stride))
  return np.concatenate(found)


def matched(boxes: np.ndarray, truth: Truth, match: float
            ) -> tuple[jax.Array, jax.Array]:
  """Matches default boxes to the objects of an image.

  Args:
    boxes: `[n, 4]`.
    truth: the objects, without the axis of a batch.
    match: see `ssd`.

  Returns:
    Whether a default box has an object, bool `[n]`, and which, int `[n]`.
  """
  ious = jnp.where(truth.present[:, None],
                   geometry.iou(truth.boxes[:, None], boxes), -1.0)
  of, has = jnp.argmax(ious, 0), jnp.max(ious, 0) > match
  best = jnp.argmax(ious, 1)
  # Of two objects with the same best box, the later one has it.
  index = jnp.arange(len(best))
  forced = jnp.full(len(boxes), -1).at[best].max(jnp.where(truth.present, index, -1))
  return has | (forced >= 0), jnp.where(forced >= 0, forced, of)


def hardest(values: jax.Array, has: jax.Array, negatives: float) -> jax.Array:
  """Returns the boxes without objects that have the highest losses, bool `[batch, n]`.

  Args:
    values: their losses, `[batch, n]`.
    has: which have objects, bool `[batch, n]`.
    negatives: how many for each box with an object.
  """
  count = negatives * jnp.maximum(has.sum(-1, keepdims=True), 1)
  values = jnp.where(has, -jnp.inf, values)
  rank = jnp.argsort(jnp.argsort(-values, -1, stable=True), -1)
  return (rank < count) & ~has


def encoded(targets: jax.Array, boxes: jax.Array) -> jax.Array:
  """Returns the offsets of boxes from default boxes, in units of their variances.

  Args:
    targets: `[..., 4]`.
    boxes: default boxes, broadcast to `[..., 4]`.

  Returns:
    `[..., 4]`: of centers, in sizes of the default box, and of logarithms of sizes.
  """
  sizes = geometry.sizes(boxes)
  centres = (geometry.centres(targets) - geometry.centres(boxes)) / sizes
  grown = jnp.log(jnp.maximum(geometry.sizes(targets), 1e-3) / sizes)
  return jnp.concatenate([centres, grown], -1) / _VARIANCES


def decoded(offsets: jax.Array, boxes: jax.Array) -> jax.Array:
  """Returns boxes of their offsets from default boxes: the inverse of `encoded`.

  Args:
    offsets: `[..., 4]`.
    boxes: default boxes, broadcast to `[..., 4]`.

  Returns:
    `[..., 4]`.
  """
  offsets, sizes = offsets * _VARIANCES, geometry.sizes(boxes)
  return geometry.of_centres(geometry.centres(boxes) + offsets[..., :2] * sizes,
                             sizes * jnp.exp(jnp.minimum(offsets[..., 2:], 10.0)))
