"""Classification into two or more classes."""

import inspect
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

from bigmodels import losses, metrics, plots
from bigmodels.tasks.task import Task, apply, init, labels_of, masked_mean


def classification(model, loss: Callable = losses.cross_entropy, *,
                   smoothing: float = 0.0, views: tuple[Callable, ...] = (),
                   weights: tuple[float, ...] = ()) -> Task:
  """One class of several for every input.

  Labels are class indices, `[batch]`, or float `[batch, classes]`, the share of each
  class, as mixed examples have them; where something is right or wrong, the class of
  the largest share counts.

  Args:
    model: Linen module, `[batch, ...]` -> logits `[batch, classes]`; or `[batch, 1]`
      for two classes, where a positive logit means class 1.
    loss: (logits, labels) -> `[batch]`; see `losses`.
    smoothing: of the labels in training, see `losses.cross_entropy`.
    views: functions of the inputs `[batch, ...]`, such as those of `data.views`. The
      answer of an evaluation is the mean of the logits for all of them, at the price
      of as many forward passes.
    weights: of the views in that mean, one for each; all the same if left out.
  """
  if not 0 <= smoothing < 1:
    raise ValueError(f'smoothing: wants 0 or more and less than 1, got {smoothing}')
  if smoothing and 'smoothing' not in inspect.signature(loss).parameters:
    raise ValueError(f'smoothing: wants 0 with a loss that knows none, got {smoothing}')
  if weights and (len(weights) != len(views) or min(weights) <= 0):
    raise ValueError(f'weights: wants a number above 0 for each of the {len(views)} '
                     f'views, got {weights}')

  def answer(params, model_state, batch, key, train):
    logits, model_state = apply(model, params, model_state, batch, key=key, train=train)
    if logits.ndim != 2:
      raise ValueError(f'classification wants logits [batch, classes], the model '
                       f'gives {logits.shape}')
    return logits.astype(jnp.float32), model_state

  def mean_answer(params, model_state, batch, key):
    parts = weights or (1,) * len(views)
    return sum(part / sum(parts) * answer(
      params, model_state, {**batch, 'inputs': view(batch['inputs'])}, key, False)[0]
      for part, view in zip(parts, views, strict=True))

  def objective(params, model_state, batch, key, train):
    if views and not train:
      logits = mean_answer(params, model_state, batch, key)
    else:
      logits, model_state = answer(params, model_state, batch, key, train)
    labels, mask = labels_of(batch), batch['mask']
    shares = jnp.issubdtype(labels.dtype, jnp.floating)
    if labels.ndim != 1 + shares:
      raise ValueError('classification wants labels [batch], or float [batch, '
                       f'classes], got {labels.dtype} {labels.shape}'
                       f'{_hint(labels.dtype, labels.shape)}')
    settings = {'smoothing': smoothing} if smoothing and train else {}
    values = loss(logits, labels, **settings)
    likeliest = jnp.argmax(labels, -1) if shares else labels
    probabilities = losses.probabilities(logits)
    predictions = jnp.argmax(probabilities, -1)
    value, total = masked_mean(values, mask)
    _, right = masked_mean((predictions == likeliest).astype(jnp.float32), mask)
    outputs = {'labels': likeliest, 'predictions': predictions,
               'probabilities': probabilities}
    return value, (model_state, {'loss': total, 'accuracy': right}, outputs)

  return Task(partial(init, model), objective, metrics.classification,
              plots.classification)


def _hint(dtype, shape: tuple[int, ...]) -> str:
  """How labels of another shape become classes."""
  if len(shape) == 1:
    return '; labels.astype(int) makes classes of whole numbers'
  if len(shape) == 2 and shape[1] == 1:
    return '; labels[:, 0] is the one column'
  if len(shape) == 2 and not jnp.issubdtype(dtype, jnp.floating):
    return '; of rows with a single 1, labels.argmax(1) is the class'
  return ''
