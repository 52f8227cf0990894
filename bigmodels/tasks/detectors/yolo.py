"""YOLO without anchors (Ge et al., *YOLOX: exceeding YOLO series in 2021*, 2021)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels import losses
from bigmodels.core import boxes as geometry
from bigmodels.layers import grids
from bigmodels.tasks.detectors.detector import Detector, Loss, Truth, check_not_negative

_NEVER = 1e9  # the cost of a cell that cannot be taken
_FAR = 1e5  # what it costs to be outside of a box or far from its center


class Cells(NamedTuple):
  """The outputs of all cells of all maps.

  Attributes:
    boxes: `[batch, n, 4]`, in pixels.
    objects: logits, `[batch, n]`.
    classes: logits, `[batch, n, classes]`.
    points: the centers of the cells, `[n, 2]`, in pixels.
    strides: of the map of each cell, `[n]`.
  """

  boxes: jax.Array
  objects: jax.Array
  classes: jax.Array
  points: np.ndarray
  strides: np.ndarray


def yolo(*, box: float = 5.0, radius: float = 2.5, top_k: int = 10,
         iou_threshold: float = 0.65) -> Detector:
  """Learns boxes at the cells that an object takes by the cost of what they give.

  An object takes as many cells as the sum of the `top_k` best intersections over union
  with it, at least one: those whose boxes and classes cost it least ("SimOTA"). A cell
  belongs to one object, that which it costs least.

  Args:
    box: weight of the loss of boxes, 1 less the generalized intersection over union.
    radius: cells within it from the center of an object can be taken, as can those
      inside of its box; in cells.
    top_k: cells whose intersections over union with an object are added up.
    iou_threshold: see `Detector`.

  Raises:
    ValueError: for settings out of range.
  """
  for name, value in (('radius', radius), ('top_k', top_k)):
    if not value > 0:
      raise ValueError(f'{name}: must be > 0, got {value}')
  check_not_negative(box=box)

  def loss(outputs: Any, truth: Truth, shape: tuple[int, int]) -> Loss:
    cells = cells_of(outputs, shape)
    taken, of, ious = jax.vmap(
      lambda boxes, objects, classes, truth: assign(
        Cells(boxes, objects, classes, cells.points, cells.strides), truth,
        radius=radius, top_k=top_k))(cells.boxes, cells.objects, cells.classes, truth)
    taken, of, ious = jax.lax.stop_gradient((taken, of, ious))
    targets = jnp.take_along_axis(truth.boxes, of[..., None], 1)
    labels = jax.nn.one_hot(jnp.take_along_axis(truth.labels, of, 1),
                            cells.classes.shape[-1])
    targets = jnp.where(taken[..., None], targets, cells.boxes)
    cross_entropy = optax.sigmoid_binary_cross_entropy
    of_class = cross_entropy(cells.classes, labels * ious[..., None]).sum(-1)

    def at_taken(values):
      return jnp.where(taken, values, 0.0).sum(-1)

    return Loss({
      'boxes': box * at_taken(losses.giou(cells.boxes, targets)),
      'objects': cross_entropy(cells.objects, taken.astype(jnp.float32)).sum(-1),
      'classes': at_taken(of_class)}, taken.sum(-1))

  def decode(outputs: Any, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    cells = cells_of(outputs, shape)
    return cells.boxes, jax.nn.sigmoid(cells.objects)[..., None] * jax.nn.sigmoid(
      cells.classes)

  return Detector(loss, decode, iou_threshold)


def cells_of(outputs: Any, shape: tuple[int, int]) -> Cells:
  """Joins the outputs of all maps.

  Args:
    outputs: of `models.Yolo`.
    shape: height and width of the images.
  """
  points, strides = [], []
  for level in outputs:
    size = level['boxes'].shape[1:3]
    stride = shape[0] // size[0]
    points.append(grids.points(size, stride))
    strides.append(np.full(len(points[-1]), stride, np.float32))

  def joined(name):
    return jnp.concatenate([level[name].reshape(
      len(level[name]), -1, level[name].shape[-1]) for level in outputs], 1)

  points, strides = np.concatenate(points), np.concatenate(strides)
  raw = joined('boxes')
  # The exponential of an untrained network must not overflow.
  sizes = jnp.exp(jnp.minimum(raw[..., 2:], 10.0)) * strides[:, None]
  boxes = geometry.of_centres(points + raw[..., :2] * strides[:, None], sizes)
  return Cells(boxes, joined('objects')[..., 0], joined('classes'), points, strides)


def assign(cells: Cells, truth: Truth, *, radius: float, top_k: int
           ) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gives cells to the objects of an image.

  Args:
    cells: its outputs, without the axis of a batch.
    truth: its objects, the same.
    radius, top_k: see `yolo`.

  Returns:
    Whether a cell is taken, bool `[n]`; by which object, int `[n]`; and the overlap of
    its box with it, `[n]`.
  """
  ious = geometry.iou(truth.boxes[:, None], cells.boxes)
  points = jnp.asarray(cells.points)
  inside = ((points > truth.boxes[:, None, :2]) & (points < truth.boxes[:, None, 2:])
            ).all(-1)
  apart = jnp.abs(points - geometry.centres(truth.boxes)[:, None])
  near = (apart < radius * jnp.asarray(cells.strides)[:, None]).all(-1)
  possible = (inside | near) & truth.present[:, None]
  log_p = (jax.nn.log_sigmoid(cells.classes)
           + jax.nn.log_sigmoid(cells.objects)[:, None]) / 2
  log_q = jnp.log1p(-jnp.minimum(jnp.exp(log_p), 1 - 1e-6))
  # The cross-entropy of all classes, for each object's own.
  of_class = -(log_q.sum(-1) + (log_p - log_q)[:, truth.labels].T)
  cost = of_class - 3 * jnp.log(ious + 1e-8) + _FAR * ~(inside & near)
  cost = jnp.where(possible, cost, _NEVER)
  best, _ = jax.lax.top_k(jnp.where(possible, ious, 0.0), min(top_k, ious.shape[1]))
  count = jnp.maximum(best.sum(-1).astype(jnp.int32), 1)
  rank = jnp.argsort(jnp.argsort(cost, -1, stable=True), -1)
  wanted = (rank < count[:, None]) & possible
  of = jnp.argmin(jnp.where(wanted, cost, 2 * _NEVER), 0)
  taken = wanted.any(0)
  return taken, of, jnp.where(taken, jnp.take_along_axis(ious, of[None], 0)[0], 0.0)
