"""Tests of bigmodels.optim.measured against float64 NumPy and optax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import optim
from bigmodels.learners import Signal
from bigmodels.optim.measured import cleared, measured, sums, unmeasured

RNG = np.random.default_rng(0)
PARAMS = {'a': RNG.normal(size=(30, 40)).astype(np.float32),
          'b': RNG.normal(3, 1, 7).astype(np.float32)}
GRADS = jax.tree.map(lambda x: 0.1 * x[::-1], PARAMS)
LINEAR = optax.linear_schedule(1.0, 0.0, 10)


def norm(tree):
  return np.sqrt(sum(np.sum(np.float64(x) ** 2) for x in jax.tree.leaves(tree)))


def run(optimizer, steps=4, grads=GRADS, **extra):
  """What is measured in each step, and the parameters before it."""
  params, state, found, path = PARAMS, optimizer.init(PARAMS), [], []

  @jax.jit
  def step(params, state, **extra):
    updates, state = optimizer.update(grads, cleared(state), params, **extra)
    return optax.apply_updates(params, updates), state

  for _ in range(steps):
    path.append(params)
    params, state = step(params, state, **extra)
    found.append(jax.device_get(sums(state)))
  return found, [*path, params]


def test_norms_are_those_of_numpy_before_the_gradient_is_clipped():
  optimizer = measured(optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.5)), {})
  found, path = run(optimizer)
  for step, params in zip(found, path, strict=False):
    np.testing.assert_allclose(step['gradient_norm'], [norm(GRADS), 1], rtol=1e-6)
    np.testing.assert_allclose(step['parameter_norm'], [norm(params), 1], rtol=1e-6)
  np.testing.assert_allclose(norm(GRADS), optax.global_norm(GRADS), rtol=1e-6)


def test_norms_are_measured_every_so_many_updates():
  found, _ = run(measured(optax.sgd(0.1), {'learning_rate': 0.1}, every=3), steps=7)
  assert [step['gradient_norm'][1] for step in found] == [1, 0, 0, 1, 0, 0, 1]
  assert [step['learning_rate'][1] for step in found] == [1] * 7


def test_the_sums_are_of_all_updates_since_they_were_cleared():
  optimizer = measured(optax.sgd(LINEAR), {'learning_rate': LINEAR})
  state = optimizer.init(PARAMS)
  for _ in range(3):
    _, state = optimizer.update(GRADS, state, PARAMS)
  np.testing.assert_allclose(sums(state)['learning_rate'], [1.0 + 0.9 + 0.8, 3])
  np.testing.assert_array_equal(sums(cleared(state))['learning_rate'], [0, 0])
  assert isinstance(unmeasured(state), tuple) and unmeasured((1,)) == (1,)
  assert sums(unmeasured(state)) == {}


@pytest.mark.parametrize(('optimizer', 'rate'), [
  (optax.sgd(0.25), 0.25),
  (optax.sgd(LINEAR), LINEAR),
  (optax.chain(optax.sgd(LINEAR), optim.reduce_on_plateau(factor=0.5, patience=1)),
   LINEAR),
  (optax.inject_hyperparams(optax.sgd)(learning_rate=LINEAR), LINEAR),
  (optax.MultiSteps(optax.sgd(LINEAR), 2), LINEAR),
], ids=['number', 'schedule', 'plateau', 'injected', 'accumulated'])
def test_the_learning_rate_is_that_of_the_update(optimizer, rate):
  found, path = run(
    measured(optimizer, {'learning_rate': rate}), steps=6,
    signal=Signal(jnp.float32(1.0), jnp.int32(5)))
  for index, step in enumerate(found):
    moved = np.mean((path[index]['b'] - path[index + 1]['b']) / GRADS['b'])
    if moved:  # the accumulating one moves in every second update
      np.testing.assert_allclose(step['learning_rate'], [moved, 1], rtol=1e-4)
  assert len({float(step['learning_rate'][0]) for step in found}) == (
    1 if isinstance(rate, float) else 3 if 'MultiSteps' in str(type(optimizer)) else 6)


def test_a_schedule_that_the_optimizer_does_not_follow_is_left_out():
  found, _ = run(measured(optax.sgd(0.1), {'learning_rate': LINEAR}))
  assert set(found[0]) == {'gradient_norm', 'parameter_norm'}


def test_what_is_not_finite_is_left_out():
  grads = jax.tree.map(lambda x: np.full_like(x, np.nan), GRADS)
  found, _ = run(measured(optax.chain(optax.zero_nans(), optax.sgd(0.1)), {}),
                 grads=grads)
  np.testing.assert_array_equal(found[0]['gradient_norm'], [0, 0])
  assert found[0]['parameter_norm'][1] == 1


def test_updates_are_those_of_the_optimizer():
  for optimizer in (optax.adamw(1e-2), optax.sgd(LINEAR, momentum=0.9)):
    (_, found), (_, plain) = (run(measured(each, {})) for each in (
      optimizer, optax.chain(optimizer)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), found[-1], plain[-1])


def test_measuring_takes_less_memory_than_two_copies_of_the_parameters():
  params = {name: jnp.zeros((256, 256)) for name in 'abcd'}
  x, size = jnp.ones((8, 256)), 4 * 4 * 256**2

  def temporary(optimizer):
    def loss(params):
      h = x
      for name in params:
        h = jnp.tanh(h @ params[name])
      return jnp.sum(h**2)

    def body(_, carry):
      updates, state = optimizer.update(jax.grad(loss)(carry[0]), carry[1], carry[0])
      return optax.apply_updates(carry[0], updates), state

    def steps(params, state, count):
      return jax.lax.fori_loop(0, count, body, (params, state))

    compiled = jax.jit(steps, donate_argnums=(0, 1)).lower(
      params, optimizer.init(params), 3).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  adam = optax.adam(1e-3)
  assert temporary(measured(adam, {}, every=10)) < temporary(adam) + 2 * size
