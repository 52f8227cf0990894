"""Two adversaries in one step: a generator, and a discriminator of what it makes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, init_key, initial_state
from bigmodels.tasks.adversaries import Adversaries


def adversarial(adversaries: Adversaries, optimizer: optax.GradientTransformation,
                gradient: Callable = mean_gradient, *,
                discriminator_optimizer: optax.GradientTransformation,
                discriminator_updates: int = 1) -> Learner:
  """A learner of generative adversarial networks (Goodfellow et al., 2014).

  A step makes `discriminator_updates` updates of the discriminator, each with its part
  of the batch, then one of the generator. Its images are better with the moving average
  of the parameters, `Experiment.average`.

  Args:
    adversaries: of `tasks.generation`, say.
    optimizer: of the generator: any optax transformation.
    gradient: makes the gradient of a loss; see `learners.gradient`.
    discriminator_optimizer: of the discriminator.
    discriminator_updates: in a step; they divide the batch.

  Raises:
    ValueError: for other settings.
  """
  if discriminator_updates < 1:
    raise ValueError('discriminator_updates: must be >= 1, got '
                     f'{discriminator_updates}')
  sides = {'discriminator': optax.with_extra_args_support(discriminator_optimizer),
           'generator': optax.with_extra_args_support(optimizer)}
  descents = {'discriminator': gradient(adversaries.discriminator),
              'generator': gradient(adversaries.generator)}

  def init(key, batch):
    params, variables = adversaries.task.init(init_key(key), batch)
    if not set(sides) <= set(params):
      raise ValueError(f'adversarial needs a model of two parts, {", ".join(sides)}, '
                       f'got {", ".join(params)}')
    return initial_state(key, params, variables, lambda params: {
      side: each.init(params[side]) for side, each in sides.items()})

  def update(side, state, batch, key):
    (value, variables, metrics), grads = descents[side](
      state.params, state.model_state, batch, key)
    with jax.named_scope('optimizer'):
      changes, opt_state = sides[side].update(
        grads[side], state.opt_state[side], state.params[side], value=value,
        signal=state.signal)
      params = optax.apply_updates(state.params[side], changes)
    return state._replace(
      params={**state.params, side: params},
      model_state=variables,
      opt_state={**state.opt_state, side: opt_state}), metrics

  def step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    of_discriminator, of_generator = jax.random.split(key)
    axis = batch['mask'].ndim - 1  # before it, microbatches
    parts = jax.tree.map(lambda x: _parts(x, discriminator_updates, axis), batch)

    def discriminate(state, part_and_key):
      return update('discriminator', state, *part_and_key)

    state, discriminated = jax.lax.scan(
      discriminate, state,
      (parts, jax.random.split(of_discriminator, discriminator_updates)))
    state, generated = update(
      'generator', state, jax.tree.map(lambda x: x[0], parts), of_generator)
    metrics = {**generated, **{
      f'discriminator_{name}': jax.tree.map(lambda x: x.sum(0), value)
      for name, value in discriminated.items()}}
    return state._replace(step=state.step + 1), metrics

  def evaluate(state, batch):
    _, (_, metrics, outputs) = adversaries.task.loss(
      state.params, state.model_state, batch, None, train=False)
    return metrics, outputs

  return Learner(init, step, evaluate)


def _parts(x: jax.Array, count: int, axis: int) -> jax.Array:
  """Cuts a batch into parts, along a new first axis.

  A part is every so many rows, so that microbatches are cut as the whole batch is.
  """
  size = x.shape[axis]
  if size % count:
    raise ValueError(f'discriminator_updates: {count} do not divide a batch of {size}')
  cut = x.reshape(*x.shape[:axis], size // count, count, *x.shape[axis + 1 :])
  return jnp.moveaxis(cut, axis + 1, 0)
