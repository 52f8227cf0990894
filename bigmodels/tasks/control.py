"""Control: what a model answers to observations; a learner for agents does the rest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bigmodels import plots
from bigmodels.tasks.task import apply, init


class Control(NamedTuple):
  """What a learner for agents needs of a model.

  Attributes:
    init: (key, batch) -> params, model_state.
    answer: (params, model_state, observations `[batch, ...]`, key, train) -> the
      model's answer, model_state.
    figures: (outputs, inputs: rows -> arrays, actions, every) -> title -> figure.
  """

  init: Callable[..., tuple[Any, Any]]
  answer: Callable[..., tuple[Any, Any]]
  figures: Callable[..., dict[str, Any]]


def control(model) -> Control:
  """Has a model answer to observations.

  What is observed as bytes are pixels: the model sees them as 0 to 1.

  Args:
    model: Linen module: observations `[batch, ...]` -> what the learner wants, such as
      `models.QNetwork` for `learners.dqn`, `models.ActorCritic` for
      `learners.actor_critic`.
  """
  def seen(observations):
    if jnp.issubdtype(observations.dtype, jnp.floating):
      return observations
    scale = 255 if observations.dtype == jnp.uint8 else 1
    return observations.astype(jnp.float32) / scale

  def answer(params, model_state, observations, key, train):
    batch = {'inputs': seen(observations), 'mask': jnp.ones(len(observations))}
    found, model_state = apply(model, params, model_state, batch, key=key, train=train)
    return jax.tree.map(lambda x: x.astype(jnp.float32), found), model_state

  def start(key, batch):
    return init(model, key, {**batch, 'inputs': seen(batch['inputs'])})

  return Control(start, answer, plots.control)
