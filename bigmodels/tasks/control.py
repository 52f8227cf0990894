"""Control: a model that maps observations to actions, and its environment."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import plots
from bigmodels.environments import Environment, frame_interval
from bigmodels.tasks.task import Columns, apply, init


class Control(NamedTuple):
  """A model and its environment, as the learners of agents need them.

  Attributes:
    init: (key, batch) -> params, model_state.
    apply: (params, model_state, observations `[batch, ...]`, key, train) -> the
      model's output, float32, and model_state.
    environment: the environment in which the agent acts.
    summarize: (outputs of a whole split) -> name -> number.
    plots: (outputs, inputs, classes) -> title -> Figure.
    inputs, predictions, check, snapshot, generate, answers: as in `Task`; always the
      defaults, as are the others.
    samples, sounds, image_to_image, threshold, calibration: as in `Task`.
  """

  init: Callable[..., tuple[Any, Any]]
  apply: Callable[..., tuple[Any, Any]]
  environment: Environment
  summarize: Callable[..., dict[str, float]]
  plots: Callable[..., dict[str, Any]]
  inputs: tuple[str, ...] = ('inputs',)
  predictions: tuple[str, ...] = ()
  check: None = None
  snapshot: None = None
  generate: None = None
  answers: None = None
  samples: None = None
  sounds: None = None
  image_to_image: None = None
  calibration: None = None
  threshold: None = None


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

  return Control(start, forward, environment, summarize, partial(
    plots.control, every=frame_interval(environment)))


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
