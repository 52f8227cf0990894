"""Deep Q-learning: an agent that learns what each action is worth from its memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bigmodels.environments import Environment, Transition, advance, film_every
from bigmodels.learners import replay
from bigmodels.learners.agents import (
  begun,
  check_parts,
  descended,
  greedy,
  library,
  opened,
  summarize,
)
from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, Signal, State
from bigmodels.tasks.control import Control


def dqn(task: Control, optimizer: optax.GradientTransformation,
        gradient: Callable = mean_gradient, *, environment: Any,
        epsilon: optax.Schedule, discount: float = 0.99, capacity: int = 10_000,
        warmup: int = 1_000, sample: int = 128, rollout: int = 1, updates: int = 1,
        target_every: int = 100, double: bool = True, clip: float | None = None,
        clip_reward: float | None = None) -> Learner:
  """Deep Q-learning (Mnih et al., 2015).

  A step of training takes `rollout` actions in each of the environments, as many as
  the batch has rows, puts what came of them into the replay buffer, and makes `updates`
  updates, each of `sample` transitions drawn from it. Of observations that are frames,
  all but one of which are in the next one too, the buffer holds each transition's once.

  Args:
    task: `tasks.control`, of a model that gives the value of each action.
    optimizer: any optax transformation.
    gradient: makes the gradient of a loss; the run supplies one for its parts.
    environment: what it acts in, such as `environments.Gymnax('CartPole-v1')`; a run
      supplies that of its `data.Episodes`.
    epsilon: step -> chance of a random action.
    discount: of what comes a step later.
    capacity: transitions that the buffer keeps.
    warmup: transitions that are in it before the first update.
    sample: transitions of an update.
    rollout: actions of each environment in a step.
    updates: of the parameters in a step.
    target_every: steps after which the target network becomes that of the parameters.
    double: choose the next action by the parameters, judge it by the target network
      (van Hasselt et al., 2016).
    clip: error from which on the loss rises linearly (Huber), 1 in the paper; None
      for half the square. Where errors are far larger, what ends an episode hardly
      counts.
    clip_reward: rewards are learned from as if none was beyond this and its negative,
      1 in the paper; those that are reported stay as they are. None for no bounds.

  Raises:
    UserError: for an environment that is not there, or has no actions to choose from.
    ValueError: for sizes that do not fit each other.
  """
  rlax = library()
  for name, value in dict(capacity=capacity, warmup=warmup, sample=sample,
                          rollout=rollout, updates=updates,
                          target_every=target_every).items():
    if value < 1:
      raise ValueError(f'{name}: wants at least 1, got {value}')
  if not 0 <= discount <= 1:
    raise ValueError(f'discount: wants 0 to 1, got {discount}')
  for name, value in dict(clip=clip, clip_reward=clip_reward).items():
    if value is not None and not value > 0:
      raise ValueError(f'{name}: wants more than 0, or None, got {value}')
  if capacity < sample:
    raise ValueError(f'capacity: a buffer of {capacity} is smaller than the {sample} '
                     'transitions of an update; set it to at least that')
  if warmup > capacity:
    raise ValueError(f'warmup: wants at most the capacity, {capacity}, got {warmup}')
  world: Environment = opened(environment)
  optimizer = optax.with_extra_args_support(optimizer)

  def init(key, batch):
    params, model, slots, values = begun(task, world, key, batch)
    if not hasattr(values, 'shape') or values.shape[1:] != (len(world.actions),):
      raise ValueError(f'dqn wants a model that gives the values of '
                       f'{len(world.actions)} actions, such as models.QNetwork')
    if rollout * len(slots.length) > capacity:
      raise ValueError(f'capacity: wants at least the {rollout * len(slots.length)} '
                       f'transitions of a step, got {capacity}')
    item = jax.eval_shape(
      lambda *args: kept(advance(world, *args)[1]), key, slots,
      jnp.zeros(len(slots.length), jnp.int32))
    item = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), item)
    model_state = {'model': model, 'target': params, 'slots': slots,
             'replay': replay.empty(item, capacity)}
    return State(jnp.int32(0), params, model_state, optimizer.init(params), key,
                 Signal(jnp.float32(jnp.nan), jnp.int32(0)))

  def kept(transitions):
    if not world.stacked:
      return transitions
    frames = jnp.concatenate(
      [transitions.observation, transitions.after[..., -1:]], -1)
    return transitions._replace(observation=frames, after=None)

  def recalled(items):
    if not world.stacked:
      return items
    frames = items.observation
    return items._replace(observation=frames[..., :-1], after=frames[..., 1:])

  def loss(params, model, batch, key):
    values, model = task.answer(params, model, batch['observation'], key, True)
    chosen = jnp.take_along_axis(values, batch['action'][:, None], 1)[:, 0]
    missing = batch['target'] - chosen
    errors = rlax.l2_loss(missing) if clip is None else rlax.huber_loss(missing, clip)
    total = (errors.sum(), jnp.float32(len(errors)))
    return errors.mean(), (model, {'loss': total, 'value': (
      chosen.sum(), total[1])}, {})

  descent = gradient(loss)

  def act(params, model, chance, carry, key):
    slots, memory = carry
    whether, which, how = jax.random.split(key, 3)
    values, _ = task.answer(params, model, slots.observation, key, False)
    count = len(slots.length)
    actions = jnp.where(
      jax.random.uniform(whether, (count,)) < chance,
      jax.random.randint(which, (count,), 0, len(world.actions)), values.argmax(-1))
    slots, transitions, sums = advance(world, how, slots, actions.astype(jnp.int32))
    return (slots, replay.put(memory, kept(transitions))), sums

  def update(state, key):
    drawing, learning = jax.random.split(key)
    drawn = recalled(replay.draw(state.model_state['replay'], drawing, sample))
    if clip_reward is not None:
      drawn = drawn._replace(
        reward=jnp.clip(drawn.reward, -clip_reward, clip_reward))
    later, _ = task.answer(
      state.model_state['target'],
      state.model_state['model'],
      drawn.after,
      learning,
      False,
    )
    chooser = later
    if double:
      chooser, _ = task.answer(
        state.params, state.model_state['model'], drawn.after, learning, False)
    batch = {'observation': drawn.observation, 'action': drawn.action,
             'target': targets(drawn, later, chooser, discount),
             'mask': jnp.ones(sample)}
    return descended(descent, optimizer, state, batch, learning)

  def step(state, batch):
    check_parts(batch)
    acting, learning = jax.random.split(jax.random.fold_in(state.key, state.step))
    (slots, memory), played = jax.lax.scan(
      partial(act, state.params, state.model_state['model'], epsilon(state.step)),
      (state.model_state['slots'], state.model_state['replay']),
      jax.random.split(acting, rollout))
    state = state._replace(model_state={**state.model_state, 'slots': slots,
                                        'replay': memory})
    keys = jax.random.split(learning, updates)
    like = jax.eval_shape(update, state, keys[0])[1]
    nothing = jax.tree.map(lambda x: jnp.zeros((updates, *x.shape), x.dtype), like)
    state, learned = jax.lax.cond(
      memory.total >= warmup, lambda: jax.lax.scan(update, state, keys),
      lambda: (state, nothing))
    sums = jax.tree.map(lambda x: x.sum(0), {**played, **learned})
    done = state.step + 1
    target = jax.tree.map(lambda new, old: jnp.where(
      done % target_every == 0, new, old), state.params, state.model_state['target'])
    return state._replace(step=done,
                          model_state={**state.model_state, 'target': target}), sums

  return Learner(init, step, greedy(task, world, lambda values: values), summarize,
                 partial(task.figures, every=film_every(world)))


def targets(transitions: Transition, values: jax.Array, chooser: jax.Array,
            discount: float) -> jax.Array:
  """What the values of the actions taken should be, `[n]`.

  The reward, and unless the episode terminated what the best action after it is worth.

  Args:
    transitions: `[n, ...]`.
    values: of the actions after them, `[n, actions]`.
    chooser: values by which the best is chosen, `[n, actions]`; the same, or for double
      Q-learning others (van Hasselt et al., 2016).
    discount: of what comes a step later.
  """
  best = jnp.take_along_axis(values, chooser.argmax(-1)[:, None], 1)[:, 0]
  return transitions.reward + discount * jnp.where(transitions.terminated, 0.0, best)
