"""Two adversaries in one step: a generator, and a discriminator of what it makes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, init_key, initial_state
from bigmodels.tasks.generated_images import noise_of
from bigmodels.tasks.generation import PATHS, POINTS, Generation


def adversarial(task: Generation, optimizer: optax.GradientTransformation,
                gradient: Callable = mean_gradient, *,
                discriminator_optimizer: optax.GradientTransformation,
                discriminator_updates: int = 1) -> Learner:
  """A learner of generative adversarial networks (Goodfellow et al., 2014).

  A step makes `discriminator_updates` updates of the discriminator, each with its part
  of the batch, then one of the generator. Its images are better with the moving average
  of the parameters, `Experiment.average`.

  Args:
    task: `tasks.generation`.
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
  descents = {'discriminator': gradient(task.discriminator),
              'generator': gradient(task.generator)}

  def init(key, batch):
    params, variables = task.init(init_key(key), batch)
    if set(params) != set(sides):
      raise ValueError(f'adversarial needs a model of two parts, {", ".join(sides)}, '
                       f'got {", ".join(params)}')
    return initial_state(key, params, {'model': variables}, lambda params: {
      side: each.init(params[side]) for side, each in sides.items()})

  def update(side, state, batch, key):
    (value, variables, metrics), grads = descents[side](
      state.params, state.model_state['model'], batch, key)
    with jax.named_scope('optimizer'):
      changes, opt_state = sides[side].update(
        grads[side], state.opt_state[side], state.params[side], value=value,
        signal=state.signal)
      params = optax.apply_updates(state.params[side], changes)
    return state._replace(
      params={**state.params, side: params},
      model_state={'model': variables},
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
    metrics = {'loss': generated['loss'], **{
      f'discriminator_{name}': jax.tree.map(lambda x: x.sum(0), value)
      for name, value in discriminated.items()}}
    return state._replace(step=state.step + 1), metrics

  def evaluate(state, batch):
    params, variables = state.params, state.model_state['model']
    key, rows, labels = jax.random.PRNGKey(0), batch['row'], batch['labels']
    # By the statistics of its batches, as in training: running ones mix both kinds.
    part = jax.random.fold_in(key, rows[0])
    _, (_, metrics, _) = task.discriminator(params, variables, batch, part)
    _, (_, ours, _) = task.generator(params, variables, batch, part)
    generated = task.generate_images(
      params, variables, _latents(1, rows, task.latent), labels, key)
    path, point = rows // POINTS, rows % POINTS
    between = jax.lax.cond(
      jnp.any(rows < PATHS * POINTS), lambda: task.generate_images(
        params, variables, _on_path(path, point / (POINTS - 1), task.latent),
        path % max(task.classes, 1), key), lambda: jnp.zeros_like(generated))
    metrics = {f'discriminator_{name}': value for name, value in metrics.items()}
    # The first rows of a split carry the images on the paths.
    return metrics | {'loss': ours['loss']}, {
      'generated': generated, 'real': task.to_bytes(batch['inputs']), 'labels': labels,
      'between': between}

  return Learner(init, step, evaluate)


def _latents(kind: int, numbers: jax.Array, length: int) -> jax.Array:
  """Latents `[n, length]` that are a function of the numbers `[n]` alone."""
  return noise_of(kind, numbers, (length,))


def _on_path(numbers: jax.Array, fraction: jax.Array, length: int) -> jax.Array:
  """Latents on the great circle between two, whose lengths are as likely (White, 2016).

  Args:
    numbers: of the path, int `[n]`.
    fraction: of the way along it, `[n]`.
    length: of the latents.
  """
  start, end = (_latents(2, 2 * numbers + i, length) for i in (0, 1))
  cosine = (start * end).sum(-1) / (
    jnp.linalg.norm(start, axis=-1) * jnp.linalg.norm(end, axis=-1))
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  one, other = (jnp.sin(part * angle) / jnp.sin(angle)
                for part in (1 - fraction, fraction))
  return one[:, None] * start + other[:, None] * end


def _parts(x: jax.Array, count: int, axis: int) -> jax.Array:
  """Cuts a batch into parts, along a new first axis.

  A part is every so many rows, so that microbatches are cut as the whole batch is.
  """
  size = x.shape[axis]
  if size % count:
    raise ValueError(f'discriminator_updates: {count} do not divide a batch of {size}')
  cut = x.reshape(*x.shape[:axis], size // count, count, *x.shape[axis + 1 :])
  return jnp.moveaxis(cut, axis + 1, 0)
