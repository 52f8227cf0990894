"""Images and their captions: vectors that are near each other where they belong."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.core.vectors import unit_length
from bigmodels.tasks.task import Columns, Split, Task, apply, init, masked_mean

_SHOWN = 16  # images in the report
COLUMNS = Columns(('inputs',), ('captions', 'caption_segments'))


def image_text(model, loss: Callable = losses.sigmoid_contrastive) -> Task:
  """Learns vectors of images and captions, to find each by the other.

  The loss compares an image with the captions of the whole batch: over all devices,
  but within a microbatch. `transforms.one_caption` draws a caption for each image;
  without it, training is on all of them. In an evaluation the loss is that of first
  captions within a batch, so it depends on the batch size; the metrics, see
  `metrics.retrieval`, are of the whole split.

  Predictions are the vectors of images, of length 1.

  Args:
    model: `models.Clip`, or a module called alike.
    loss: (images, captions, groups, mask, logit_scale=, bias=) -> `[batch]`; see
      `losses.contrastive`.
  """

  def objective(params, model_state, batch, key, train):
    found, model_state = towers(model, params, model_state, batch, key, train)
    images, captions, *_ = found
    if captions is None:
      return jnp.zeros(()), (model_state, {'loss': metrics.Mean(
        jnp.zeros(()), jnp.zeros(()))}, {'images': images})
    value, mean = contrast(loss, found, batch, train)
    return value, (model_state, {'loss': mean}, {} if train else {
      'images': images, 'captions': captions,
      'caption_groups': batch['caption_groups']})

  return Task(partial(init, model, COLUMNS), objective, ('inputs',), ('images',),
              _check, metrics.retrieval, _draw, answers=_answers)


def towers(model, params, model_state, batch: Mapping[str, jax.Array], key: jax.Array,
           train: bool) -> tuple[tuple, Any]:
  """What a model such as `models.Clip` gives, with vectors of length 1.

  Args:
    model: see `image_text`.
    params, model_state: of the model.
    batch: has `COLUMNS`, and the mask `[batch]`.
    key: of dropout.
    train: whether this is a training step.

  Returns:
    Vectors of images `[batch, width]` and of captions `[texts, most, width]`, None
    without captions, and what else the model gives; and the new `model_state`.
  """
  (images, captions, *rest), model_state = apply(
    model, COLUMNS, params, model_state, batch, key=key, train=train)
  if captions is not None:
    captions = unit_length(captions)
  return (unit_length(images), captions, *rest), model_state


def contrast(loss: Callable, found: tuple, batch: Mapping[str, jax.Array], train: bool
             ) -> tuple[jax.Array, metrics.Mean]:
  """The mean of a contrastive loss over a batch.

  Images are compared with their first captions, then with their second ones, and so on.

  Args:
    loss: see `image_text`.
    found: what `towers` gives.
    batch: has `caption_groups` `[batch, captions]`, -1 for no caption, and the mask.
    train: whether all captions count; otherwise the first ones do.
  """
  images, captions, scale, bias = found
  values, counted = [], []
  for place in range(captions.shape[1] if train else 1):
    groups = batch['caption_groups'][:, place]
    counted.append(jnp.where(groups >= 0, batch['mask'], 0))
    values.append(loss(images, captions[:, place], groups, counted[-1],
                       logit_scale=scale, bias=bias))
  return masked_mean(jnp.stack(values), jnp.stack(counted))


def _check(split: Split) -> None:
  """Refuses an evaluation without captions, or too small for what is monitored.

  Raises:
    UserError: for either.
  """
  if split.outputs and 'captions' not in split.outputs:
    raise UserError(f'{split.name}: has no captions, which image_text needs')
  of_few = re.fullmatch(rf'{re.escape(split.name)}/(\w+_r@)(\d+)', split.monitor or '')
  if of_few and int(of_few[2]) >= split.length:
    raise UserError(f'--config.monitor.metric={split.monitor}: has no value, for the '
                    f'split {split.name!r} has only {split.length:,} images; '
                    f'{split.name}/{of_few[1]}1 has one, of two or more')


def _answers(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return {'embedding': outputs['images']}


def _draw(outputs: Mapping[str, np.ndarray], inputs: plots.Inputs, classes: Any
          ) -> dict[str, Any]:
  """Recall against k; and the captions that are nearest to some images."""
  del classes
  count = len(outputs['images'])
  if not metrics.retrieval(outputs):
    return {}
  of_images, of_texts = metrics.retrieval_ranks(outputs)
  figures = plots.recalls({'image to text': of_images, 'text to image': of_texts},
                          count)
  if not getattr(inputs, 'words', None):
    return figures
  owner, place = np.nonzero(outputs['caption_groups'] >= 0)
  rows = plots.spread(count, _SHOWN)
  products = outputs['images'][rows] @ outputs['captions'][owner, place].T
  nearest = products.argmax(1)
  shown = [(each['image'], other[f'caption {place[best] + 1}'], each['caption 1'])
           for each, other, best in zip(
             inputs.words(rows), inputs.words(owner[nearest]), nearest, strict=True)]
  return {**figures, 'Nearest captions': plots.Table(
    ('image', 'nearest caption', 'its first caption'), shown)}
