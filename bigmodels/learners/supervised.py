"""Supervised learning: one model, one loss, one optimizer."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from bigmodels.core.errors import as_user_error
from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, Signal, State
from bigmodels.tasks.task import Task


def supervised(task: Task, optimizer: optax.GradientTransformation,
               gradient: Callable = mean_gradient) -> Learner:
  """A learner that descends the gradient of the task's loss.

  Args:
    task: what is learned.
    optimizer: any optax transformation. Its update is given `value`, the loss of the
      batch, and `signal`, the evaluations so far, if it accepts them.
    gradient: makes the gradient of a loss; see `learners.gradient`.
  """
  optimizer = optax.with_extra_args_support(optimizer)
  descent = gradient(partial(task.loss, train=True))

  def init(key, batch):
    # Apart from every fold_in(key, step), which start at 0.
    params, model_state = task.init(jax.random.fold_in(key, 2**32 - 1), batch)
    with as_user_error('the optimizer and the model do not fit'):
      opt_state = optimizer.init(params)
    signal = Signal(jnp.float32(jnp.nan), jnp.int32(0))
    return State(jnp.int32(0), params, model_state, opt_state, key, signal)

  def step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    (value, model_state, metrics), grads = descent(
      state.params, state.model_state, batch, key)
    updates, opt_state = optimizer.update(
      grads, state.opt_state, state.params, value=value, signal=state.signal)
    return state._replace(
      step=state.step + 1, params=optax.apply_updates(state.params, updates),
      model_state=model_state, opt_state=opt_state), metrics

  def evaluate(state, batch):
    _, (_, metrics, outputs) = task.loss(
      state.params, state.model_state, batch, state.key, train=False)
    return metrics, outputs

  return Learner(init, step, evaluate)
