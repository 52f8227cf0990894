"""Tests of bigmodels.learners.actor_critic against loops in float64, on a corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models, tasks
from bigmodels.environments import Transition
from bigmodels.learners.actor_critic import generalized_advantages, minibatch_indices
from bigmodels.metrics import Mean
from tests.environments import libraries
from tests.environments.corridor import ROOMS, Corridor

libraries.require('rlax')

BATCH = {'inputs': jnp.zeros((8, ROOMS)), 'mask': jnp.ones(8),
         'episode': jnp.arange(8, dtype=jnp.int32)}


@pytest.mark.parametrize('discount, gae_lambda', [(0.9, 0.8), (0.99, 1.0), (0.95, 0.0)])
def test_advantages_equal_a_loop(discount, gae_lambda):
  rng, shape = np.random.default_rng(0), (12, 5)
  rewards, values, after = (rng.normal(size=shape) for _ in range(3))
  terminated = rng.random(shape) < 0.15
  truncated = ~terminated & (rng.random(shape) < 0.15)
  # What follows is the next observation, where it is of the same episode.
  over = terminated | truncated
  after[:-1] = np.where(over[:-1], after[:-1], values[1:])
  expected, carried = np.zeros(shape), np.zeros(shape[1])
  for t in reversed(range(len(rewards))):
    error = rewards[t] + discount * after[t] * ~terminated[t] - values[t]
    carried = error + discount * gae_lambda * ~over[t] * carried
    expected[t] = carried
  nothing = jnp.zeros(shape)
  transitions = Transition(
    nothing, nothing, jnp.asarray(rewards, jnp.float32), nothing,
    jnp.asarray(terminated), jnp.asarray(truncated))
  found = generalized_advantages(
    transitions, jnp.asarray(values, jnp.float32), jnp.asarray(after, jnp.float32),
    discount=discount, gae_lambda=gae_lambda)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def _learner(critic=None, **settings):
  body = models.Mlp(num_outputs=16, widths=(16,))
  model = models.ActorCritic(num_outputs=2, body=body, critic=critic)
  return learners.actor_critic(
    tasks.control(model, Corridor()), optax.adam(1e-2), **{
      'discount': 0.9, 'rollout_length': 8, **settings})


@pytest.mark.parametrize('settings', [
  {}, {'normalize_advantage': True}, {'critic': models.Mlp(num_outputs=8, widths=(8,))},
  {'clip_epsilon': 0.2, 'num_epochs': 3, 'num_minibatches': 4}])
def test_finds_the_way_out(settings):
  learner = _learner(**settings)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  state = jax.jit(lambda state: jax.lax.fori_loop(
    0, 300, lambda i, state: learner.step(state, BATCH)[0], state))(state)
  metrics, outputs = learner.evaluate(state, BATCH)
  assert metrics['return'] == Mean(64, 8)
  assert outputs['length'].tolist() == [3] * 8


def test_a_first_update_with_clipping_is_that_without():
  """Where nothing has moved yet, the ratio is 1, and its gradient that of the log."""
  found = []
  for clip_epsilon in (None, 0.2):
    learner = _learner(clip_epsilon=clip_epsilon)
    state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
    found.append(jax.jit(learner.step)(state, BATCH)[0].params)
  for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_every_epoch_has_every_example_once():
  order = minibatch_indices(
    jax.random.PRNGKey(0), 12, num_epochs=2, num_minibatches=3)
  assert order.shape == (6, 4)
  epochs = np.asarray(order).reshape(2, 12)
  np.testing.assert_array_equal(np.sort(epochs, 1), [np.arange(12)] * 2)
  assert (epochs[0] != epochs[1]).any()
  whole = minibatch_indices(jax.random.PRNGKey(0), 12, num_epochs=2, num_minibatches=1)
  np.testing.assert_array_equal(whole, [np.arange(12)] * 2)


@pytest.mark.parametrize('settings, message', [
  ({'num_epochs': 2}, 'clip_epsilon: must be a number, such as 0.2'),
  ({'clip_epsilon': 0.0}, 'clip_epsilon: must be > 0 or None, got 0.0'),
  ({'gae_lambda': 2}, 'gae_lambda: must be from 0 to 1, got 2'),
  ({'rollout_length': 0}, 'rollout_length: must be >= 1, got 0')])
def test_settings_that_do_not_fit(settings, message):
  with pytest.raises(ValueError, match=message):
    _learner(**settings)


def test_models_and_sizes_that_do_not_fit():
  with pytest.raises(ValueError, match='num_minibatches: must divide the 8 \\* 8'):
    _learner(clip_epsilon=0.2, num_minibatches=3).init(jax.random.PRNGKey(0), BATCH)
  learner = learners.actor_critic(
    tasks.control(models.Mlp(num_outputs=2), Corridor()), optax.sgd(0.1))
  with pytest.raises(ValueError, match='the logits of 2 actions and a value'):
    learner.init(jax.random.PRNGKey(0), BATCH)
