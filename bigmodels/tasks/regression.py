"""Regression: one or more numbers for each example."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
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


def regression(model, loss: Callable = losses.squared_error, *, target_mean, target_std,
               inputs: tuple[str, ...] = ('inputs',)) -> Task:
  """Predicts numbers, in units of the targets' standard deviation.

  The model's output is multiplied by `target_std`, and `target_mean` is added, so that
  it starts in the range of the targets. Metrics and outputs are in the targets' own
  units; the loss is in units of `target_std`. A column `weights` of the batch, float
  `[batch]`, weighs the examples in the loss and in all metrics.

  Args:
    model: Linen module, `[batch, ...]` -> `[batch, targets]`.
    loss: (output, target, both `[batch, targets]`) -> `[batch]`; see `losses`.
    target_mean: mean of the training targets, `[targets]`.
    target_std: their standard deviation. An experiment omits both: they are computed
      from the training split and saved with the run.
    inputs: columns that the model is called with, in this order.
  """
  mean = jnp.asarray(target_mean, jnp.float32)
  std = jnp.asarray(target_std, jnp.float32)
  columns = Columns(inputs)

  def objective(params, model_state, batch, key, train):
    output, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    output = output.astype(jnp.float32)
    targets = labels_of(batch).reshape(len(output), -1).astype(jnp.float32)
    if output.shape != targets.shape:
      raise ValueError(f'regression: the model gives {output.shape}, the targets are '
                       f'{targets.shape}')
    for name, value in (('target_mean', mean), ('target_std', std)):
      if value.shape not in ((), (1,), targets.shape[1:]):  # it would be broadcast
        raise ValueError(f'regression: {name} has the shape {value.shape}, the targets '
                         f'are {targets.shape}')
    values = loss(output, (targets - mean) / std)
    weights = example_weights(batch, columns)
    value, total = masked_mean(values, weights)
    outputs = {'targets': targets, 'predictions': output * std + mean}
    if weights is not batch['mask']:
      outputs['weights'] = weights
    return value, (model_state, {'loss': total}, outputs)

  return Task(partial(init, model, columns), objective, columns.names,
              ('predictions',), check, metrics.regression, plots.regression)


def check(split: Split) -> None:
  """Prints which targets are constant in a split, so that R2 is undefined.

  Raises:
    UserError: for weights of examples that cannot be used.
  """
  check_weights(split)
  if split.labels is None or not len(split.labels):
    return
  targets = np.asarray(split.labels).reshape(len(split.labels), -1)
  constant = np.flatnonzero((targets == targets[0]).all(0))
  if len(constant):
    split.say(f'{split.name}: every label is {targets[0, constant[0]]}' + (
      f' (target {constant[0]})' if targets.shape[1] > 1 else '') + '; R2 has no value')
