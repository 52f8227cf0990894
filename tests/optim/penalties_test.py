"""Tests of penalties against jax.grad and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import models, optim
from bigmodels.core.tree_paths import name_of

PARAMS = {
  'kernel': jnp.array([[0.5, -2.0], [0.2, 3.0]]),
  'filter': jnp.linspace(-1, 1, 6).reshape(1, 2, 3, 1) + 0.1,
  'bias': jnp.array([4.0, -5.0]),
  'scale': jnp.float32(2.0),
}
GRADS = jax.tree.map(lambda p: jnp.cos(p), PARAMS)
WEIGHTS = ('kernel', 'filter')


def update(optimizer, grads=GRADS, params=PARAMS):
  return optimizer.update(grads, optimizer.init(params), params)[0]


def assert_close(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-6, atol=1e-7),
               actual, expected)


def test_weights_have_two_or_more_dimensions():
  assert optim.weights(PARAMS) == {
    'kernel': True, 'filter': True, 'bias': False, 'scale': False}


def test_biases_and_scales_of_stacked_blocks_are_no_weights():
  block = models.Gpt(vocabulary=7, length=4, depth=2, width=8, heads=2)
  shapes = jax.eval_shape(lambda: block.init(
    jax.random.key(0), jnp.zeros((1, 4), int), train=False))['params']
  decayed = {name_of(path): bool(found) for path, found in
             jax.tree.leaves_with_path(optim.weights(shapes))}
  assert {name for name, found in decayed.items() if found} == {
    name for name in decayed if name.endswith(('kernel', 'embedding'))}
  assert shapes['blocks']['block']['attention']['query']['bias'].ndim == 2


@pytest.mark.parametrize('penalty, measure', [
  (optim.l1, lambda w: 0.3 * jnp.abs(w).sum()),
  (optim.l2, lambda w: 0.3 / 2 * (w**2).sum()),
])
def test_a_penalty_adds_its_gradient_and_leaves_biases_alone(penalty, measure):
  added = jax.grad(lambda params: sum(measure(params[name]) for name in WEIGHTS))
  expected = jax.tree.map(jnp.add, GRADS, added(PARAMS))
  actual = update(penalty(0.3))
  assert_close(actual, expected)
  for name in ('bias', 'scale'):
    np.testing.assert_array_equal(actual[name], GRADS[name])


def test_l1_does_not_move_a_zero():
  params = {'kernel': jnp.zeros((2, 2))}
  assert_close(update(optim.l1(1.0), params, params), params)


def test_coupled_decay_goes_through_the_optimizer_and_decoupled_does_not():
  # One step of Adam is the sign of its input, whatever its size.
  coupled = update(optax.chain(optim.l2(10.0), optax.adam(0.1, eps=0.0)))
  decoupled = update(optax.chain(
    optax.scale_by_adam(eps=0.0), optim.l2(10.0), optax.scale_by_learning_rate(0.1)))
  for name, p in PARAMS.items():
    g, p = np.asarray(GRADS[name]), np.asarray(p)
    decay = 10.0 * p if name in WEIGHTS else 0.0 * p
    np.testing.assert_allclose(coupled[name], -0.1 * np.sign(g + decay), 1e-5)
    np.testing.assert_allclose(decoupled[name], -0.1 * (np.sign(g) + decay), 0, 2e-6)


def test_decoupled_decay_equals_adamw():
  ours = optax.chain(
    optax.scale_by_adam(), optim.l2(0.2), optax.scale_by_learning_rate(0.1))
  theirs = optax.adamw(0.1, weight_decay=0.2, mask=optim.weights)
  state, expected = ours.init(PARAMS), theirs.init(PARAMS)
  for step in range(3):
    grads = jax.tree.map(lambda g: g * (step - 0.5), GRADS)  # noqa: B023
    actual, state = ours.update(grads, state, PARAMS)
    updates, expected = theirs.update(grads, expected, PARAMS)
    assert_close(actual, updates)


@pytest.mark.parametrize('penalty', [optim.l1, optim.l2])
@pytest.mark.parametrize('strength', [-1.0, float('nan')])
def test_penalties_refuse(penalty, strength):
  with pytest.raises(ValueError, match='strength: must be finite and >= 0'):
    penalty(strength)
