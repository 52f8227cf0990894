"""Classification into two or more classes."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

from bigmodels import figures, losses, metrics
from bigmodels.tasks.task import Task, apply, init, labels_of, masked_mean


def classification(model, loss: Callable = losses.cross_entropy) -> Task:
  """One class of several for every input.

  Args:
    model: Linen module, `[batch, ...]` -> logits `[batch, classes]`; or `[batch, 1]`
      for two classes, where a positive logit means class 1.
    loss: (logits, labels `[batch]`) -> `[batch]`; see `losses`.
  """

  def objective(params, extra, batch, key, train):
    logits, extra = apply(model, params, extra, batch, key=key, train=train)
    logits = logits.astype(jnp.float32)
    if logits.ndim != 2:
      raise ValueError(f'classification wants logits [batch, classes], the model '
                       f'gives {logits.shape}')
    labels, mask = labels_of(batch), batch['mask']
    if labels.shape != mask.shape:
      raise ValueError(f'classification wants labels [batch], got {labels.shape}')
    values = loss(logits, labels)
    probabilities = losses.probabilities(logits)
    predictions = jnp.argmax(probabilities, -1)
    value, total = masked_mean(values, mask)
    _, right = masked_mean((predictions == labels).astype(jnp.float32), mask)
    outputs = {'labels': labels, 'predictions': predictions,
               'probabilities': probabilities}
    return value, (extra, {'loss': total, 'accuracy': right}, outputs)

  return Task(partial(init, model), objective, metrics.classification,
              figures.classification)
