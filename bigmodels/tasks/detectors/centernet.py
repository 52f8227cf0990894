"""Objects as points (Zhou et al., *Objects as Points*, 2019)."""

import jax
import jax.numpy as jnp

from bigmodels import losses
from bigmodels.core import boxes as geometry
from bigmodels.layers.pooling import max_pool
from bigmodels.tasks.detectors.detector import Detector, Loss, Truth, check_not_negative


def centernet(*, min_iou: float = 0.7, size: float = 0.1, offset: float = 1.0
              ) -> Detector:
  """Learns a peak at the center of every object, and its size and offset there.

  Peaks are local maxima, so nothing is suppressed.

  Args:
    min_iou: intersection over union with the truth that a box of the right size keeps
      within the radius of a peak; the Gaussian's deviation is a third of the radius.
    size, offset: weights of the losses of sizes and offsets.

  Raises:
    ValueError: for settings out of range.
  """
  if not 0 < min_iou < 1:
    raise ValueError(f'min_iou: must be > 0 and < 1, got {min_iou}')
  check_not_negative(size=size, offset=offset)

  def loss(outputs, truth: Truth, shape: tuple[int, int]) -> Loss:
    logits = outputs['centres']
    stride = shape[0] // logits.shape[1]
    centres = geometry.centres(truth.boxes) / stride
    sizes = geometry.sizes(truth.boxes) / stride
    cells = jnp.clip(jnp.floor(centres).astype(jnp.int32), 0,
                     jnp.array(logits.shape[1:3]) - 1)
    targets = peaks(cells, radius(sizes, min_iou), truth, logits.shape[1:])
    image = jnp.arange(len(logits))[:, None]

    def at_centres(name, values):
      found = outputs[name][image, cells[..., 0], cells[..., 1]]
      errors = jnp.abs(found - values).sum(-1)
      return jnp.where(truth.present, errors, 0.0).sum(-1)

    return Loss({
      'centres': losses.heatmap_focal(logits, targets).sum((1, 2, 3)),
      'sizes': size * at_centres('sizes', sizes),
      'offsets': offset * at_centres('offsets', centres - cells)},
      truth.present.sum(-1))

  def decode(outputs, shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    scores = jax.nn.sigmoid(outputs['centres'])
    batch, height, width, classes = scores.shape
    stride = shape[0] // height
    scores = jnp.where(scores == max_pool(scores, 3, stride=1, padding=1), scores, 0.0)
    cells = jnp.stack(jnp.mgrid[:height, :width], -1)
    boxes = geometry.of_centres(
      (cells + outputs['offsets']) * stride, jnp.maximum(outputs['sizes'], 0) * stride)
    return boxes.reshape(batch, -1, 4), scores.reshape(batch, -1, classes)

  return Detector(loss, decode)


def radius(sizes: jax.Array, min_iou: float) -> jax.Array:
  """Computes how far the corners of a box may be off for an overlap with it.

  The smallest of three distances: both corners off in one direction, both to the
  inside, or both to the outside (Law and Deng, *CornerNet*, 2018).

  Args:
    sizes: heights and widths, `[..., 2]`.
    min_iou: intersection over union.

  Returns:
    `[...]`, in the unit of the sizes.
  """
  area, around = sizes[..., 0] * sizes[..., 1], sizes.sum(-1)

  # Roots of quadratic equations: (h - r)(w - r) = 2 min_iou / (1 + min_iou) h w,
  # (h - 2 r)(w - 2 r) = min_iou h w, and min_iou (h + 2 r)(w + 2 r) = h w.
  rest = area * (1 - min_iou)
  moved = (around - jnp.sqrt(around**2 - 4 * rest / (1 + min_iou))) / 2
  smaller = (around - jnp.sqrt(around**2 - 4 * rest)) / 4
  larger = (jnp.sqrt(around**2 + 4 * rest / min_iou) - around) / 4
  return jnp.minimum(jnp.minimum(moved, smaller), larger)


def peaks(cells: jax.Array, radii: jax.Array, truth: Truth,
          shape: tuple[int, int, int]) -> jax.Array:
  """Draws a Gaussian around the center of each object; the largest value counts.

  Args:
    cells: the pixels of the centers, int `[batch, objects, 2]`.
    radii: three deviations, `[batch, objects]`, in pixels; at least a pixel.
    truth: whose labels and presence count.
    shape: height, width and classes of the map.

  Returns:
    float32 `[batch, *shape]`, 1 at the centers.
  """
  height, width, classes = shape
  deviations = jnp.maximum(radii, 1.0) / 3

  def of_image(cells, deviations, labels, present):
    def draw(drawn, one):
      cell, deviation, label, there = one
      rows, columns = (
        jnp.exp(-(((jnp.arange(length) - at) / deviation) ** 2) / 2)
        for length, at in ((height, cell[0]), (width, cell[1])))
      value = jnp.where(there, rows[:, None] * columns, 0.0)
      return drawn.at[label].max(value), None

    drawn, _ = jax.lax.scan(draw, jnp.zeros((classes, height, width)),
                            (cells, deviations, labels, present))
    return jnp.moveaxis(drawn, 0, -1)

  return jax.vmap(of_image)(cells, deviations, truth.labels, truth.present)
