"""Advantage actor-critic: a policy that learns from what it has just done."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bigmodels.environments import Environment, Transition, advance, film_every
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


def actor_critic(task: Control, optimizer: optax.GradientTransformation,
                 gradient: Callable = mean_gradient, *, environment: Any,
                 rollout: int = 8, discount: float = 0.99, trace: float = 0.95,
                 entropy: float = 0.01, value_weight: float = 0.5,
                 normalize: bool = False, clip: float | None = None, passes: int = 1,
                 minibatches: int = 1) -> Learner:
  """Advantage actor-critic, the synchronous form of A3C (Mnih et al., 2016), or PPO.

  A step of training takes `rollout` actions in each of the environments, as many as the
  batch has rows, and makes an update of what came of them; with `clip` it is that of
  proximal policy optimisation (Schulman et al., 2017), which bears several.

  Args:
    task: `tasks.control`, of a model that gives logits of the actions and a value.
    optimizer: any optax transformation.
    gradient: makes the gradient of a loss; the run supplies one for its parts.
    environment: what it acts in, such as `environments.Gymnax('CartPole-v1')`; a run
      supplies that of its `data.Episodes`.
    rollout: actions of each environment in a step.
    discount: of what comes a step later.
    trace: lambda of generalised advantage estimation (Schulman et al., 2016).
    entropy: how much the policy's entropy counts in the loss.
    value_weight: how much half the squared error of the values counts.
    normalize: give the advantages of an update mean 0 and deviation 1.
    clip: how far the chance of an action may move from what it was when it was taken,
      as a share of it, before it counts no more (PPO); None for no bound.
    passes: over the transitions of a step; more than one wants `clip`.
    minibatches: that a pass is cut into, at random.

  Raises:
    UserError: for an environment that is not there, or has no actions to choose from.
    ValueError: for settings that do not fit each other.
  """
  rlax = library()
  for name, value in dict(rollout=rollout, passes=passes,
                          minibatches=minibatches).items():
    if value < 1:
      raise ValueError(f'{name}: wants at least 1, got {value}')
  for name, value in dict(discount=discount, trace=trace).items():
    if not 0 <= value <= 1:
      raise ValueError(f'{name}: wants 0 to 1, got {value}')
  if clip is None and (passes > 1 or minibatches > 1):
    raise ValueError('clip: wants a number, such as 0.2, for several updates of the '
                     'same transitions')
  if clip is not None and clip <= 0:
    raise ValueError(f'clip: wants more than 0, got {clip}')
  world: Environment = opened(environment)
  optimizer = optax.with_extra_args_support(optimizer)

  def init(key, batch):
    params, model, slots, found = begun(task, world, key, batch)
    if not isinstance(found, tuple) or [x.shape[1:] for x in found] != [
        (len(world.actions),), ()]:
      raise ValueError(f'actor_critic wants a model that gives the logits of '
                       f'{len(world.actions)} actions and a value, such as '
                       'models.ActorCritic')
    if len(slots.length) * rollout % minibatches:
      raise ValueError(
        f'minibatches: wants a divisor of the {len(slots.length)} * {rollout} '
        f'transitions of a step, got {minibatches}')
    return State(jnp.int32(0), params, {'model': model, 'slots': slots},
                 optimizer.init(params), key,
                 Signal(jnp.float32(jnp.nan), jnp.int32(0)))

  def loss(params, model, batch, key):
    (logits, values), model = task.answer(
      params, model, batch['observation'], key, True)
    log_all = jax.nn.log_softmax(logits)
    chances = jnp.take_along_axis(log_all, batch['action'][:, None], 1)[:, 0]
    advantages = batch['advantage']
    if normalize:
      advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    if clip is None:
      policy = -(chances * advantages).mean()
    else:
      policy = rlax.clipped_surrogate_pg_loss(
        jnp.exp(chances - batch['chance']), advantages, clip)
    spread = -(jnp.exp(log_all) * log_all).sum(-1)
    value = rlax.l2_loss(values, batch['target'])
    total = policy + value_weight * value.mean() - entropy * spread.mean()
    count = jnp.float32(len(values))
    return total, (model, {'loss': (total * count, count), 'entropy': (
      spread.sum(), count), 'value_loss': (value.sum(), count)}, {})

  descent = gradient(loss)

  def act(params, model, slots, key):
    how, which, world_key = jax.random.split(key, 3)
    (logits, value), _ = task.answer(params, model, slots.observation, how, False)
    action = jax.random.categorical(which, logits).astype(jnp.int32)
    chance = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], 1)[:, 0]
    slots, transition, sums = advance(world, world_key, slots, action)
    return slots, (transition, value, chance, sums)

  def update(state, batch_and_key):
    return descended(descent, optimizer, state, *batch_and_key)

  def step(state, batch):
    check_parts(batch)
    acting, judging, mixing, learning = jax.random.split(
      jax.random.fold_in(state.key, state.step), 4)
    model = state.model_state['model']
    slots, (transitions, values, chances, played) = jax.lax.scan(
      partial(act, state.params, model), state.model_state['slots'],
      jax.random.split(acting, rollout))
    state = state._replace(model_state={**state.model_state, 'slots': slots})

    def flat(x):
      return x.reshape(-1, *x.shape[2:])

    (_, after), _ = task.answer(
      state.params, model, flat(transitions.after), judging, False)
    gained = advantages(transitions, values, after.reshape(values.shape),
                        discount=discount, trace=trace)
    seen = {'observation': transitions.observation, 'action': transitions.action,
            'chance': chances, 'advantage': gained, 'target': gained + values,
            'mask': jnp.ones_like(values)}
    seen = jax.tree.map(flat, seen)
    count = len(seen['action'])

    def one_pass(key):
      order = jax.random.permutation(key, count) if minibatches > 1 else (
        jnp.arange(count))
      return order.reshape(minibatches, -1)

    order = jax.vmap(one_pass)(jax.random.split(mixing, passes)).reshape(
      passes * minibatches, -1)
    cut = jax.tree.map(lambda x: x[order], seen)
    state, learned = jax.lax.scan(
      update, state, (cut, jax.random.split(learning, passes * minibatches)))
    sums = jax.tree.map(lambda x: x.sum(0), {**played, **learned})
    return state._replace(step=state.step + 1), sums

  return Learner(init, step, greedy(task, world, lambda found: found[0]), summarize,
                 partial(task.figures, every=film_every(world)))


def advantages(transitions: Transition, values: jax.Array, after: jax.Array, *,
               discount: float, trace: float) -> jax.Array:
  """How much better actions were than expected (Schulman et al., 2016), `[steps, n]`.

  What a truncated episode would still have given counts as a part of its last reward;
  nothing is carried over from one episode into another.

  Args:
    transitions: `[steps, n, ...]`, of episodes side by side, one after the other.
    values: of what was observed, `[steps, n]`.
    after: values of what followed, `[steps, n]`.
    discount: of what comes a step later.
    trace: lambda.
  """
  import rlax

  rewards = transitions.reward + discount * jnp.where(transitions.truncated, after, 0.0)
  going = discount * (1.0 - transitions.over)
  known = jnp.concatenate([values, after[-1:]])
  return jax.vmap(rlax.truncated_generalized_advantage_estimation, (1, 1, None, 1), 1)(
    rewards, going, trace, known)
