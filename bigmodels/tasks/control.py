"""Control: a model that maps observations to actions, and its environment."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import plots
from bigmodels.environments import Environment, frame_interval
from bigmodels.tasks.task import Columns, Task, apply, init


class Control(NamedTuple):
  """A model and its environment, as the learners of agents need them.

  Attributes:
    task: what a run evaluates and plots; it has no `loss`, learners have their own.
    apply: (params, model_state, observations `[batch, ...]`, key, train) -> the
      model's output, float32, and model_state.
    environment: the environment in which the agent acts.
  """

  task: Task
  apply: Callable[..., tuple[Any, Any]]
  environment: Environment


def control(model, environment: Any) -> Control:
  """A model that acts in an environment.

  Observations of an integer dtype are cast to float32. uint8 observations are pixels,
  and are scaled to [0, 1].

  Args:
    model: Linen module: observations `[batch, ...]` -> what the learner needs, such as
      `models.QNetwork` for `learners.dqn`, `models.ActorCritic` for
      `learners.actor_critic`.
    environment: an `environments.Environment`, or an object whose method `open()`
      returns one, such as `environments.Gymnax('CartPole-v1')`. The run supplies the
      environment of its `data.Episodes`.

  Raises:
    ValueError: if the environment is neither.
    UserError: if the environment cannot be opened.
  """
  environment = _open(environment)

  def start(key, batch):
    return init(model, Columns(), key, {**batch, 'inputs': _to_float(batch['inputs'])})

  def forward(params, model_state, observations, key, train):
    batch = {'inputs': _to_float(observations), 'mask': jnp.ones(len(observations))}
    output, model_state = apply(
      model, Columns(), params, model_state, batch, key=key, train=train)
    return jax.tree.map(lambda x: x.astype(jnp.float32), output), model_state

  return Control(
    Task(start, None, summarize=summarize, plots=partial(
      plots.control, every=frame_interval(environment))), forward, environment)


def summarize(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Standard deviation, minimum and maximum of the returns of a split, `[n]`."""
  returns = outputs['return'].astype(np.float64)
  return {'return_std': float(returns.std()), 'return_min': float(returns.min()),
          'return_max': float(returns.max())}


def _open(environment: Any) -> Environment:
  if isinstance(environment, Environment):
    return environment
  if not hasattr(environment, 'open'):
    raise ValueError("environment: must be one such as environments.Gymnax('CartPole-"
                     f"v1'), got {environment!r}")
  return environment.open()


def _to_float(observations: jax.Array) -> jax.Array:
  if jnp.issubdtype(observations.dtype, jnp.floating):
    return observations
  scale = 255 if observations.dtype == jnp.uint8 else 1
  return observations.astype(jnp.float32) / scale
