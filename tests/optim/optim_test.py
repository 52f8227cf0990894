"""Tests of bigmodels.optim against jax.grad and simulations in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import models, optim
from bigmodels.core.tree_paths import name_of
from bigmodels.learners import Signal

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
  # One step of Adam is the sign of what it is given, whatever its size.
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


def simulate(values, factor, patience, tolerance, smallest):
  """The scale after each evaluation."""
  scale, best, waited, scales = 1.0, float('inf'), 0, []
  for value in values:
    if best == float('inf') or value < best - tolerance * abs(best):
      best, waited = value, 0
    else:
      waited += 1
      if waited == patience:
        scale, waited = max(scale * factor, smallest), 0
    scales.append(scale)
  return scales


@pytest.mark.parametrize('factor, patience, tolerance, smallest, offset', [
  (0.5, 1, 0.0, 1e-3, 0.0),
  (0.1, 3, 0.05, 1e-9, 3.0),
  (0.5, 2, 0.2, 0.3, -3.0),
])
def test_reduce_on_plateau_follows_a_simulation(
  factor, patience, tolerance, smallest, offset):
  rng = np.random.default_rng(patience)
  values = (offset + np.linspace(1, 0, 40) + rng.normal(size=40) / 4).astype(np.float32)
  expected = simulate(values.tolist(), factor, patience, tolerance, smallest)
  assert len(set(expected)) > 2  # it is reduced more than once
  optimizer = optim.reduce_on_plateau(
    factor=factor, patience=patience, tolerance=tolerance, smallest=smallest)
  step = jax.jit(
    lambda state, signal: optimizer.update(jnp.float32(8.0), state, signal=signal))
  state = optimizer.init(None)
  signal = Signal(jnp.float32(jnp.nan), jnp.int32(0))
  for evaluation in range(41):
    scale = 1.0 if evaluation == 0 else expected[evaluation - 1]
    for _ in range(rng.integers(1, 5)):  # updates between two evaluations
      scaled, state = step(state, signal)
      np.testing.assert_allclose(scaled, 8 * scale, rtol=1e-5)
    if evaluation < 40:
      signal = Signal(jnp.float32(values[evaluation]), jnp.int32(evaluation + 1))


def test_an_evaluation_that_is_not_a_number_is_no_improvement():
  optimizer = optim.reduce_on_plateau(factor=0.5, patience=2)
  state, scales = optimizer.init(None), []
  for count, value in enumerate([1.0, np.nan, np.nan, 0.5, 0.6]):
    signal = Signal(jnp.float32(value), jnp.int32(count + 1))
    scaled, state = optimizer.update(jnp.float32(1.0), state, signal=signal)
    scales.append(float(scaled))
  assert scales == [1, 1, 0.5, 0.5, 0.5]
  assert float(state.best) == 0.5


def test_reduce_on_plateau_keeps_the_type_of_updates():
  optimizer = optim.reduce_on_plateau()
  updates, _ = optimizer.update(
    jnp.ones(2, jnp.bfloat16), optimizer.init(None),
    signal=Signal(jnp.float32(1), jnp.int32(1)))
  assert updates.dtype == jnp.bfloat16


@pytest.mark.parametrize('bad', [
  {'factor': 0.0}, {'factor': 1.0}, {'factor': float('nan')}, {'patience': 0}])
def test_reduce_on_plateau_refuses(bad):
  with pytest.raises(ValueError, match=next(iter(bad))):
    optim.reduce_on_plateau(**bad)


def test_wants_monitor_finds_a_nested_plateau():
  chain = optax.chain(optax.adam(0.1), optax.chain(optim.reduce_on_plateau()))
  assert optim.wants_monitor(chain.init(PARAMS))
  assert not optim.wants_monitor(optax.adam(0.1).init(PARAMS))


BLOCKS = {
  'encoder': {'blocks': {'kernel': jnp.ones((3, 2, 2)), 'bias': jnp.ones((3, 2))},
              'tokens': jnp.ones((5, 2))},
  'head': {'kernel': jnp.ones((2, 2))},
}


def named(tree):
  return {jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(x)
          for path, x in jax.tree.leaves_with_path(tree)}


def test_freeze_zeroes_whole_names_even_with_decay_and_nan():
  grads = jax.tree.map(lambda p: p.at[0].set(jnp.nan), BLOCKS)
  optimizer = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(1.0),
                          optim.freeze('encoder/blocks/.*', 'head/kernel'))
  updates = named(jax.jit(lambda: update(optimizer, grads, BLOCKS))())
  for name in ('encoder/blocks/kernel', 'encoder/blocks/bias', 'head/kernel'):
    np.testing.assert_array_equal(updates[name], 0)
  np.testing.assert_array_equal(updates['encoder/tokens'][1:], -1.5)


def test_freeze_of_the_lowest_layers():
  frozen = named(update(
    optim.freeze('encoder/blocks/.*', layers=2), BLOCKS, BLOCKS))
  for name in ('encoder/blocks/kernel', 'encoder/blocks/bias'):
    np.testing.assert_array_equal(frozen[name][:2], 0)
    np.testing.assert_array_equal(frozen[name][2], 1)
  for name in ('encoder/tokens', 'head/kernel'):
    np.testing.assert_array_equal(frozen[name], 1)


def test_rates_multiplied_by_name_are_those_of_other_optimizers():
  chain = optax.chain(
    optax.adamw(0.1, weight_decay=0.5), optim.multiply_rate('encoder/.*', factor=0.3),
    optim.multiply_rate('encoder/blocks/.*', factor=0.5, layers=1))
  found = named(update(chain, BLOCKS, BLOCKS))
  expected = {rate: named(update(optax.adamw(rate, weight_decay=0.5), BLOCKS, BLOCKS))
              for rate in (0.1, 0.03, 0.015)}
  for name, rates in {'encoder/blocks/kernel': (0.015, 0.03, 0.03),
                      'encoder/tokens': (0.03,) * 5, 'head/kernel': (0.1,) * 2}.items():
    for row, rate in enumerate(rates):
      np.testing.assert_allclose(found[name][row], expected[rate][name][row], rtol=1e-6)


@pytest.mark.parametrize('factor', [-0.1, float('inf'), float('nan')])
def test_multiply_rate_refuses(factor):
  with pytest.raises(ValueError, match=r'^factor: wants a number, 0 or more'):
    optim.multiply_rate('.*', factor=factor)
  with pytest.raises(ValueError, match=r"^patterns: 'tail' matches the whole name"):
    optim.multiply_rate('tail', factor=0.5).init(BLOCKS)


@pytest.mark.parametrize('patterns, layers, words', [
  ((), None, 'patterns: wants at least one'),
  (('(',), None, "patterns: wants regular expressions, got '\\('"),
  (('.*',), 0, 'layers: wants at least 1, got 0')])
def test_freeze_refuses_at_once(patterns, layers, words):
  with pytest.raises(ValueError, match=f'^{words}'):
    optim.freeze(*patterns, layers=layers)


@pytest.mark.parametrize('patterns, layers, words', [
  (('head/.*', 'blocks/.*'), None, "patterns: 'blocks/.*' matches the whole name of"),
  (('encoder/.*',), 2, 'layers: wants parameters with the same number of them, got 3 '
                       'of encoder/blocks/kernel, 5 of encoder/tokens'),
  (('encoder/blocks/.*',), 4, 'layers: wants at most the 3 that')])
def test_freeze_refuses_parameters(patterns, layers, words):
  with pytest.raises(ValueError, match=f'^{words}'):
    optim.freeze(*patterns, layers=layers).init(BLOCKS)


def test_muon_of_filters_equals_the_published_steps():
  """As airbench94_muon.py has it, in float64."""
  def orthogonal(matrix):
    x = matrix / np.linalg.norm(matrix)
    for _ in range(3):
      a = x @ x.T
      x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x

  chance = np.random.default_rng(0)
  grads = [chance.normal(size=(3, 3, 4, 6)) for _ in range(3)]
  optimizer, momentum = optim.muon_filters(momentum=0.6), 0
  state = optimizer.init(jnp.zeros((3, 3, 4, 6)))
  for grad in grads:
    found, state = optimizer.update(jnp.float32(grad), state)
    momentum = 0.6 * momentum + grad
    wanted = orthogonal((grad + 0.6 * momentum).reshape(-1, 6).T).T
    np.testing.assert_allclose(found, wanted.reshape(grad.shape), atol=1e-5)


def test_with_norms_rescales_before_the_update():
  params = {'kernel': jnp.arange(12.0).reshape(3, 4) + 1}
  optimizer = optax.chain(optax.sgd(0.5), optim.with_norms(lambda p: p.shape[-1]**0.5))
  updates = update(optimizer, jax.tree.map(jnp.ones_like, params), params)
  kernel = np.asarray(params['kernel'])
  np.testing.assert_allclose(
    params['kernel'] + updates['kernel'], 2 * kernel / np.linalg.norm(kernel) - 0.5,
    atol=1e-6)


@pytest.mark.parametrize('penalty', [optim.l1, optim.l2])
@pytest.mark.parametrize('strength', [-1.0, float('nan')])
def test_penalties_refuse(penalty, strength):
  with pytest.raises(ValueError, match='strength: wants a number, 0 or more'):
    penalty(strength)
