"""Classification by the names of classes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from bigmodels import losses, metrics, plots
from bigmodels.core.from_run import FROM_RUN
from bigmodels.core.vectors import products, unit_length
from bigmodels.tasks.classification import check
from bigmodels.tasks.image_text import COLUMNS, contrast, towers
from bigmodels.tasks.task import Task, init, labels_of, masked_mean


def zero_shot(model, loss: Callable = losses.sigmoid_contrastive, *,
              prompts: Any = FROM_RUN) -> Task:
  """Learns vectors of images and captions, and classifies by the names of classes.

  Training is that of `image_text`. An evaluation gives each class the mean of the
  vectors of its prompts (Radford et al., *Learning transferable visual models from
  natural language supervision*, 2021), of length 1. The product of that with an image,
  times the scale of the model, is the logit of the class; the loss is the
  cross-entropy.

  Args:
    model: `models.Clip`, or a module called alike.
    loss: see `image_text`.
    prompts: `tokens` and `segments` of the captions of each class, `[classes,
      templates, length]`; supplied by the run, see `data.ClassCaptions`.
  """

  def logits_of(params, model_state, batch, key):
    asked = {**batch, 'captions': jnp.asarray(prompts.tokens),
             'caption_segments': jnp.asarray(prompts.segments)}
    (images, captions, scale, _), _ = towers(
      model, params, model_state, asked, key, False)
    return scale * products(images, unit_length(captions.mean(1)))

  def objective(params, model_state, batch, key, train):
    if train:
      found, model_state = towers(model, params, model_state, batch, key, True)
      value, mean = contrast(loss, found, batch, True)
      return value, (model_state, {'loss': mean}, {})
    logits = logits_of(params, model_state, batch, key)
    labels, probabilities = labels_of(batch), losses.probabilities(logits)
    predictions = jnp.argmax(probabilities, -1)
    value, mean = masked_mean(losses.cross_entropy(logits, labels), batch['mask'])
    _, accuracy = masked_mean((predictions == labels).astype(jnp.float32),
                              batch['mask'])
    return value, (model_state, {'loss': mean, 'accuracy': accuracy}, {
      'labels': labels, 'predictions': predictions, 'probabilities': probabilities})

  return Task(partial(init, model, COLUMNS), objective, ('inputs',),
              ('predictions', 'probabilities'), check,
              metrics.classification, plots.classification)
