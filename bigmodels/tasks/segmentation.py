"""Semantic segmentation: the class of each pixel of an image."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError, listed
from bigmodels.data import transforms
from bigmodels.data.masks import IGNORED
from bigmodels.tasks.task import (
  Columns,
  Split,
  Task,
  apply,
  check_weights,
  example_weights,
  init,
  labels_of,
  masked_mean,
)
from bigmodels.tasks.tiles import in_tiles

_TILE = 256  # pixels of a side
_STEP = 64  # pixels by which the side of a tile grows for larger images
_MOST = 255  # classes, of bytes


def segmentation(model, *, mean, std, dice: float = 1.0, ignore: int = 255) -> Task:
  """Predicts the class of each pixel of an image, a mask.

  The loss of an image is the mean cross-entropy of its pixels, plus `dice` times
  `losses.dice`. That of a batch or split is the mean over images; a column `weights` of
  the batch, float `[batch]`, weighs them. Pixels with the label `ignore`, and those
  that are not `inside`, count nowhere. Metrics are those of `metrics.segmentation`.

  Images are standardized here, not by transforms, so that those of any size can be
  predicted.

  Args:
    model: Linen module, images `[batch, height, width, channels]` -> logits `[batch,
      height, width, classes]`. `inside`, bool `[batch, height, width]`, is passed by
      name if the data has it. To predict images of any size, it needs `inside` and a
      `radius`; see `models.SegmentationUnet`.
    mean, std: of the images, `[channels]`; supplied by the run.
    dice: weight of the Dice loss beside the cross-entropy.
    ignore: the label of pixels that do not count, beside 255, that of pixels outside of
      an image.

  Raises:
    ValueError: for a weight out of range.
  """
  if not 0 <= dice < math.inf:
    raise ValueError(f'dice: must be >= 0 and finite, got {dice}')
  module = getattr(model, 'model', model)  # within its precision
  columns = Columns(('inputs',), ('inside',))

  def prepared(batch):
    if jnp.issubdtype(batch['inputs'].dtype, jnp.floating):
      raise ValueError('segmentation needs images of integers, which it standardizes; '
                       f'got {batch["inputs"].dtype}: leave standardize out')
    return transforms.standardize(batch, None, mean=mean, std=std)

  def start(key, batch):
    return init(model, columns, key, prepared(batch))

  def logits_of(params, model_state, batch, key, train):
    logits, model_state = apply(
      model, columns, params, model_state, prepared(batch), key=key, train=train)
    if logits.shape[:-1] != batch['inputs'].shape[:-1] or logits.shape[-1] > _MOST:
      raise ValueError(
        'segmentation needs logits [batch, height, width, at most '
        f'{_MOST} classes] of images {batch["inputs"].shape}, the model gives '
        f'{logits.shape}')
    return logits.astype(jnp.float32), model_state

  def objective(params, model_state, batch, key, train):
    logits, model_state = logits_of(params, model_state, batch, key, train)
    labels = labels_of(batch)
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(
      labels.dtype, jnp.integer):
      raise ValueError('segmentation needs labels, integers '
                       f'{logits.shape[:-1]} as the images, got {labels.dtype} '
                       f'{labels.shape}')
    counted = (labels != ignore) & (labels != IGNORED) & (
      batch['mask'] > 0)[:, None, None]
    if 'inside' in batch:
      counted &= batch['inside']
    known = jnp.where(counted, labels, 0).astype(jnp.int32)
    pixels = jnp.sum(counted, (1, 2))
    entropy = jnp.where(counted, losses.cross_entropy(logits, known), 0.0)
    values = jnp.sum(entropy, (1, 2)) / jnp.maximum(pixels, 1)
    if dice:
      values += dice * losses.dice(logits, known, counted)
    predictions = jnp.argmax(logits, -1).astype(jnp.uint8)
    value, loss = masked_mean(values, jnp.where(
      pixels > 0, example_weights(batch, columns), 0.0))
    right = jnp.sum(counted & (predictions == known), (1, 2)).astype(jnp.float32)
    found = {'loss': loss, 'accuracy': metrics.Mean(
      jnp.sum(right), jnp.sum(pixels.astype(jnp.float32)))}
    if train:
      return value, (model_state, found, {})
    return value, (model_state, found, {
      'confusion': metrics.pixel_confusion(
        known, predictions, counted, logits.shape[-1]),
      'labels': jnp.where(counted, known, IGNORED).astype(jnp.uint8),
      'predictions': predictions})

  @jax.jit
  def classes_of(params, model_state, inputs, inside):
    batch = {'inputs': inputs[None], 'inside': inside[None], 'mask': jnp.ones(1)}
    return jnp.argmax(logits_of(params, model_state, batch, None, False)[0][0], -1)

  def image_to_mask(params, model_state, image):
    side = min(_TILE, -(-max(image.shape[:2]) // _STEP) * _STEP)
    return in_tiles(partial(classes_of, params, model_state), image, scale=1,
                    radius=module.radius, tile=side).astype(np.uint8)

  return Task(
    start, objective, columns.names, ('predictions',), partial(check, ignore=ignore),
    metrics.segmentation, plots.segmentation,
    image_to_image=image_to_mask if hasattr(module, 'radius') else None,
    channels=len(mean) if np.ndim(mean) else None)


def check(split: Split, *, ignore: int) -> None:
  """Refuses masks that cannot be learned, and prints the classes without pixels.

  Args:
    split: the split.
    ignore: the label of pixels that do not count.

  Raises:
    UserError: also for a model with another number of classes.
  """
  check_weights(split)
  name, classes, labels = split.name, split.classes, split.labels
  outputs = split.outputs.get('confusion')
  if classes and outputs is not None and outputs.shape[-1] != len(classes):
    raise UserError(
      f'{name}: the model has {outputs.shape[-1]} outputs, the data has '
      f'{len(classes)} classes: set --config.model.num_outputs={len(classes)}')
  if not classes or labels is None or labels.ndim != 3:
    return
  found = np.zeros(len(classes), bool)
  for row, mask in enumerate(labels):
    values = np.unique(mask)
    values = values[(values != ignore) & (values != IGNORED)]
    wrong = values[(values < 0) | (values >= len(classes))]
    if len(wrong):
      place = np.argwhere(mask == wrong[0])[0]
      raise UserError(
        f'{name}: the label of row {row} is {wrong[0]} at {place.tolist()}, must be 0 '
        f'to {len(classes) - 1} for {len(classes)} classes, or {ignore} for pixels '
        'that do not count')
    found[values] = True
  if not found.any():
    raise UserError(f'{name}: no pixel of {split.length:,} masks counts: all labels '
                    f'are {ignore}')
  absent = [classes[c] for c in np.flatnonzero(~found)]
  if absent:
    split.say(f'{name}: no pixel of {len(absent):,} of {len(classes):,} classes: '
              f'{listed(absent)}')
