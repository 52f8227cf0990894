"""Supervised learning: one model, one loss, one optimizer."""

from collections.abc import Callable
from functools import partial

import jax
import optax

from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, init_key, initial_state
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
    params, model_state = task.init(init_key(key), batch)
    return initial_state(key, params, model_state, optimizer.init)

  def step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    (value, model_state, metrics), grads = descent(
      state.params, state.model_state, batch, key)
    with jax.named_scope('optimizer'):
      updates, opt_state = optimizer.update(
        grads, state.opt_state, state.params, value=value, signal=state.signal)
      params = optax.apply_updates(state.params, updates)
    return state._replace(
      step=state.step + 1, params=params, model_state=model_state,
      opt_state=opt_state), metrics

  def evaluate(state, batch):
    _, (_, metrics, outputs) = task.loss(
      state.params, state.model_state, batch, state.key, train=False)
    return metrics, outputs

  return Learner(init, step, evaluate)
