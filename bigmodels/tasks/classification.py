"""Classification into two or more classes."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError, listed
from bigmodels.core.from_run import FROM_RUN
from bigmodels.tasks import imbalance
from bigmodels.tasks.task import (
  Calibration,
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


def classification(model, loss: Callable = losses.cross_entropy, *,
                   smoothing: float = 0.0,
                   class_weights: Literal['balanced'] | Mapping[str | int, float]
                   | None = None,
                   threshold: Literal['f1', 'balanced_accuracy', 'matthews',
                                      'sensitivity'] | float | None = None,
                   specificity: float | None = None,
                   temperature: float | Literal['fit'] = 1.0,
                   test_time: Callable | None = None,
                   confident: float = 1.0, inputs: tuple[str, ...] = ('inputs',),
                   class_counts: Callable[[], Mapping[str, float]] = FROM_RUN) -> Task:
  """Predicts one of several classes for each example.

  Labels are class indices, `[batch]`, or float `[batch, classes]`, the fraction of each
  class in a mixed example. Accuracy is measured against the class of the largest
  fraction.

  A column `weights` of the batch, float `[batch]`, weighs the examples in the loss and
  in all metrics, in training and evaluations. `class_weights` weigh the loss alone, in
  both: the loss is sum(weight * loss) / sum(weight) over the whole batch or split, and
  the other metrics (`log_loss` among them) are those of the split as it is.

  Args:
    model: Linen module, `[batch, ...]` -> logits `[batch, classes]`; or `[batch, 1]`
      for two classes, where a positive logit means class 1.
    loss: (logits, labels) -> `[batch]`; see `losses`.
    smoothing: label smoothing in training, see `losses.cross_entropy`.
    class_weights: weights of the classes in the loss. 'balanced' is n / (classes *
      count) in the training split, as in scikit-learn; or a map of names or numbers of
      classes, where those left out have weight 1. An example of several classes has
      the mean of their weights.
    threshold: for two classes, the probability of class 1 from which on a finished run
      predicts it; `at_threshold` metrics are given beside those of the more likely
      class. A metric's name chooses the threshold where the metric is best on a
      validation split, after training; balanced accuracy is best where Youden's J is.
      'sensitivity', the recall of class 1, is best at a `specificity`.
    specificity: for two classes, the recall of class 0 at which the sensitivity is
      measured: a metric such as `sensitivity_at_specificity_0.9`.
    temperature: the number, > 0, by which evaluations and predictions divide the
      logits, to calibrate the probabilities (Guo et al. 2017): above 1 they are less
      sure. 'fit' fits it on a validation split, after training, by
      `metrics.temperature`; thresholds are of the calibrated probabilities, and of the
      metrics only `loss` is not.
    test_time: test-time augmentation, `inputs` `[batch, ...]` -> pairs of a weight and
      a view `[batch, ...]`, such as `data.test_time.mirrored`. An evaluation makes a
      forward pass for each view, and averages the logits. None for none.
    confident: probability of the most likely class in the first view of an example
      above which its other views are not computed; 1 computes all views of all. The
      answer for an example does not depend on the others of its batch. A batch with
      few examples below it takes less time.
    inputs: columns that the model is called with, in this order; `segments` is passed
      by name if the data has it.
    class_counts: () -> class name -> its training examples; only for `class_weights`.

  Raises:
    ValueError: for settings that contradict each other.
  """
  if not 0 <= smoothing < 1:
    raise ValueError(f'smoothing: must be >= 0 and < 1, got {smoothing}')
  if smoothing and 'smoothing' not in inspect.signature(loss).parameters:
    raise ValueError(f'smoothing: must be 0 with a loss that does not accept it, got '
                     f'{smoothing}')
  fitted = temperature == 'fit'
  if not fitted and (isinstance(temperature, str) or not 0 < temperature < math.inf):
    raise ValueError("temperature: must be > 0 and finite, or 'fit', got "
                     f'{temperature!r}')
  if not 0 <= confident <= 1:
    raise ValueError(f'confident: must be 0 to 1, got {confident}')
  if confident < 1 and test_time is None:
    raise ValueError(f'confident: must be 1 without test_time, got {confident}')
  columns = Columns(inputs, ('segments',))
  of_class = imbalance.class_weights(class_weights, class_counts)
  decision = imbalance.threshold(threshold, specificity)

  def logits_of(params, model_state, batch, key, train):
    logits, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    if logits.ndim != 2:
      raise ValueError(f'classification needs logits [batch, classes], the model '
                       f'gives {logits.shape}')
    return logits.astype(jnp.float32), model_state

  def mean_logits(params, model_state, key, batch):
    views = test_time(batch['inputs'])
    total = sum(weight for weight, _ in views)
    return sum(weight / total * logits_of(
      params, model_state, {**batch, 'inputs': view}, key, False)[0]
      for weight, view in views)

  def augmented_logits(params, model_state, batch, key):
    mean = partial(mean_logits, params, model_state, key)
    if confident == 1:
      return mean(batch)
    (_, view), *_ = test_time(batch['inputs'])
    first, _ = logits_of(params, model_state, {**batch, 'inputs': view}, key, False)
    unsure = losses.probabilities(first).max(-1) <= confident
    return replaced(first, unsure & (batch['mask'] > 0), mean, batch)

  def objective(params, model_state, batch, key, train):
    if test_time is not None and not train:
      logits = augmented_logits(params, model_state, batch, key)
    else:
      logits, model_state = logits_of(params, model_state, batch, key, train)
    logits = logits if train or fitted else logits / temperature
    labels, example = labels_of(batch), example_weights(batch, columns)
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
    for name, value in (('threshold', threshold), ('specificity', specificity)):
      if value is not None and probabilities.shape[-1] != 2:
        raise ValueError(f'{name}: is for two classes, must be None for '
                         f'{probabilities.shape[-1]}, got {value!r}')
    both = example
    if of_class is not None:
      if len(of_class) != probabilities.shape[-1]:
        raise ValueError(f'class_weights: the data has {len(of_class)} classes, the '
                         f'model gives {probabilities.shape[-1]}')
      both = example * (labels @ of_class if fractions else jnp.take(of_class, labels))
    value, mean = masked_mean(values, both)
    right = (predictions == most_likely).astype(jnp.float32)
    _, accuracy = masked_mean(right, example)
    outputs = {'labels': most_likely, 'predictions': predictions,
               'probabilities': probabilities}
    if example is not batch['mask']:
      outputs['weights'] = example
    return value, (model_state, {'loss': mean, 'accuracy': accuracy}, outputs)

  return Task(
    partial(init, model, columns), objective, columns.names,
    ('predictions', 'probabilities'), check,
    partial(metrics.classification, specificity=specificity),
    plots.classification, threshold=decision, test_time=test_time,
    confident=confident, calibration=Calibration(_temperature, _calibrated)
    if fitted else None)


def _temperature(outputs: Mapping[str, np.ndarray]) -> float | None:
  """The temperature of outputs of a validation split; None if they are not finite."""
  if not np.isfinite(outputs['probabilities']).all():
    return None
  return metrics.temperature(
    outputs['labels'], outputs['probabilities'], outputs.get('weights'))


def _calibrated(outputs: Mapping[str, np.ndarray], temperature: float
                ) -> dict[str, np.ndarray]:
  """Outputs with the probabilities of a temperature, `[n, classes]`."""
  found = metrics.at_temperature(outputs['probabilities'], temperature)
  return {**outputs, 'probabilities': found.astype(np.float32)}


_PARTS = 8  # of a batch, of which the unsure examples are taken one after the other


def replaced(values: jax.Array, chosen: jax.Array, function: Callable, batch: dict
             ) -> jax.Array:
  """Replaces the values of some examples by those of a function of them.

  It calls the function with an eighth of the batch at a time, as often as necessary for
  the chosen examples.

  Args:
    values: `[batch, ...]`.
    chosen: bool `[batch]`.
    function: columns `[n, ...]` of some examples -> their values `[n, ...]`.
    batch: columns `[batch, ...]`.

  Returns:
    `[batch, ...]`.
  """
  size, count = -(-len(chosen) // _PARTS), jnp.sum(chosen)
  order = jnp.argsort(~chosen)  # stable: first the chosen ones

  def going(loop):
    return loop[0] < count

  def replace(loop):
    start, values = loop
    rows = jax.lax.dynamic_slice_in_dim(order, start, size)  # those that end the batch
    part = function({name: column[rows] for name, column in batch.items()})
    kept = chosen[rows].reshape(-1, *(1,) * (part.ndim - 1))
    return start + size, values.at[rows].set(jnp.where(kept, part, values[rows]))

  return jax.lax.while_loop(going, replace, (0, values))[1]


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
  check_weights(split)
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
                    f'{name}/macro_{of_class[1]}')
  split.say(f'{name}: no example of {len(absent):,} of {len(classes):,} classes: '
            f'{listed(absent)}' + (
              '' if name == 'train' else _undefined(np.count_nonzero(counts))))


def _undefined(classes: int) -> str:
  """Which metrics have no value for as many classes with examples."""
  more = '' if classes > 1 else ', Matthews and kappa'
  both = ', ' if more else ' and '
  return f'; ROC AUC{both}average precision{more} have no value there'


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
