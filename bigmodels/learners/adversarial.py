"""Two adversaries in one step: a generator, and a discriminator of what it makes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels.core.errors import blamed
from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, Signal, State
from bigmodels.tasks.generation import Generation

MOMENTS, COLUMNS = 8, 10  # of the pictures that are kept along a run
PATHS, POINTS = 6, 10  # of the ways between two latents that are shown
_WARMUP = 10.0  # steps in which the average follows closely


def adversarial(task: Generation, optimizer: optax.GradientTransformation,
                gradient: Callable = mean_gradient, *,
                discriminator_optimizer: optax.GradientTransformation, steps: int,
                discriminator_updates: int = 1, decay: float = 0.999) -> Learner:
  """A learner of generative adversarial networks (Goodfellow et al., 2014).

  A step makes `discriminator_updates` updates of the discriminator, each with its share
  of the batch, then one of the generator. What is evaluated is the generator's moving
  average. What it made of the same latents is kept along the run.

  Args:
    task: `tasks.generation`.
    optimizer: of the generator: any optax transformation.
    gradient: makes the gradient of a loss; the run supplies one for its parts.
    discriminator_optimizer: of the discriminator.
    steps: length of the run, which supplies it.
    discriminator_updates: in a step; they divide the batch.
    decay: share that a step leaves of the moving average; less in the first steps. 0
      evaluates the generator itself.

  Raises:
    ValueError: for settings that cannot be.
  """
  if discriminator_updates < 1:
    raise ValueError('discriminator_updates: wants at least 1, got '
                     f'{discriminator_updates}')
  if not 0 <= decay < 1:
    raise ValueError(f'decay: wants 0 or more and less than 1, got {decay}')
  sides = {'discriminator': optax.with_extra_args_support(discriminator_optimizer),
           'generator': optax.with_extra_args_support(optimizer)}
  descents = {'discriminator': gradient(task.discriminator),
              'generator': gradient(task.generator)}
  # More of them early, when more changes.
  moments = np.unique(np.ceil(steps * np.linspace(0, 1, MOMENTS + 1)[1:] ** 3)).astype(
    np.int32)

  def init(key, batch):
    params, variables = task.init(jax.random.fold_in(key, 2**32 - 1), batch)
    if set(params) != set(sides):
      raise ValueError(f'adversarial wants a model of two parts, {", ".join(sides)}, '
                       f'got {", ".join(params)}')
    with blamed('the optimizer and the model do not fit'):
      opt_state = {side: each.init(params[side]) for side, each in sides.items()}
    shape = jax.eval_shape(album, params, variables).shape
    model_state = {'model': variables, 'average': averaged(params, variables),
             'album': jnp.zeros((len(moments), *shape), jnp.uint8)}
    return State(jnp.int32(0), params, model_state, opt_state, key,
                 Signal(jnp.float32(jnp.nan), jnp.int32(0)))

  def averaged(params, variables):
    return {'params': params['generator'], 'variables': variables}

  def best(state):
    """Params and variables with the generator's average."""
    average = state.model_state['average']
    return ({**state.params, 'generator': average['params']}, average['variables'])

  def album(params, variables):
    """What a few latents give, `[COLUMNS, height, width, channels]`."""
    columns = jnp.arange(COLUMNS)
    return task.generate(params, variables, _latents(0, columns, task.latent),
                         _label(columns, task.classes), jax.random.PRNGKey(0))

  def update(side, state, batch, key):
    (value, variables, sums), grads = descents[side](
      state.params, state.model_state['model'], batch, key)
    changes, opt_state = sides[side].update(
      grads[side], state.opt_state[side], state.params[side], value=value,
      signal=state.signal)
    params = optax.apply_updates(state.params[side], changes)
    return state._replace(
      params={**state.params, side: params},
      model_state={**state.model_state, 'model': variables},
      opt_state={**state.opt_state, side: opt_state}), sums

  def step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    judging, making = jax.random.split(key)
    axis = batch['mask'].ndim - 1  # before it, parts that follow one another
    shares = jax.tree.map(lambda x: _shares(x, discriminator_updates, axis), batch)

    def judge(state, share_and_key):
      return update('discriminator', state, *share_and_key)

    state, judged = jax.lax.scan(
      judge, state, (shares, jax.random.split(judging, discriminator_updates)))
    state, made = update(
      'generator', state, jax.tree.map(lambda x: x[0], shares), making)
    state = state._replace(step=state.step + 1)
    now = averaged(state.params, state.model_state['model'])
    left = jnp.minimum(decay, state.step / (state.step + _WARMUP))
    average = jax.tree.map(
      lambda mean, new: (left * mean + (1 - left) * new).astype(new.dtype),
      state.model_state['average'], now)
    state = state._replace(model_state={**state.model_state, 'average': average})
    due = jnp.asarray(moments) == state.step
    pictures = jax.lax.cond(
      due.any(),
      lambda: state.model_state['album'].at[due.argmax()].set(album(*best(state))),
      lambda: state.model_state['album'])
    sums = {'loss': made['loss'], **{
      f'discriminator_{name}': jax.tree.map(lambda x: x.sum(0), value)
      for name, value in judged.items()}}
    return state._replace(model_state={**state.model_state, 'album': pictures}), sums

  def evaluate(state, batch):
    params, variables = best(state)
    key, rows, labels = jax.random.PRNGKey(0), batch['row'], batch['labels']
    # By the statistics of its batches, as in training: running ones mix both kinds.
    part = jax.random.fold_in(key, rows[0])
    _, (_, sums, _) = task.discriminator(params, variables, batch, part)
    _, (_, ours, _) = task.generator(params, variables, batch, part)
    made = task.generate(params, variables, _latents(1, rows, task.latent), labels, key)
    kept = state.model_state['album'].reshape(-1, *made.shape[1:])
    shown = (rows < len(kept)).reshape(-1, 1, 1, 1)
    album = jnp.where(shown, kept[jnp.minimum(rows, len(kept) - 1)], 0)
    path, point = rows // POINTS, rows % POINTS
    between = jax.lax.cond(
      jnp.any(rows < PATHS * POINTS), lambda: task.generate(
        params, variables, _way(path, point / (POINTS - 1), task.latent),
        _label(path, task.classes), key), lambda: jnp.zeros_like(made))
    sums = {f'discriminator_{name}': value for name, value in sums.items()}
    # Of the images of a split the first few rows carry what else there is to see.
    return sums | {'loss': ours['loss']}, {
      'generated': made, 'real': task.to_bytes(batch['inputs']), 'labels': labels,
      'album': album, 'between': between}

  def figures(outputs, inputs, classes):
    return task.figures(outputs, inputs, classes, moments=moments, columns=COLUMNS,
                        ways=(PATHS, POINTS))

  return Learner(init, step, evaluate, task.summarize, figures)


def _latents(kind: int, numbers: jax.Array, length: int) -> jax.Array:
  """Latents `[n, length]` that are a function of the numbers `[n]` alone."""
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.PRNGKey(kind), numbers)
  return jax.vmap(lambda key: jax.random.normal(key, (length,)))(keys)


def _way(numbers: jax.Array, share: jax.Array, length: int) -> jax.Array:
  """Latents on the great circle between two, whose lengths are as likely (White, 2016).

  Args:
    numbers: of the way, int `[n]`.
    share: how far along it, `[n]`.
    length: of the latents.
  """
  start, end = (_latents(2, 2 * numbers + i, length) for i in (0, 1))
  cosine = (start * end).sum(-1) / (
    jnp.linalg.norm(start, axis=-1) * jnp.linalg.norm(end, axis=-1))
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  one, other = (jnp.sin(part * angle) / jnp.sin(angle) for part in (1 - share, share))
  return one[:, None] * start + other[:, None] * end


def _label(numbers: jax.Array, classes: int) -> jax.Array:
  return numbers % max(classes, 1)


def _shares(x: jax.Array, count: int, axis: int) -> jax.Array:
  """Cuts a batch into shares, along a new first axis.

  A share is every so many rows, so that parts of a batch are cut as the whole is.
  """
  size = x.shape[axis]
  if size % count:
    raise ValueError(f'discriminator_updates: {count} do not divide a batch of {size}')
  cut = x.reshape(*x.shape[:axis], size // count, count, *x.shape[axis + 1 :])
  return jnp.moveaxis(cut, axis + 1, 0)
