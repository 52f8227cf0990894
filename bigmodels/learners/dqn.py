"""Deep Q-learning: an agent that learns the value of actions from a replay buffer."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from bigmodels import environments
from bigmodels.environments import Environment, Transition
from bigmodels.learners import replay
from bigmodels.learners.agents import (
  check_bounds,
  check_counts,
  check_fractions,
  check_whole,
  episode_metrics,
  greedy_evaluation,
  initialize,
  require_rlax,
  update,
)
from bigmodels.learners.gradient import mean_gradient
from bigmodels.learners.learner import Learner, initial_state
from bigmodels.metrics import Mean
from bigmodels.tasks.control import Control


def dqn(task: Control, optimizer: optax.GradientTransformation,
        gradient: Callable = mean_gradient, *, epsilon: optax.Schedule,
        discount: float = 0.99, replay_capacity: int = 10_000,
        min_replay_size: int = 1_000, sample_size: int = 128, rollout_length: int = 1,
        updates_per_step: int = 1, target_update_period: int = 100,
        double: bool = True, huber_delta: float | None = None,
        max_abs_reward: float | None = None) -> Learner:
  """Deep Q-learning (Mnih et al., 2015).

  A training step takes `rollout_length` actions in each environment, one for each row
  of the batch, adds the transitions to the replay buffer, and makes `updates_per_step`
  updates, each of `sample_size` transitions sampled from it. Of stacked frames, all
  but one of which recur in the next observation, the buffer keeps each transition's
  once.

  Args:
    task: `tasks.control`, of a model that gives the value of each action.
    optimizer: any optax transformation.
    gradient: makes the gradient of a loss; the run supplies it.
    epsilon: step -> probability of a random action.
    discount: of the value of the next observation.
    replay_capacity: transitions that the buffer keeps.
    min_replay_size: transitions in the buffer before the first update.
    sample_size: transitions of an update.
    rollout_length: actions in each environment in a step.
    updates_per_step: updates of the parameters in a step.
    target_update_period: steps between two updates of the target network.
    double: double Q-learning (van Hasselt et al., 2016): the online network selects
      the next action, the target network evaluates it.
    huber_delta: error above which the loss is linear, 1 in the paper; None for half
      the square. Where errors are much larger, terminal transitions count little.
    max_abs_reward: rewards are clipped to this and its negative in what is learned,
      1 in the paper; reported returns are not. None for no clipping.

  Raises:
    UserError: if rlax is not installed.
    ValueError: for settings out of range or that contradict each other. `init` and
      `step` raise it for a batch in microbatches, `init` for a model that does not
      give the value of each action, and for more transitions a step than the capacity.
  """
  rlax = require_rlax()
  check_counts(
    replay_capacity=replay_capacity, min_replay_size=min_replay_size,
    sample_size=sample_size, rollout_length=rollout_length,
    updates_per_step=updates_per_step, target_update_period=target_update_period)
  check_fractions(discount=discount)
  check_bounds(huber_delta=huber_delta, max_abs_reward=max_abs_reward)
  for name, value in dict(sample_size=sample_size,
                          min_replay_size=min_replay_size).items():
    if value > replay_capacity:
      raise ValueError(
        f'{name}: must be <= replay_capacity, {replay_capacity}, got {value}')
  environment, num_actions = task.environment, len(task.environment.actions)
  optimizer = optax.with_extra_args_support(optimizer)

  def init(key, batch):
    params, variables, state, values = initialize(task, key, batch)
    if not hasattr(values, 'shape') or values.shape[1:] != (num_actions,):
      raise ValueError(f'dqn needs a model that gives the values of {num_actions} '
                       'actions, such as models.QNetwork')
    count = len(state.episode_length)
    if rollout_length * count > replay_capacity:
      raise ValueError(
        f'replay_capacity: must be >= {rollout_length * count}, the transitions of a '
        f'step, got {replay_capacity}')
    items = jax.eval_shape(
      lambda *args: _to_items(environment, environments.step(environment, *args)[1]),
      key, state, jnp.zeros(count, jnp.int32))
    item = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), items)
    model_state = {'model': variables, 'target': params, 'environment': state,
                   'replay': replay.init(item, replay_capacity)}
    return initial_state(key, params, model_state, optimizer.init)

  def loss(params, variables, batch, key):
    values, variables = task.apply(params, variables, batch['observation'], key, True)
    chosen = rlax.batched_index(values, batch['action'])
    losses = q_losses(batch['target'] - chosen, huber_delta)
    count = jnp.float32(len(losses))
    return losses.mean(), (variables, {
      'loss': Mean(losses.sum(), count), 'value': Mean(chosen.sum(), count)}, {})

  descent = gradient(loss)

  def act(params, variables, probability, carry, key):
    state, buffer = carry
    explore_key, action_key, step_key = jax.random.split(key, 3)
    values, _ = task.apply(params, variables, state.observation, key, False)
    count = len(values)
    actions = jnp.where(
      jax.random.uniform(explore_key, (count,)) < probability,
      jax.random.randint(action_key, (count,), 0, num_actions), values.argmax(-1))
    state, transitions, stepped = environments.step(
      environment, step_key, state, actions.astype(jnp.int32))
    buffer = replay.add(buffer, _to_items(environment, transitions))
    return (state, buffer), episode_metrics(stepped, transitions.done)

  def learn(state, key):
    sample_key, model_key = jax.random.split(key)
    kept = state.model_state
    transitions = _to_transitions(
      environment, replay.sample(kept['replay'], sample_key, sample_size))
    if max_abs_reward is not None:
      transitions = transitions._replace(
        reward=jnp.clip(transitions.reward, -max_abs_reward, max_abs_reward))

    def next_values(params):
      return task.apply(
        params, kept['model'], transitions.next_observation, model_key, False)[0]

    evaluated = next_values(kept['target'])
    selector = next_values(state.params) if double else evaluated
    batch = {'observation': transitions.observation, 'action': transitions.action,
             'target': q_targets(transitions, evaluated, selector, discount=discount),
             'mask': jnp.ones(sample_size)}
    return update(descent, optimizer, state, batch, model_key)

  def step(state, batch):
    check_whole(batch)
    kept = state.model_state
    act_key, learn_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    (environment_state, buffer), episodes = jax.lax.scan(
      partial(act, state.params, kept['model'], epsilon(state.step)),
      (kept['environment'], kept['replay']), jax.random.split(act_key, rollout_length))
    state = state._replace(model_state={
      **kept, 'environment': environment_state, 'replay': buffer})
    keys = jax.random.split(learn_key, updates_per_step)
    shapes = jax.eval_shape(learn, state, keys[0])[1]
    nothing = jax.tree.map(
      lambda x: jnp.zeros((updates_per_step, *x.shape), x.dtype), shapes)
    state, updates = jax.lax.cond(
      buffer.num_added >= min_replay_size, lambda: jax.lax.scan(learn, state, keys),
      lambda: (state, nothing))
    metrics = jax.tree.map(lambda x: x.sum(0), {**episodes, **updates})
    number = state.step + 1
    target = jax.tree.map(
      lambda new, old: jnp.where(number % target_update_period == 0, new, old),
      state.params, state.model_state['target'])
    return state._replace(
      step=number, model_state={**state.model_state, 'target': target}), metrics

  return Learner(init, step, greedy_evaluation(task, lambda values: values))


def q_targets(transitions: Transition, next_values: jax.Array, selector: jax.Array, *,
              discount: float) -> jax.Array:
  """Targets of the values of the actions taken, `[n]`.

  The reward, plus the discounted value of the best next action unless the episode
  terminated.

  Args:
    transitions: `[n, ...]`.
    next_values: of the actions after them, `[n, actions]`.
    selector: values by which the best is selected, `[n, actions]`: those of the online
      network for double Q-learning (van Hasselt et al., 2016), else `next_values`.
    discount: of the next value.
  """
  import rlax

  best = rlax.batched_index(next_values, selector.argmax(-1))
  return transitions.reward + discount * jnp.where(transitions.terminated, 0.0, best)


def q_losses(errors: jax.Array, huber_delta: float | None) -> jax.Array:
  """Half the square of errors `[n]`, linear above `huber_delta` (Huber, 1964)."""
  import rlax

  if huber_delta is None:
    return rlax.l2_loss(errors)
  return rlax.huber_loss(errors, huber_delta)


def _to_items(environment: Environment, transitions: Transition) -> Transition:
  """Transitions as the buffer keeps them: of stacked frames each only once."""
  if not environment.stacked_frames:
    return transitions
  frames = jnp.concatenate(
    [transitions.observation, transitions.next_observation[..., -1:]], -1)
  return transitions._replace(observation=frames, next_observation=None)


def _to_transitions(environment: Environment, items: Transition) -> Transition:
  """The inverse of `_to_items`."""
  if not environment.stacked_frames:
    return items
  frames = items.observation
  return items._replace(
    observation=frames[..., :-1], next_observation=frames[..., 1:])
