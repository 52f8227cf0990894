"""Tests of bigmodels.learners.dqn against loops and the exact values of a corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models, tasks
from bigmodels.environments import Environment, Transition
from bigmodels.learners.dqn import q_targets
from bigmodels.metrics import Mean
from tests.environments import libraries
from tests.environments.corridor import ROOMS, Corridor

libraries.require('rlax')

DISCOUNT = 0.9
BATCH = {'inputs': jnp.zeros((4, ROOMS)), 'mask': jnp.ones(4),
         'episode': jnp.arange(4, dtype=jnp.int32)}


def _transitions(count=64):
  rng = np.random.default_rng(0)
  terminated = rng.random(count) < 0.3
  return Transition(
    jnp.zeros((count, 1)), jnp.zeros(count, jnp.int32),
    jnp.asarray(rng.normal(size=count), jnp.float32), jnp.zeros((count, 1)),
    jnp.asarray(terminated),
    jnp.asarray(~terminated & (rng.random(count) < 0.5)))


@pytest.mark.parametrize('double', [False, True])
def test_targets_equal_a_loop(double):
  drawn, rng = _transitions(), np.random.default_rng(1)
  values = rng.normal(size=(64, 3)).astype(np.float32)
  selector = rng.normal(size=(64, 3)).astype(np.float32) if double else values
  expected = []
  for i in range(64):
    best = float(values[i, np.argmax(selector[i])])
    later = 0.0 if drawn.terminated[i] else DISCOUNT * best  # a truncated one goes on
    expected.append(float(drawn.reward[i]) + later)
  found = q_targets(
    drawn, jnp.asarray(values), jnp.asarray(selector), discount=DISCOUNT)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def _learner(environment=None, dueling=False, **settings):
  model = models.QNetwork(
    num_outputs=2, body=models.Mlp(num_outputs=16, widths=(16,)), dueling=dueling)
  task = tasks.control(model, environment or Corridor())
  return learners.dqn(task, optax.adam(5e-3), **{
    'discount': DISCOUNT, 'replay_capacity': 500, 'min_replay_size': 50,
    'sample_size': 32, 'target_update_period': 10,
    'epsilon': optax.constant_schedule(0.5), **settings}), task


@pytest.mark.parametrize('settings', [
  {'double': False}, {
    'double': True, 'dueling': True, 'huber_delta': 1.0, 'rollout_length': 2,
    'updates_per_step': 2},
  *(pytest.param(alone, marks=pytest.mark.slow('train agents')) for alone in (
    {'double': True}, {'dueling': True}, {'huber_delta': 1.0},
    {'rollout_length': 2, 'updates_per_step': 2}))])
def test_finds_the_exact_values(settings):
  learner, task = _learner(**settings)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  state = jax.jit(lambda state: jax.lax.fori_loop(
    0, 1500, lambda i, state: learner.step(state, BATCH)[0], state))(state)
  # The best from each room: -1 a step, 10 at the exit; staying costs a step more.
  best = np.array([-1 - DISCOUNT + 10 * DISCOUNT**2, -1 + 10 * DISCOUNT, 10])
  values, _ = task.apply(
    state.params, {}, jnp.eye(ROOMS), jax.random.PRNGKey(0), False)
  np.testing.assert_allclose(values[:, 1], best, atol=0.3)
  np.testing.assert_allclose(values[:, 0], -1 + DISCOUNT * best, atol=0.3)
  metrics, outputs = jax.jit(learner.evaluate)(state, BATCH)
  assert metrics['return'] == Mean(32, 4)
  assert outputs['length'].tolist() == [3, 3, 3, 3]


def test_rewards_are_clipped_in_what_is_learned_and_not_in_the_returns():
  learner, task = _learner(max_abs_reward=1.0)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)

  def step(i, carry):
    state, total = carry
    state, metrics = learner.step(state, BATCH)
    mean = metrics['return'].total / metrics['return'].count
    return state, jnp.fmax(total, mean)

  state, most = jax.jit(lambda state: jax.lax.fori_loop(
    0, 1500, step, (state, jnp.float32(-10))))(state)
  best = np.array([-1 - DISCOUNT + DISCOUNT**2, -1 + DISCOUNT, 1])
  values, _ = task.apply(
    state.params, {}, jnp.eye(ROOMS), jax.random.PRNGKey(0), False)
  np.testing.assert_allclose(values[:, 1], best, atol=0.2)
  assert float(most) == 8  # 10 - 2, not clipped
  assert jax.jit(learner.evaluate)(state, BATCH)[0]['return'] == Mean(32, 4)


def test_stacked_frames_are_kept_once():
  def reset(key):
    frames = jnp.zeros(ROOMS).at[-1].set(jax.random.normal(key))
    return frames, frames

  def step(key, frames, action):
    frames = jnp.append(frames[1:], jax.random.normal(key) + action)
    return frames, frames, frames.sum(), frames[-1] > 1, jnp.bool_(False)

  ended = {}
  for stacked in (False, True):
    environment = Environment(jax.ShapeDtypeStruct((ROOMS,), jnp.float32), ('0', '1'),
                              4, reset, step, stacked_frames=stacked)
    learner, _ = _learner(environment)
    state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
    ended[stacked] = jax.jit(lambda state, step=learner.step: jax.lax.fori_loop(
      0, 40, lambda i, state: step(state, BATCH)[0], state))(state)
  for name in ('params', 'opt_state'):
    jax.tree.map(np.testing.assert_array_equal, getattr(ended[False], name),
                 getattr(ended[True], name))
  whole, stacked = (ended[k].model_state['replay'].items for k in (False, True))
  np.testing.assert_array_equal(stacked.observation[:, :-1], whole.observation)
  np.testing.assert_array_equal(stacked.observation[:, 1:], whole.next_observation)
  assert stacked.next_observation is None


def test_there_is_no_update_before_the_buffer_has_its_least_size():
  learner, _ = _learner(min_replay_size=9)
  first = state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  step = jax.jit(learner.step)
  for _ in range(2):
    state, metrics = step(state, BATCH)
    assert float(metrics['loss'].count) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, first.params)
  state, metrics = step(state, BATCH)
  assert float(metrics['loss'].count) == 32
  assert int(state.model_state['replay'].num_added) == 12
  moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params,
                       first.params)
  assert max(jax.tree.leaves(moved)) > 0


def test_the_target_network_is_updated_once_in_a_period():
  learner, _ = _learner(min_replay_size=1, target_update_period=3)
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
  ({'replay_capacity': 20}, 'sample_size: must be <= replay_capacity, 20, got 32'),
  ({'min_replay_size': 501}, 'min_replay_size: must be <= replay_capacity, 500, got'),
  ({'rollout_length': 0}, 'rollout_length: must be >= 1, got 0'),
  ({'max_abs_reward': 0.0}, 'max_abs_reward: must be > 0 or None, got 0.0'),
  ({'discount': 1.1}, 'discount: must be from 0 to 1, got 1.1')])
def test_settings_that_do_not_fit(settings, message):
  with pytest.raises(ValueError, match=message):
    _learner(**settings)


def test_models_and_batches_that_do_not_fit():
  task = tasks.control(models.Mlp(num_outputs=3, widths=()), Corridor())
  learner = learners.dqn(task, optax.sgd(0.1), epsilon=optax.constant_schedule(0.1))
  with pytest.raises(ValueError, match='gives the values of 2 actions'):
    learner.init(jax.random.PRNGKey(0), BATCH)
  microbatches = {name: x[None] for name, x in BATCH.items()}
  with pytest.raises(ValueError, match='cannot be split into microbatches'):
    learner.init(jax.random.PRNGKey(0), microbatches)
  learner, _ = _learner(rollout_length=126)
  with pytest.raises(ValueError, match='replay_capacity: must be >= 504, the transit'):
    learner.init(jax.random.PRNGKey(0), BATCH)
