"""Regression: one or more numbers for every input."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp

from bigmodels import losses, metrics, plots
from bigmodels.tasks.task import Task, apply, init, labels_of, masked_mean


def regression(model, loss: Callable = losses.squared_error, *,
               target_mean, target_std) -> Task:
  """Numbers for every input, learned in units of the targets' deviation.

  The model's answer is multiplied by `target_std` and moved by `target_mean`, so that
  it starts in the range of the targets. Metrics and outputs are in the targets' own
  units, the loss is in units of `target_std`.

  Args:
    model: Linen module, `[batch, ...]` -> `[batch, targets]`.
    loss: (answer, target, both `[batch, targets]`) -> `[batch]`; see `losses`.
    target_mean: mean of the training targets, `[targets]`.
    target_std: their standard deviation. An experiment leaves both out: they are
      fitted on the training split and kept with the run.
  """

  mean = jnp.asarray(target_mean, jnp.float32)
  std = jnp.asarray(target_std, jnp.float32)

  def objective(params, model_state, batch, key, train):
    answer, model_state = apply(model, params, model_state, batch, key=key, train=train)
    answer = answer.astype(jnp.float32)
    targets = labels_of(batch).reshape(len(answer), -1).astype(jnp.float32)
    if answer.shape != targets.shape:
      raise ValueError(f'regression: the model gives {answer.shape}, the targets are '
                       f'{targets.shape}')
    for name, value in (('target_mean', mean), ('target_std', std)):
      if value.shape not in ((), (1,), targets.shape[1:]):  # it would be broadcast
        raise ValueError(f'regression: {name} has the shape {value.shape}, the targets '
                         f'are {targets.shape}')
    values = loss(answer, (targets - mean) / std)
    value, total = masked_mean(values, batch['mask'])
    outputs = {'targets': targets, 'predictions': answer * std + mean}
    return value, (model_state, {'loss': total}, outputs)

  return Task(partial(init, model), objective, metrics.regression, plots.regression)
