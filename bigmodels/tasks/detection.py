"""Detection: boxes around the objects in images."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bigmodels import metrics, plots
from bigmodels.core import boxes as geometry
from bigmodels.core.errors import UserError
from bigmodels.core.from_run import FROM_RUN
from bigmodels.layers.suppression import suppress
from bigmodels.metrics import Mean
from bigmodels.metrics.detection import evaluate, library, matches
from bigmodels.tasks import found_boxes
from bigmodels.tasks.detectors import Detector, Truth
from bigmodels.tasks.task import Columns, Findings, Split, Task, apply, init

_COLUMNS = ('boxes', 'labels', 'present', 'crowd')  # of `data.Detection`


def detection(model, detector: Callable[[], Detector], *, max_boxes: int = 100,
              candidates: int = 1000, score_threshold: float = 0.01,
              draw_threshold: float = 0.3, training: Any = FROM_RUN) -> Task:
  """Finds the objects in images, as boxes with a class and a score.

  The loss is a sum over images, divided by the number of positives of the whole batch,
  over all devices and microbatches. An image without positives counts as one, so that
  what it has is learned. Groups of objects (`crowd`) are learned as background, and an
  evaluation ignores them.

  An evaluation gives COCO's average precision, `ap` over the intersections over union
  0.5 to 0.95, `ap50` and `ap75`, `ap_small`, `ap_medium` and `ap_large`, by boxes in
  pixels of the original images; see `metrics.detection`. Boxes that overlap a better
  one of their class are dropped within the compiled step.

  Args:
    model: Linen module, images `[batch, height, width, channels]` -> the outputs that
      the detector reads.
    detector: makes the `Detector`; see `tasks.detectors`.
    max_boxes: maximum number of boxes that are found in an image; COCO counts 100.
    candidates: number of boxes with the highest scores, before overlaps are dropped.
    score_threshold: minimum score of a box that is found.
    draw_threshold: minimum score of a box that the report and `--mode=predict` draw.
    training: the opened training split, whose classes have names; supplied by the run.

  Raises:
    ValueError: for settings out of range.
  """
  for name, value in (('max_boxes', max_boxes), ('candidates', candidates)):
    if value < 1:
      raise ValueError(f'{name}: must be >= 1, got {value}')
  if not 0 <= score_threshold < 1:
    raise ValueError(f'score_threshold: must be >= 0 and < 1, got {score_threshold}')
  if not 0 <= draw_threshold <= 1:
    raise ValueError(f'draw_threshold: must be >= 0 and <= 1, got {draw_threshold}')
  columns, how = Columns(('inputs',)), detector()
  classes = getattr(training, 'classes', None)

  def objective(params, model_state, batch, key, train):
    outputs, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    outputs = jax.tree.map(lambda x: x.astype(jnp.float32), outputs)
    shape, mask = batch['inputs'].shape[1:3], batch['mask'] > 0
    found = how.loss(outputs, _truth(batch), shape)
    count = jnp.sum(jnp.where(mask, jnp.maximum(found.positives, 1), 0)).astype(
      jnp.float32)
    parts = {name: Mean(jnp.sum(jnp.where(mask, values, 0.0)), count)
             for name, values in found.parts.items()}
    loss = Mean(sum(part.total for part in parts.values()), count)
    value = loss.total / jnp.where(count > 0, count, 1.0)
    values = {'loss': loss, **{f'loss_{name}': part for name, part in parts.items()}}
    if train:
      return value, (model_state, values, {})
    with jax.named_scope('boxes'):
      best = _best(*how.decode(outputs, shape), how.iou_threshold, candidates,
                   max_boxes, score_threshold)
    return value, (model_state, values, _outputs(batch, shape, *best))

  return Task(
    partial(init, model, columns), objective, columns.names,
    ('found_boxes', 'found_labels', 'found_scores'), check, metrics.detection,
    partial(_plots, draw_threshold=draw_threshold),
    answers=partial(found_boxes.texts, classes), findings=Findings(
      draw_threshold, partial(found_boxes.draw, classes),
      partial(found_boxes.coco, classes), 'found.json', found_boxes.line))


def check(split: Split) -> None:
  """Refuses an installation without pycocotools, and labels of another kind.

  Raises:
    UserError: for either.
  """
  library()
  if split.labels is not None and split.labels.ndim != 2:
    raise UserError(f'{split.name}: labels must be classes of boxes [n, objects], as '
                    f'of data.Detection; got {split.labels.dtype} {split.labels.shape}')


def _plots(outputs, inputs: plots.Inputs, classes, *, draw_threshold: float
           ) -> dict[str, Any]:
  """See `plots.detection`."""
  found, seen = zip(*(matches(outputs, image) for image in range(
    len(outputs['present']))), strict=True)
  return plots.detection(outputs, inputs, classes, found=found, seen=seen,
                         draw_threshold=draw_threshold,
                         precision=evaluate(outputs).precision)


def _truth(batch: Mapping[str, jax.Array]) -> Truth:
  """What is to be learned of a batch of `data.Detection`.

  Raises:
    ValueError: for a batch without boxes.
  """
  missing = [name for name in _COLUMNS if name not in batch]
  if missing:
    raise ValueError(f'the task needs the column {missing[0]!r}, as of data.Detection; '
                     f'the data has {", ".join(batch)}')
  present = batch['present'] & ~batch['crowd'] & (batch['mask'] > 0)[:, None]
  boxes = jnp.where(present[..., None], batch['boxes'], 0.0)
  return Truth(boxes, jnp.where(present, batch['labels'], 0), present)


def _best(boxes: jax.Array, scores: jax.Array, iou_threshold: float | None,
          candidates: int, max_boxes: int, score_threshold: float
          ) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The best boxes of images.

  Args:
    boxes: `[batch, n, 4]`.
    scores: `[batch, n, classes]`.
    iou_threshold: see `Detector`.
    candidates, max_boxes, score_threshold: see `detection`.

  Returns:
    Boxes `[batch, max_boxes, 4]`, their classes int `[batch, max_boxes]`, and their
    scores `[batch, max_boxes]`, sorted; scores are 0 where there are no more boxes.
  """
  classes = scores.shape[-1]
  scores = scores.reshape(len(scores), -1)
  count = min(scores.shape[1], max_boxes if iou_threshold is None else candidates)
  scores, index = jax.lax.top_k(scores, count)
  scores = jnp.where(scores >= score_threshold, scores, 0.0)
  boxes = jnp.take_along_axis(boxes, (index // classes)[..., None], 1)
  labels = index % classes
  if iou_threshold is None:
    more = ((0, 0), (0, max_boxes - count))
    return jnp.pad(boxes, (*more, (0, 0))), jnp.pad(labels, more), jnp.pad(scores, more)
  kept, there = suppress(boxes, scores, labels, iou_threshold=iou_threshold,
                         max_boxes=max_boxes)
  return (jnp.take_along_axis(boxes, kept[..., None], 1),
          jnp.take_along_axis(labels, kept, 1),
          jnp.where(there, jnp.take_along_axis(scores, kept, 1), 0.0))


def _outputs(batch: Mapping[str, jax.Array], shape: tuple[int, int], boxes: jax.Array,
             labels: jax.Array, scores: jax.Array) -> dict[str, Any]:
  """The outputs of an evaluation; boxes are in pixels of the original images.

  Args:
    batch: of `data.Detection`; `sizes` and `scales` may be zeros, if they are unknown.
    shape: of the images.
    boxes, labels, scores: what was found; see `_best`.
  """
  def known(name, otherwise):
    given = batch.get(name, jnp.zeros((len(boxes), 2)))
    return jnp.where(given > 0, given, jnp.array(otherwise, jnp.float32))

  scales, sizes = known('scales', (1.0, 1.0)), known('sizes', shape)
  back = jnp.tile(scales, 2)[:, None]
  found = jnp.where(scores[..., None] > 0, geometry.clipped(
    boxes / back, sizes[:, None]), 0.0)
  return {'found_boxes': found, 'found_labels': jnp.where(scores > 0, labels, 0),
          'found_scores': scores, 'boxes': batch['boxes'] / back, 'scales': scales,
          'sizes': sizes, **{name: batch[name] for name in (
            'labels', 'present', 'crowd', 'areas')}}
