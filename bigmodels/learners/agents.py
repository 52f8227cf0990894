"""What learners of agents share: checks, the first state, updates and evaluation."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bigmodels import environments
from bigmodels.core.deferred_imports import deferred
from bigmodels.core.errors import UserError
from bigmodels.environments import EnvironmentState
from bigmodels.learners.learner import Batch, State, init_key
from bigmodels.metrics import Mean
from bigmodels.tasks.control import Control


def require_rlax() -> ModuleType:
  """The library of the targets and losses.

  Raises:
    UserError: if it is not installed.
  """
  try:
    # It imports TensorFlow Probability, for functions that are not used here.
    with deferred('distrax', annotations=['DistributionLike']):
      import rlax
  except ImportError as error:
    raise UserError(f'agents need rlax, which is not installed ({error}): '
                    'pip install -r requirements-agents.txt') from None
  return rlax


def check_counts(**counts: int) -> None:
  """Checks that settings are at least 1.

  Raises:
    ValueError: naming the first that is not.
  """
  for name, value in counts.items():
    if value < 1:
      raise ValueError(f'{name}: must be >= 1, got {value}')


def check_fractions(**fractions: float) -> None:
  """Checks that settings are from 0 to 1.

  Raises:
    ValueError: naming the first that is not.
  """
  for name, value in fractions.items():
    if not 0 <= value <= 1:
      raise ValueError(f'{name}: must be from 0 to 1, got {value}')


def check_bounds(**bounds: float | None) -> None:
  """Checks that settings are above 0, or None.

  Raises:
    ValueError: naming the first that is not.
  """
  for name, value in bounds.items():
    if value is not None and not value > 0:
      raise ValueError(f'{name}: must be > 0 or None, got {value}')


def check_whole(batch: Batch) -> None:
  """Checks that a batch is not split into microbatches: its rows are environments.

  Raises:
    ValueError: if it is.
  """
  if batch['mask'].ndim > 1:
    raise ValueError('the environments of an agent cannot be split into microbatches: '
                     'set --config.accumulate=1')


def initialize(control: Control, key: jax.Array, batch: Batch
               ) -> tuple[Any, Any, EnvironmentState, Any]:
  """The state of an agent before training.

  Args:
    control: the model and its environment.
    key: the root key of the run.
    batch: of `data.Episodes`, `inputs` `[n, ...]`.

  Returns:
    params, the model's other variables, the state of an environment for each row of
    the batch, `[n, ...]`, and the shapes of the model's output.

  Raises:
    ValueError: if the batch is split into microbatches.
  """
  check_whole(batch)
  model_key, environment_key = jax.random.split(init_key(key))
  params, variables = control.task.init(model_key, batch)
  output, _ = jax.eval_shape(
    partial(control.apply, train=False), params, variables, batch['inputs'], key)
  state = environments.reset(
    control.environment, jax.random.split(environment_key, len(batch['mask'])))
  return params, variables, state, output


def update(descent: Callable, optimizer: optax.GradientTransformationExtraArgs,
           state: State, batch: Batch, key: jax.Array) -> tuple[State, dict]:
  """An update of the parameters, and of the variables in `model_state['model']`.

  Args:
    descent: the gradient of the loss, as of `learners.gradient`.
    optimizer: of all parameters.
    state: before the update.
    batch: of transitions, `[n, ...]`.
    key: of the model's random numbers.

  Returns:
    state, and the metrics of the loss.
  """
  (value, variables, metrics), grads = descent(
    state.params, state.model_state['model'], batch, key)
  with jax.named_scope('optimizer'):
    updates, opt_state = optimizer.update(
      grads, state.opt_state, state.params, value=value, signal=state.signal)
    params = optax.apply_updates(state.params, updates)
  return state._replace(
    params=params, opt_state=opt_state,
    model_state={**state.model_state, 'model': variables}), metrics


def greedy_evaluation(task: Control, preferences: Callable) -> Callable:
  """`evaluate` of a learner: an episode for each row of a batch of `data.Episodes`.

  Args:
    task: of the model.
    preferences: the model's output -> `[n, actions]`; the action of the highest is
      taken.

  Returns:
    (state, batch) -> metrics; and outputs: `return` and `length` `[n]`, `frames` `[n,
    environments.environment.MAX_FRAMES, ...]`.
  """
  def evaluate(state, batch):
    def policy(observations):
      output, _ = task.apply(
        state.params, state.model_state['model'], observations, state.key, False)
      return preferences(output).argmax(-1).astype(jnp.int32)

    keys = jax.vmap(jax.random.fold_in, (None, 0))(
      jax.random.PRNGKey(0), batch['episode'])
    ended, frames = environments.rollout(task.environment, policy, keys)
    return episode_metrics(ended, batch['mask']), {
      'return': ended.episode_return,
      'length': ended.episode_length.astype(jnp.float32), 'frames': frames}

  return evaluate


def episode_metrics(ended: EnvironmentState, mask: jax.Array) -> dict[str, Mean]:
  """Mean return and length of the episodes `[n]` where the mask `[n]` is true."""
  counted = mask > 0
  count = counted.sum().astype(jnp.float32)
  values = {'return': ended.episode_return,
            'length': ended.episode_length.astype(jnp.float32)}
  return {name: Mean(jnp.where(counted, value, 0.0).sum(), count)
          for name, value in values.items()}
