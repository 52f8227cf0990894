"""Tests of bigmodels.learners.gradient: parts of a batch against the whole of it.

The devices of a pmap are played by `jax.vmap`, whose named axis adds up the same way.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.learners.gradient import mean_gradient, sharpness_aware
from bigmodels.learners.supervised import supervised
from bigmodels.metrics import Mean
from bigmodels.models import Mlp
from bigmodels.tasks import classification

KEY = jax.random.PRNGKey(3)
EXAMPLES = 16
ALL = [1.0] * EXAMPLES
# The second quarter counts nothing, the others 4, 3 and 1.
UNEVEN = [1.0] * 4 + [0.0] * 4 + [1.0, 1.0, 0.0, 1.0] + [0.0, 0.0, 1.0, 0.0]


def start(model, mask):
  """(loss, params, model_state, batch) of a classification."""
  rng = np.random.default_rng(0)
  batch = {'inputs': rng.normal(size=(EXAMPLES, 5)).astype(np.float32),
           'labels': (np.arange(EXAMPLES) % 3).astype(np.int32),
           'mask': np.array(mask, np.float32)}
  task = classification(model)
  return partial(task.loss, train=True), *task.init(jax.random.PRNGKey(0), batch), batch


def cut(batch, *sizes):
  return jax.tree.map(lambda x: x.reshape(*sizes, -1, *x.shape[1:]), batch)


@partial(jax.jit, static_argnums=0)
def whole(loss, params, model_state, batch):
  (value, (model_state, sums, _)), grads = jax.value_and_grad(loss, has_aux=True)(
    params, model_state, batch, KEY)
  return (value, model_state, sums), grads


def parted(loss, params, model_state, batch, *, parts=1, devices=1):
  """What `mean_gradient` makes of it; every device has to come to the same."""
  if devices == 1:
    given = cut(batch, parts)
    return jax.jit(mean_gradient(loss, microbatches=parts))(
      params, model_state, given, KEY)
  given, axis = cut(batch, parts, devices), 1
  if parts == 1:
    given, axis = jax.tree.map(lambda x: x[0], given), 0
  found = jax.jit(jax.vmap(
    mean_gradient(loss, microbatches=parts, axis_name='data'), (None, None, axis, None),
    axis_name='data', axis_size=devices))(params, model_state, given, KEY)
  jax.tree.map(
    lambda x: np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape)), found)
  return jax.tree.map(lambda x: x[0], found)


def assert_close(actual, expected):
  jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
               actual, expected)


CUTS = [{'parts': 2}, {'parts': 4}, {'devices': 4}, {'parts': 4, 'devices': 2}]


@pytest.mark.parametrize('how', CUTS, ids=str)
def test_parts_are_worth_the_whole_batch(how):
  given = start(Mlp(3, (32,), dropout=0.5), UNEVEN)
  (_, _, sums), grads = expected = whole(*given)
  assert sums['loss'][1] == 8
  assert all(jnp.any(g != 0) for g in jax.tree.leaves(grads))
  assert_close(parted(*given, **how), expected)


@pytest.mark.parametrize('how', [{'parts': 4}, {'devices': 4}], ids=str)
def test_a_batch_that_counts_nothing_has_no_gradient(how):
  (value, _, sums), grads = parted(*start(Mlp(3, (8,)), [0.0] * EXAMPLES), **how)
  assert value == 0 and sums['loss'] == (0, 0)
  assert not any(jnp.any(g != 0) for g in jax.tree.leaves(grads))


def test_one_part_is_the_plain_gradient():
  given = start(Mlp(3, (32,), dropout=0.5, batch_norm=True), UNEVEN)
  found = jax.jit(mean_gradient(given[0]))(*given[1:], KEY)
  jax.tree.map(np.testing.assert_array_equal, found, whole(*given))


@pytest.mark.parametrize('mask', [ALL, UNEVEN], ids=['all', 'uneven'])
def test_batch_statistics_are_over_all_devices(mask):
  given = start(Mlp(3, (16,), batch_norm=True), mask)
  assert_close(parted(*given, devices=4), whole(*given))


@pytest.mark.parametrize('devices, mask', [(1, UNEVEN), (2, ALL)],
                         ids=['uneven', 'devices'])
def test_each_part_in_time_has_batch_statistics_of_its_own(devices, mask):
  given = loss, params, model_state, batch = start(Mlp(3, (16,), batch_norm=True), mask)
  pieces = [jax.tree.map(lambda x, n=n: x[4 * n : 4 * n + 4], batch) for n in range(4)]
  found = [whole(loss, params, model_state, piece) for piece in pieces]
  counts = np.array([piece['mask'].sum() for piece in pieces])

  def over_parts(weights, *trees):
    return jax.tree.map(lambda *leaves: np.average(leaves, 0, weights), *trees)

  (value, kept, _), grads = parted(*given, parts=4, devices=devices)
  assert_close(value, over_parts(counts, *(v for (v, _, _), _ in found)))
  assert_close(grads, over_parts(counts, *(g for _, g in found)))
  assert_close(kept, over_parts(None, *(e for (_, e, _), _ in found)))
  (_, other, _), _ = whole(*given)
  var = [tree['batch_stats']['BatchNorm_0']['var'] for tree in (kept, other)]
  assert not np.allclose(*var, rtol=1e-3)


def test_a_model_is_left_as_it_was():
  given = start(Mlp(3, (16,), batch_norm=True), ALL)
  before = whole(*given)
  parted(*given, devices=4)
  jax.tree.map(np.testing.assert_array_equal, whole(*given), before)


def counting(params, model_state, batch, key):
  """The mean of w * x where the mask is 1; keeps a counter and the largest x."""
  del key
  count = batch['mask'].sum()
  total = jnp.sum(params * batch['x'] * batch['mask'])
  model_state = {'seen': model_state['seen'] + 1,
                 'most': jnp.maximum(model_state['most'], batch['x'].max())}
  return total / jnp.maximum(count, 1), (model_state, {'loss': Mean(total, count)}, {})


@pytest.mark.parametrize('how', [{'parts': 2}, {'devices': 2}], ids=str)
def test_worked_by_hand(how):
  batch = {'x': np.float32([1, 2, 3, 10]), 'mask': np.float32([1, 1, 1, 0])}
  model_state = {'seen': jnp.int32(6), 'most': jnp.float32(0)}
  (value, model_state, sums), grad = parted(
    counting, jnp.float32(5), model_state, batch, **how)
  # Not the mean of the parts' means, 1.5 and 3.
  assert (value, grad, sums['loss']) == (10, 2, (30, 3))
  assert model_state['seen'] == 7 and model_state['seen'].dtype == jnp.int32
  assert model_state['most'] == 6  # the mean of 2 and 10


# --- other gradients, the same learner ------------------------------------------


def clipped_per_example(loss, *, norm, **cut):
  """The mean of gradients of single examples, each of at most a norm."""
  del cut

  def gradient(params, model_state, batch, key):
    def one(example):
      alone = jax.tree.map(lambda x: x[None], example)
      (_, (_, metrics, _)), grads = jax.value_and_grad(loss, has_aux=True)(
        params, model_state, alone, key)
      scale = jnp.minimum(1, norm / optax.global_norm(grads))
      return metrics, jax.tree.map(lambda g: scale * g * example['mask'], grads)

    metrics, grads = jax.tree.map(lambda x: x.sum(0), jax.vmap(one)(batch))
    count = jnp.maximum(metrics['loss'].count, 1)
    return (metrics['loss'].total / count, model_state, metrics), jax.tree.map(
      lambda g: g / count, grads)

  return gradient


@pytest.mark.parametrize('gradient', [
  partial(sharpness_aware, rho=0.1), partial(clipped_per_example, norm=0.01)])
def test_another_gradient_needs_no_other_learner(gradient):
  loss, params, model_state, batch = start(Mlp(3, (8,)), UNEVEN)
  task = classification(Mlp(3, (8,)))
  learner = supervised(task, optax.sgd(1.0), gradient)
  state = jax.jit(learner.init)(KEY, batch)._replace(
    params=params, model_state=model_state)
  after, metrics = jax.jit(learner.step)(state, batch)
  assert metrics['loss'].count == 8
  plain, _ = jax.jit(supervised(task, optax.sgd(1.0)).step)(state, batch)
  moved = optax.global_norm(jax.tree.map(jnp.subtract, after.params, params))
  if gradient.func is clipped_per_example:
    assert 0 < moved <= 0.01 + 1e-6
  else:
    key = jax.random.fold_in(state.key, state.step)
    slope = jax.jit(mean_gradient(loss))
    _, grads = slope(params, model_state, batch, key)
    worst = jax.tree.map(
      lambda p, g: p + 0.1 * g / optax.global_norm(grads), params, grads)
    _, sharp = slope(worst, model_state, batch, key)
    assert_close(after.params, jax.tree.map(lambda p, g: p - g, params, sharp))
  assert any(jnp.any(a != b) for a, b in zip(
    jax.tree.leaves(after.params), jax.tree.leaves(plain.params), strict=True))


def test_sharpness_aware_is_the_update_of_its_paper():
  """Foret et al., equations 2 and 3, of a quadratic loss in float64."""
  with jax.enable_x64(True):
    rng = np.random.default_rng(0)
    half, center = rng.normal(size=(4, 4)), rng.normal(size=4)
    matrix, params = half @ half.T, {'a': rng.normal(size=3), 'b': rng.normal(size=1)}

    def loss(params, model_state, batch, key):
      x = jnp.concatenate([params['a'], params['b']]) - center
      value = x @ matrix @ x / 2
      return value, (model_state, {'loss': Mean(value, 1.0)}, {})

    (value, _, _), grads = jax.jit(sharpness_aware(loss, rho=0.1))(params, {}, {}, KEY)
    x = np.concatenate([params['a'], params['b']]) - center
    up = matrix @ x
    expected = matrix @ (x + 0.1 * up / np.linalg.norm(up))
    np.testing.assert_allclose(np.concatenate([grads['a'], grads['b']]), expected,
                               rtol=1e-13)
    assert float(value) == pytest.approx(x @ matrix @ x / 2, rel=1e-13)
    at_rest = jax.tree.map(np.asarray, {'a': center[:3], 'b': center[3:]})
    _, grads = sharpness_aware(loss)(at_rest, {}, {}, KEY)
    np.testing.assert_array_equal(grads['a'], 0.0)  # and not NaN


@pytest.mark.parametrize('rho', [-1.0, float('nan'), float('inf')])
def test_sharpness_aware_refuses_a_radius(rho):
  with pytest.raises(ValueError, match=r'gradient\.rho: must be finite and >= 0, got'):
    sharpness_aware(lambda: None, rho=rho)


def test_sharpness_aware_is_of_the_whole_batch():
  """In microbatches the ascent is along the gradient of all of them."""
  loss, params, model_state, batch = start(Mlp(3, (4,)), UNEVEN)
  (one, _, _), expected = jax.jit(sharpness_aware(loss, rho=0.5))(
    params, model_state, batch, KEY)
  (several, _, _), found = jax.jit(sharpness_aware(loss, rho=0.5, microbatches=4))(
    params, model_state, cut(batch, 4), KEY)
  assert float(one) == pytest.approx(float(several), rel=1e-5)
  jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found,
               expected)
