"""Tests of bigmodels.learners.dqn against loops and the exact values of a corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models, tasks
from bigmodels.environments import Environment, Transition
from bigmodels.learners.dqn import targets
from tests.environments import libraries
from tests.environments.corridor import ROOMS, Corridor

libraries.require('rlax')

DISCOUNT = 0.9
BATCH = {'inputs': jnp.zeros((4, ROOMS)), 'mask': jnp.ones(4),
         'episode': jnp.arange(4, dtype=jnp.int32)}


def _transitions(count=64):
  chance = np.random.default_rng(0)
  terminated = chance.random(count) < 0.3
  return Transition(
    jnp.zeros((count, 1)), jnp.zeros(count, jnp.int32),
    jnp.asarray(chance.normal(size=count), jnp.float32), jnp.zeros((count, 1)),
    jnp.asarray(terminated),
    jnp.asarray(~terminated & (chance.random(count) < 0.5)))


@pytest.mark.parametrize('double', [False, True])
def test_targets_equal_a_loop(double):
  drawn, chance = _transitions(), np.random.default_rng(1)
  values = chance.normal(size=(64, 3)).astype(np.float32)
  chooser = chance.normal(size=(64, 3)).astype(np.float32) if double else values
  expected = []
  for i in range(64):
    best = float(values[i, np.argmax(chooser[i])])
    later = 0.0 if drawn.terminated[i] else DISCOUNT * best  # a truncated one goes on
    expected.append(float(drawn.reward[i]) + later)
  found = targets(drawn, jnp.asarray(values), jnp.asarray(chooser), DISCOUNT)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def _learner(**settings):
  task = tasks.control(models.QNetwork(
    num_outputs=2, body=models.Mlp(num_outputs=16, widths=(16,)),
    dueling=settings.pop('dueling', False)))
  return learners.dqn(task, optax.adam(5e-3), **{
    'environment': Corridor(), 'discount': DISCOUNT, 'capacity': 500, 'warmup': 50,
    'sample': 32, 'target_every': 10, 'epsilon': optax.constant_schedule(0.5),
    **settings}), task


@pytest.mark.parametrize('settings', [
  {'double': False}, {'double': True}, {'dueling': True}, {'clip': 1.0},
  {'rollout': 2, 'updates': 2}])
def test_finds_the_exact_values(settings):
  learner, task = _learner(**settings)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  advance = jax.jit(lambda state: jax.lax.fori_loop(
    0, 1500, lambda i, state: learner.step(state, BATCH)[0], state))
  state = advance(state)
  # The best from each room: -1 a step, 10 at the exit; staying costs a step more.
  best = np.array([-1 - DISCOUNT + 10 * DISCOUNT**2, -1 + 10 * DISCOUNT, 10])
  values, _ = task.answer(
    state.params, {}, jnp.eye(ROOMS), jax.random.PRNGKey(0), False)
  np.testing.assert_allclose(values[:, 1], best, atol=0.3)
  np.testing.assert_allclose(values[:, 0], -1 + DISCOUNT * best, atol=0.3)
  sums, outputs = learner.evaluate(state, BATCH)
  assert [float(x) for x in sums['return']] == [32, 4]
  assert outputs['length'].tolist() == [3, 3, 3, 3]


def test_rewards_are_clipped_in_what_is_learned_and_not_in_the_returns():
  learner, task = _learner(clip_reward=1.0)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)

  def step(i, carry):
    state, total = carry
    state, sums = learner.step(state, BATCH)
    return state, jnp.fmax(total, sums['return'][0] / sums['return'][1])

  state, most = jax.jit(lambda state: jax.lax.fori_loop(
    0, 1500, step, (state, jnp.float32(-10))))(state)
  best = np.array([-1 - DISCOUNT + DISCOUNT**2, -1 + DISCOUNT, 1])
  values, _ = task.answer(
    state.params, {}, jnp.eye(ROOMS), jax.random.PRNGKey(0), False)
  np.testing.assert_allclose(values[:, 1], best, atol=0.2)
  assert float(most) == 8  # 10 - 2, as played
  assert [float(x) for x in learner.evaluate(state, BATCH)[0]['return']] == [32, 4]


def test_frames_that_the_next_observation_has_too_are_kept_once():
  def reset(key):
    seen = jnp.zeros(ROOMS).at[-1].set(jax.random.normal(key))
    return seen, seen

  def step(key, seen, action):
    seen = jnp.append(seen[1:], jax.random.normal(key) + action)
    return seen, seen, seen.sum(), seen[-1] > 1, jnp.bool_(False)

  ended = {}
  for stacked in (False, True):
    world = Environment(jax.ShapeDtypeStruct((ROOMS,), jnp.float32), ('0', '1'), 4,
                        reset, step, stacked=stacked)
    learner, _ = _learner(environment=world)
    state = learner.init(jax.random.PRNGKey(0), BATCH)
    ended[stacked] = jax.jit(lambda state, step=learner.step: jax.lax.fori_loop(
      0, 40, lambda i, state: step(state, BATCH)[0], state))(state)
  for name in ('params', 'opt_state'):
    jax.tree.map(np.testing.assert_array_equal, getattr(ended[False], name),
                 getattr(ended[True], name))
  kept = {k: state.model_state['replay'].items for k, state in ended.items()}
  np.testing.assert_array_equal(kept[True].observation[:, :-1], kept[False].observation)
  np.testing.assert_array_equal(kept[True].observation[:, 1:], kept[False].after)
  assert kept[True].after is None


def test_nothing_is_learned_before_the_buffer_has_the_warmup():
  learner, _ = _learner(warmup=9)
  first = state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  step = jax.jit(learner.step)
  for _ in range(2):
    state, sums = step(state, BATCH)
    assert float(sums['loss'][1]) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, first.params)
  state, sums = step(state, BATCH)
  assert float(sums['loss'][1]) == 32
  assert int(state.model_state['replay'].total) == 12
  moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params,
                       first.params)
  assert max(jax.tree.leaves(moved)) > 0


def test_the_target_network_follows_every_so_many_steps():
  learner, _ = _learner(warmup=1, target_every=3)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  step, before = jax.jit(learner.step), None
  for i in range(1, 8):
    state, _ = step(state, BATCH)
    kernel = np.asarray(state.model_state['target']['advantage']['kernel'])
    if i % 3 == 0:
      np.testing.assert_array_equal(kernel, state.params['advantage']['kernel'])
    elif before is not None:
      np.testing.assert_array_equal(kernel, before)
    before = kernel


@pytest.mark.parametrize('settings, message', [
  ({'capacity': 20}, 'a buffer of 20 is smaller than the 32 transitions of an update'),
  ({'warmup': 501}, 'warmup: wants at most the capacity, 500, got 501'),
  ({'rollout': 0}, 'rollout: wants at least 1, got 0'),
  ({'clip_reward': 0.0}, 'clip_reward: wants more than 0, or None, got 0'),
  ({'discount': 1.1}, 'discount: wants 0 to 1, got 1.1'),
  ({'environment': 'CartPole-v1'}, "environment: wants one such as .*'CartPole-v1'")])
def test_settings_that_do_not_fit(settings, message):
  with pytest.raises(ValueError, match=message):
    _learner(**settings)


def test_models_that_do_not_answer_so():
  task = tasks.control(models.Mlp(num_outputs=3, widths=()))
  learner = learners.dqn(task, optax.sgd(0.1), environment=Corridor(),
                         epsilon=optax.constant_schedule(0.1))
  with pytest.raises(ValueError, match='gives the values of 2 actions'):
    learner.init(jax.random.PRNGKey(0), BATCH)
  parts = {name: x[None] for name, x in BATCH.items()}
  with pytest.raises(ValueError, match='does not take its batch in parts'):
    learner.init(jax.random.PRNGKey(0), parts)
