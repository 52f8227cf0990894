"""Tests of bigmodels.learners.actor_critic against loops in float64, on a corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models, tasks
from bigmodels.environments import Transition
from bigmodels.learners.actor_critic import advantages
from tests.environments import libraries
from tests.environments.corridor import ROOMS, Corridor

libraries.require('rlax')

BATCH = {'inputs': jnp.zeros((8, ROOMS)), 'mask': jnp.ones(8),
         'episode': jnp.arange(8, dtype=jnp.int32)}


@pytest.mark.parametrize('discount, trace', [(0.9, 0.8), (0.99, 1.0), (0.95, 0.0)])
def test_advantages_equal_a_loop(discount, trace):
  chance, shape = np.random.default_rng(0), (12, 5)
  rewards, values, after = (chance.normal(size=shape) for _ in range(3))
  terminated = chance.random(shape) < 0.15
  truncated = ~terminated & (chance.random(shape) < 0.15)
  # What follows is the next observation, where it is of the same episode.
  over = terminated | truncated
  after[:-1] = np.where(over[:-1], after[:-1], values[1:])
  expected, carried = np.zeros(shape), np.zeros(shape[1])
  for t in reversed(range(len(rewards))):
    error = rewards[t] + discount * after[t] * ~terminated[t] - values[t]
    carried = error + discount * trace * ~over[t] * carried
    expected[t] = carried
  nothing = jnp.zeros(shape)
  transitions = Transition(
    nothing, nothing, jnp.asarray(rewards, jnp.float32), nothing,
    jnp.asarray(terminated), jnp.asarray(truncated))
  found = advantages(transitions, jnp.asarray(values, jnp.float32),
                     jnp.asarray(after, jnp.float32), discount=discount, trace=trace)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def _learner(**settings):
  body = models.Mlp(num_outputs=16, widths=(16,))
  task = tasks.control(models.ActorCritic(
    num_outputs=2, body=body, critic=settings.pop('critic', None)))
  return learners.actor_critic(task, optax.adam(1e-2), **{
    'environment': Corridor(), 'discount': 0.9, 'rollout': 8, **settings})


@pytest.mark.parametrize('settings', [
  {}, {'normalize': True}, {'critic': models.Mlp(num_outputs=8, widths=(8,))},
  {'clip': 0.2, 'passes': 3, 'minibatches': 4}])
def test_finds_the_way_out(settings):
  learner = _learner(**settings)
  state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
  state = jax.jit(lambda state: jax.lax.fori_loop(
    0, 300, lambda i, state: learner.step(state, BATCH)[0], state))(state)
  sums, outputs = learner.evaluate(state, BATCH)
  assert [float(x) for x in sums['return']] == [64, 8]
  assert outputs['length'].tolist() == [3] * 8


def test_a_first_update_within_the_bound_is_that_without_one():
  """Where nothing has moved yet, the ratio is 1, and its gradient that of the log."""
  found = []
  for clip in (None, 0.2):
    learner = _learner(clip=clip)
    state = jax.jit(learner.init)(jax.random.PRNGKey(0), BATCH)
    found.append(jax.jit(learner.step)(state, BATCH)[0].params)
  for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('settings, message', [
  ({'passes': 2}, 'clip: wants a number, such as 0.2'),
  ({'clip': 0.0}, 'clip: wants more than 0, got 0.0'),
  ({'trace': 2}, 'trace: wants 0 to 1, got 2'),
  ({'rollout': 0}, 'rollout: wants at least 1, got 0')])
def test_settings_that_do_not_fit(settings, message):
  with pytest.raises(ValueError, match=message):
    _learner(**settings)


def test_models_and_sizes_that_do_not_fit():
  with pytest.raises(ValueError, match='minibatches: wants a divisor of the 8 \\* 8'):
    _learner(clip=0.2, minibatches=3).init(jax.random.PRNGKey(0), BATCH)
  learner = learners.actor_critic(
    tasks.control(models.Mlp(num_outputs=2)), optax.sgd(0.1), environment=Corridor())
  with pytest.raises(ValueError, match='the logits of 2 actions and a value'):
    learner.init(jax.random.PRNGKey(0), BATCH)
