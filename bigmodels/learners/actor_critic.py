"""Advantage actor-critic and PPO: a policy that learns from its latest rollout."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from bigmodels import environments
from bigmodels.environments import Transition
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


def actor_critic(task: Control, optimizer: optax.GradientTransformation,
                 gradient: Callable = mean_gradient, *, rollout_length: int = 8,
                 discount: float = 0.99, gae_lambda: float = 0.95,
                 entropy_weight: float = 0.01, value_weight: float = 0.5,
                 normalize_advantage: bool = False, clip_epsilon: float | None = None,
                 num_epochs: int = 1, num_minibatches: int = 1) -> Learner:
  """Advantage actor-critic, the synchronous form of A3C (Mnih et al., 2016), or PPO.

  A training step takes `rollout_length` actions in each environment, one for each row
  of the batch, and makes an update of these transitions. With `clip_epsilon` the loss
  is that of proximal policy optimization (Schulman et al., 2017), which allows several
  updates.

  Args:
    task: `tasks.control`, of a model that gives logits of the actions and a value.
    optimizer: any optax transformation.
    gradient: makes the gradient of a loss; the run supplies it.
    rollout_length: actions in each environment in a step.
    discount: of the value of the next observation.
    gae_lambda: of generalized advantage estimation (Schulman et al., 2016).
    entropy_weight: weight of the policy's entropy in the loss.
    value_weight: weight of half the squared error of the values in the loss.
    normalize_advantage: whether the advantages of an update have mean 0 and standard
      deviation 1.
    clip_epsilon: relative change of an action's probability beyond which the loss is
      clipped (PPO); None for no clipping.
    num_epochs: passes over the transitions of a step; more than one needs
      `clip_epsilon`.
    num_minibatches: random minibatches, an update each, in which an epoch is split.

  Raises:
    UserError: if rlax is not installed.
    ValueError: for settings out of range or that contradict each other. `init` and
      `step` raise it for a batch in microbatches, `init` for a model that does not
      give logits and a value, and for minibatches that do not divide the transitions.
  """
  rlax = require_rlax()
  check_counts(rollout_length=rollout_length, num_epochs=num_epochs,
               num_minibatches=num_minibatches)
  check_fractions(discount=discount, gae_lambda=gae_lambda)
  check_bounds(clip_epsilon=clip_epsilon)
  if clip_epsilon is None and (num_epochs > 1 or num_minibatches > 1):
    raise ValueError('clip_epsilon: must be a number, such as 0.2, for several updates '
                     'of the same transitions, got None')
  environment = task.environment
  optimizer = optax.with_extra_args_support(optimizer)

  def init(key, batch):
    params, variables, state, output = initialize(task, key, batch)
    num_actions, count = len(environment.actions), len(state.episode_length)
    if not isinstance(output, tuple) or [x.shape[1:] for x in output] != [
        (num_actions,), ()]:
      raise ValueError(f'actor_critic needs a model that gives the logits of '
                       f'{num_actions} actions and a value, such as '
                       'models.ActorCritic')
    if count * rollout_length % num_minibatches:
      raise ValueError(
        f'num_minibatches: must divide the {count} * {rollout_length} transitions of a '
        f'step, got {num_minibatches}')
    return initial_state(
      key, params, {'model': variables, 'environment': state}, optimizer.init)

  def loss(params, variables, batch, key):
    (logits, values), variables = task.apply(
      params, variables, batch['observation'], key, True)
    log_probs = jax.nn.log_softmax(logits)
    advantages = batch['advantage']
    if normalize_advantage:
      advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy = policy_loss(
      rlax.batched_index(log_probs, batch['action']), batch['log_prob'], advantages,
      clip_epsilon)
    entropies = -(jnp.exp(log_probs) * log_probs).sum(-1)
    errors = rlax.l2_loss(values, batch['target'])
    total = policy + value_weight * errors.mean() - entropy_weight * entropies.mean()
    count = jnp.float32(len(values))
    return total, (variables, {
      'loss': Mean(total * count, count), 'entropy': Mean(entropies.sum(), count),
      'value_loss': Mean(errors.sum(), count)}, {})

  descent = gradient(loss)

  def act(params, variables, state, key):
    model_key, action_key, step_key = jax.random.split(key, 3)
    (logits, values), _ = task.apply(
      params, variables, state.observation, model_key, False)
    actions = jax.random.categorical(action_key, logits).astype(jnp.int32)
    log_probs = rlax.batched_index(jax.nn.log_softmax(logits), actions)
    state, transitions, stepped = environments.step(
      environment, step_key, state, actions)
    return state, (transitions, values, log_probs,
                   episode_metrics(stepped, transitions.done))

  def learn(state, batch_and_key):
    return update(descent, optimizer, state, *batch_and_key)

  def step(state, batch):
    check_whole(batch)
    act_key, value_key, order_key, learn_key = jax.random.split(
      jax.random.fold_in(state.key, state.step), 4)
    variables = state.model_state['model']
    environment_state, (transitions, values, log_probs, episodes) = jax.lax.scan(
      partial(act, state.params, variables), state.model_state['environment'],
      jax.random.split(act_key, rollout_length))
    state = state._replace(model_state={
      **state.model_state, 'environment': environment_state})

    def flat(x):  # [steps, n, ...] -> [steps * n, ...]
      return x.reshape(-1, *x.shape[2:])

    (_, next_values), _ = task.apply(
      state.params, variables, flat(transitions.next_observation), value_key, False)
    advantages = generalized_advantages(
      transitions, values, next_values.reshape(values.shape), discount=discount,
      gae_lambda=gae_lambda)
    examples = jax.tree.map(flat, {
      'observation': transitions.observation, 'action': transitions.action,
      'log_prob': log_probs, 'advantage': advantages, 'target': advantages + values,
      'mask': jnp.ones_like(values)})
    order = minibatch_indices(
      order_key, values.size, num_epochs=num_epochs, num_minibatches=num_minibatches)
    state, updates = jax.lax.scan(learn, state, (
      jax.tree.map(lambda x: x[order], examples),
      jax.random.split(learn_key, len(order))))
    metrics = jax.tree.map(lambda x: x.sum(0), {**episodes, **updates})
    return state._replace(step=state.step + 1), metrics

  return Learner(init, step, greedy_evaluation(task, lambda output: output[0]))


def policy_loss(log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array,
                clip_epsilon: float | None) -> jax.Array:
  """The policy gradient loss of A3C (Mnih et al., 2016) or PPO (Schulman et al., 2017).

  Args:
    log_probs: of the actions taken, `[n]`.
    old_log_probs: as they were when the actions were taken, `[n]`; only for PPO.
    advantages: of the actions, `[n]`.
    clip_epsilon: of PPO; None for the loss of A3C.

  Returns:
    The mean, a scalar.
  """
  import rlax

  if clip_epsilon is None:
    return -(log_probs * advantages).mean()
  return rlax.clipped_surrogate_pg_loss(
    jnp.exp(log_probs - old_log_probs), advantages, clip_epsilon)


def generalized_advantages(transitions: Transition, values: jax.Array,
                           next_values: jax.Array, *, discount: float,
                           gae_lambda: float) -> jax.Array:
  """Generalized advantage estimation (Schulman et al., 2016), `[steps, n]`.

  The value after a truncated episode's last step counts as a part of its reward;
  nothing is carried over from one episode into the next.

  Args:
    transitions: `[steps, n, ...]`, of consecutive steps.
    values: of the observations, `[steps, n]`.
    next_values: of the next observations, `[steps, n]`.
    discount: of the next value.
    gae_lambda: weight of long returns, from 0 to 1.
  """
  import rlax

  rewards = transitions.reward + discount * jnp.where(
    transitions.truncated, next_values, 0.0)
  discounts = discount * (1.0 - transitions.done)
  all_values = jnp.concatenate([values, next_values[-1:]])
  return jax.vmap(rlax.truncated_generalized_advantage_estimation, (1, 1, None, 1), 1)(
    rewards, discounts, gae_lambda, all_values)


def minibatch_indices(key: jax.Array, count: int, *, num_epochs: int,
                      num_minibatches: int) -> jax.Array:
  """The examples of each update, int32 `[num_epochs * num_minibatches, size]`.

  Args:
    key: of the order.
    count: of the examples, a multiple of `num_minibatches`.
    num_epochs: passes over the examples.
    num_minibatches: of an epoch; one has the examples in their order.
  """
  def epoch(key):
    if num_minibatches == 1:
      return jnp.arange(count)
    return jax.random.permutation(key, count)

  order = jax.vmap(epoch)(jax.random.split(key, num_epochs))
  return order.reshape(num_epochs * num_minibatches, -1)
