"""What learners for agents share: environments opened, episodes begun and judged."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels.core.errors import UserError
from bigmodels.environments import Environment, Slot, begin, play
from bigmodels.learners.learner import Batch, Metrics, State
from bigmodels.tasks.control import Control


def library() -> ModuleType:
  """rlax, whose targets and losses agents learn by.

  Raises:
    UserError: if it is not installed.
  """
  try:
    import rlax
  except ImportError as error:
    raise UserError(f'agents want rlax, which is not installed ({error}): '
                    'pip install -r requirements-agents.txt') from None
  return rlax


def opened(environment: Any) -> Environment:
  """The environment of a recipe that has `open()`, or the one given.

  Raises:
    ValueError: if it is neither.
  """
  if isinstance(environment, Environment):
    return environment
  if not hasattr(environment, 'open'):
    raise ValueError("environment: wants one such as environments.Gymnax('CartPole-v1')"
                     f', got {environment!r}')
  return environment.open()


def check_parts(batch: Batch) -> None:
  """Refuses a batch in parts: what an agent learns from, it makes itself."""
  if batch['mask'].ndim > 1:
    raise ValueError('an agent does not take its batch in parts: set '
                     '--config.accumulate=1')


def begun(task: Control, environment: Environment, key: jax.Array, batch: Batch
          ) -> tuple[Any, Any, Slot, Any]:
  """Where training begins.

  Returns:
    params, what else the model keeps, an episode for every row of the batch, and the
    shapes of what the model answers to `inputs`.
  """
  check_parts(batch)
  # Apart from every fold_in(key, step), which start at 0.
  ours, theirs = jax.random.split(jax.random.fold_in(key, 2**32 - 1))
  params, model = task.init(ours, batch)
  answer, _ = jax.eval_shape(
    partial(task.answer, train=False), params, model, batch['inputs'], key)
  slots = begin(environment, jax.random.split(theirs, len(batch['mask'])))
  return params, model, slots, answer


def descended(descent: Callable, optimizer: optax.GradientTransformationExtraArgs,
              state: State, batch: Batch, key: jax.Array) -> tuple[State, Metrics]:
  """An update of the parameters; `model_state['model']` is what else the model keeps.

  Args:
    descent: what `learners.gradient` makes of the loss.
    optimizer: of all parameters.
    state: before it.
    batch: what is learned from.
    key: of the model's draws.
  """
  (value, model, sums), grads = descent(
    state.params, state.model_state['model'], batch, key)
  changes, opt_state = optimizer.update(
    grads, state.opt_state, state.params, value=value, signal=state.signal)
  return state._replace(
    params=optax.apply_updates(state.params, changes), opt_state=opt_state,
    model_state={**state.model_state, 'model': model}), sums


def greedy(task: Control, environment: Environment, preference: Callable) -> Callable:
  """What `evaluate` of a learner is: plays the episodes of a batch of `data.Episodes`.

  Args:
    task: of the model.
    environment: what is played.
    preference: the model's answer -> `[n, actions]`, the greatest of which is taken.
  """
  def evaluate(state, batch):
    def policy(observations):
      answer, _ = task.answer(
        state.params, state.model_state['model'], observations, state.key, False)
      return preference(answer).argmax(-1).astype(jnp.int32)

    keys = jax.vmap(jax.random.fold_in, (None, 0))(
      jax.random.PRNGKey(0), batch['episode'])
    ended, film = play(environment, policy, keys)
    outputs = {'return': ended.rewards, 'length': ended.length.astype(jnp.float32)}
    count = batch['mask'].sum()
    return {name: ((x * batch['mask']).sum(), count)
            for name, x in outputs.items()}, {**outputs, 'film': film}

  return evaluate


def summarize(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """The spread of the returns of a split: standard deviation, least and most."""
  returns = outputs['return'].astype(np.float64)
  return {'return_std': float(returns.std()), 'return_least': float(returns.min()),
          'return_most': float(returns.max())}
