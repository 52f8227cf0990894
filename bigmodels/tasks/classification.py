"""Classification into two or more classes."""

import inspect
import re
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError, listed
from bigmodels.tasks.task import (
  Columns,
  Split,
  Task,
  apply,
  init,
  labels_of,
  masked_mean,
)


def classification(model, loss: Callable = losses.cross_entropy, *,
                   smoothing: float = 0.0, test_time: tuple[Callable, ...] = (),
                   test_time_weights: tuple[float, ...] = (),
                   inputs: tuple[str, ...] = ('inputs',)) -> Task:
  """Predicts one of several classes for each example.

  Labels are class indices, `[batch]`, or float `[batch, classes]`, the fraction of each
  class in a mixed example. Accuracy is measured against the class of the largest
  fraction.

  Args:
    model: Linen module, `[batch, ...]` -> logits `[batch, classes]`; or `[batch, 1]`
      for two classes, where a positive logit means class 1.
    loss: (logits, labels) -> `[batch]`; see `losses`.
    smoothing: label smoothing in training, see `losses.cross_entropy`.
    test_time: test-time augmentations, functions of `inputs` `[batch, ...]` such as
      those of `data.test_time`. An evaluation makes a forward pass for each, and
      averages the logits.
    test_time_weights: weights of the augmentations in that mean; equal if left out.
    inputs: columns that the model is called with, in this order; `segments` is passed
      by name if the data has it.

  Raises:
    ValueError: for settings that contradict each other.
  """
  if not 0 <= smoothing < 1:
    raise ValueError(f'smoothing: must be >= 0 and < 1, got {smoothing}')
  if smoothing and 'smoothing' not in inspect.signature(loss).parameters:
    raise ValueError(f'smoothing: must be 0 with a loss that does not accept it, got '
                     f'{smoothing}')
  weights = test_time_weights
  if weights and (len(weights) != len(test_time) or min(weights) <= 0):
    raise ValueError(f'test_time_weights: must be a number > 0 for each of the '
                     f'{len(test_time)} augmentations, got {weights}')
  columns = Columns(inputs, ('segments',))

  def logits_of(params, model_state, batch, key, train):
    logits, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    if logits.ndim != 2:
      raise ValueError(f'classification needs logits [batch, classes], the model '
                       f'gives {logits.shape}')
    return logits.astype(jnp.float32), model_state

  def mean_logits(params, model_state, batch, key):
    parts = weights or (1,) * len(test_time)
    return sum(part / sum(parts) * logits_of(
      params, model_state, {**batch, 'inputs': augment(batch['inputs'])}, key, False)[0]
      for part, augment in zip(parts, test_time, strict=True))

  def objective(params, model_state, batch, key, train):
    if test_time and not train:
      logits = mean_logits(params, model_state, batch, key)
    else:
      logits, model_state = logits_of(params, model_state, batch, key, train)
    labels, mask = labels_of(batch), batch['mask']
    fractions = jnp.issubdtype(labels.dtype, jnp.floating)
    if labels.ndim != 1 + fractions:
      raise ValueError('classification needs labels [batch], or float [batch, '
                       f'classes], got {labels.dtype} {labels.shape}'
                       f'{_hint(labels.dtype, labels.shape)}')
    settings = {'smoothing': smoothing} if smoothing and train else {}
    values = loss(logits, labels, **settings)
    most_likely = jnp.argmax(labels, -1) if fractions else labels
    probabilities = losses.probabilities(logits)
    predictions = jnp.argmax(probabilities, -1)
    value, mean = masked_mean(values, mask)
    _, accuracy = masked_mean((predictions == most_likely).astype(jnp.float32), mask)
    outputs = {'labels': most_likely, 'predictions': predictions,
               'probabilities': probabilities}
    return value, (model_state, {'loss': mean, 'accuracy': accuracy}, outputs)

  return Task(
    partial(init, model, columns), objective, columns.names,
    ('predictions', 'probabilities'), check, metrics.classification,
    plots.classification)


def _hint(dtype, shape: tuple[int, ...]) -> str:
  """A hint on how to turn labels of another shape into classes."""
  if len(shape) == 1:
    return '; labels.astype(int) turns whole numbers into classes'
  if len(shape) == 2 and shape[1] == 1:
    return '; labels[:, 0] takes the single column'
  if len(shape) == 2 and not jnp.issubdtype(dtype, jnp.floating):
    return '; labels.argmax(1) turns one-hot rows into classes'
  return ''


def check(split: Split) -> None:
  """Refuses labels that cannot be learned, and prints the classes without examples.

  Raises:
    UserError: also for a model with another number of classes.
  """
  name, classes, labels = split.name, split.classes, split.labels
  if classes is not None and len(classes) == 1:
    raise UserError(f'{name}: all {split.length:,} labels are of one class, '
                    f'{classes[0]!r}; classification needs two or more')
  if classes is None and labels is not None:
    _check_fractions(name, labels)
  if classes is not None and labels is not None and labels.ndim == 1:
    _check_counts(split, np.bincount(labels, minlength=len(classes)))
  outputs = split.outputs.get('probabilities')
  if classes and outputs is not None and outputs.shape[-1] != len(classes):
    raise UserError(
      f'{name}: the model has {outputs.shape[-1]} outputs, the data has '
      f'{len(classes)} classes: set --config.model.num_outputs={len(classes)}')


def _check_counts(split: Split, counts: np.ndarray) -> None:
  name, classes = split.name, split.classes
  absent = [classes[i] for i in np.flatnonzero(counts == 0)]
  if not absent:
    return
  if name == 'train' and np.count_nonzero(counts) == 1:
    raise UserError(f'train: all {counts.sum():,} labels are of one class, '
                    f'{classes[counts.argmax()]!r} of {len(classes)}; classification '
                    'needs examples of two or more')
  of_class = re.fullmatch(rf'{re.escape(name)}/(precision|recall|f1)/(\d+)',
                          split.monitor or '')
  if of_class and int(of_class[2]) < len(classes) and not counts[int(of_class[2])]:
    raise UserError(f'--config.monitor.metric={split.monitor}: the split {name!r} has '
                    f'no example of the class {classes[int(of_class[2])]!r}; there is '
                    f'{name}/{of_class[1]}')
  split.say(f'{name}: no example of {len(absent):,} of {len(classes):,} classes: '
            f'{listed(absent)}' + (
              '' if name == 'train' else '; AUC has no value there'))


def _check_fractions(name: str, labels: np.ndarray) -> None:
  """Refuses float labels `[n, classes]` that are not fractions of the classes."""
  if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.floating):
    return
  wrong = (labels < 0).any(1) | (np.abs(labels.sum(1) - 1) > 1e-3)
  if wrong.any():
    row = int(np.argmax(wrong))
    raise UserError(
      f'{name}: labels[{row}] is {labels[row].tolist()}: float labels are the '
      'fractions of the classes in an example, >= 0, and add up to 1')
