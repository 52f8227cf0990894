"""Tests of the models that forecast series: shapes, causality, plain loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.layers.recurrent import Gru
from bigmodels.models import (
  DLinear,
  PatchTst,
  RecurrentForecaster,
  SeriesClassifier,
  Tcn,
  Tgcn,
  tcn,
  tgcn,
)
from bigmodels.models.series import ReversibleNorm

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BATCH, LENGTH, HORIZON, TARGETS, CHANNELS = 4, 20, 6, 2, 3
INPUTS = RNG.normal(size=(BATCH, LENGTH, CHANNELS)).astype(np.float32)
KNOWN = RNG.normal(size=(BATCH, LENGTH + HORIZON, 2)).astype(np.float32)
STATIC = RNG.normal(size=(BATCH, 3)).astype(np.float32)
GRAPH = np.array([[0.0, 2.0], [0.5, 0.0]])
OF_TARGETS = {
  'dlinear': partial(DLinear, window=5),
  'patch_tst': partial(PatchTst, patch=6, stride=4, depth=2, width=8, heads=2,
                       hidden=16, dropout=0.0),
  'tgcn': partial(Tgcn, adjacency=GRAPH, width=8)}
OF_ALL = {
  'recurrent': partial(RecurrentForecaster, width=8, depth=2),
  'tcn': partial(Tcn, width=8, dropout=0.0)}
MODELS = OF_TARGETS | OF_ALL
EACH = pytest.mark.parametrize('name', MODELS)
WITH_FEATURES = pytest.mark.parametrize('name', OF_ALL)


def inputs_of(name):
  return INPUTS[..., :TARGETS] if name == 'tgcn' else INPUTS


def made(name, *, quantiles=None, **given):
  """A model's forecast as a function of its inputs, with random parameters."""
  model = MODELS[name](HORIZON, TARGETS, quantiles=quantiles)
  variables = jax.jit(partial(model.init, train=False))(KEY, inputs_of(name), **given)
  variables = jax.tree.map(
    lambda x: x + jnp.asarray(0.1 * RNG.random(x.shape), x.dtype), variables)
  return jax.jit(lambda x, **more: model.apply(variables, x, train=False, **more))


@EACH
@pytest.mark.parametrize('quantiles', [None, 3])
def test_forecasts_have_a_number_for_each_step_and_target(name, quantiles):
  found = made(name, quantiles=quantiles)(inputs_of(name))
  assert found.shape == (BATCH, HORIZON, TARGETS) + (() if quantiles is None else (3,))
  assert np.isfinite(found).all() and len(np.unique(found)) > HORIZON


@EACH
def test_windows_do_not_affect_each_other(name):
  model, x = made(name), inputs_of(name)
  other = x.copy()  # jax may read x later, so x itself must not change
  other[0] += 1
  before, after = model(x), model(other)
  np.testing.assert_allclose(before[1:], after[1:], rtol=1e-5, atol=1e-6)
  assert not np.allclose(before[0], after[0])


@WITH_FEATURES
def test_a_forecast_sees_what_is_known_up_to_its_step_and_no_further(name):
  model = made(name, known=KNOWN, static=STATIC)
  # [horizon, targets] by [length + horizon, features], of the first window.
  jacobian = jax.jacobian(lambda known: model(
    INPUTS[:1], known=known[None], static=STATIC[:1])[0])(KNOWN[0])
  size = np.abs(jacobian).sum((1, 3))
  assert size.shape == (HORIZON, LENGTH + HORIZON)
  for step in range(HORIZON):
    assert (size[step, : LENGTH + step + 1] > 0).all()
    np.testing.assert_array_equal(size[step, LENGTH + step + 1 :], 0)


@WITH_FEATURES
def test_inputs_and_static_features_are_used(name):
  model = made(name, known=KNOWN, static=STATIC)
  of_inputs, of_static = jax.grad(lambda x, s: model(
    x, known=KNOWN, static=s)[:, -1].sum(), (0, 1))(INPUTS, STATIC)
  assert (np.abs(of_inputs).sum(-1) > 0).all() and (np.abs(of_static) > 0).all()


@pytest.mark.parametrize('name', ['dlinear', 'patch_tst'])
def test_variables_are_forecast_apart(name):
  model, other = made(name), INPUTS.copy()
  other[..., 1:] += RNG.normal(size=other[..., 1:].shape)
  np.testing.assert_allclose(
    model(INPUTS)[..., 0], model(other)[..., 0], rtol=1e-5, atol=1e-6)


@EACH
def test_one_batch_is_learned_by_heart(name):
  model = MODELS[name](HORIZON, TARGETS)
  x = inputs_of(name)
  targets = RNG.normal(size=(BATCH, HORIZON, TARGETS)).astype(np.float32)
  variables = jax.jit(partial(model.init, train=False))(KEY, x)
  optimizer = optax.adam(2e-2)

  @jax.jit
  def fit(params):
    def loss(params):
      return jnp.mean((model.apply({**variables, 'params': params}, x, train=False)
                       - targets) ** 2)

    def step(carry, _):
      params, state = carry
      value, gradient = jax.value_and_grad(loss)(params)
      updates, state = optimizer.update(gradient, state)
      return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(
      step, (params, optimizer.init(params)), None, length=500)
    return values

  values = fit(variables['params'])
  assert values[-1] < 0.02 * values[0]


# --- each model -----------------------------------------------------------------


def test_dlinear_is_a_plain_loop():
  model = DLinear(HORIZON, TARGETS, window=5)
  variables = model.init(KEY, INPUTS, train=False)
  params = jax.tree.map(lambda x: x + RNG.normal(size=x.shape), variables['params'])
  found = model.apply({'params': params}, INPUTS, train=False)
  for n, c in np.ndindex(BATCH, TARGETS):
    x = INPUTS[n, :, c].astype(np.float64)
    padded = np.concatenate([[x[0]] * 2, x, [x[-1]] * 2])
    trend = np.array([padded[i : i + 5].mean() for i in range(LENGTH)])
    expected = sum(np.asarray(params[f'{part}_kernel'], np.float64).T @ value +
                   np.asarray(params[f'{part}_bias']) for part, value in (
                     ('trend', trend), ('rest', x - trend)))
    np.testing.assert_allclose(found[n, :, c], expected, rtol=1e-4, atol=1e-4)
  first = model.apply(variables, INPUTS, train=False)  # the mean, as published
  np.testing.assert_allclose(first, np.broadcast_to(
    INPUTS[:, None, :, :TARGETS].mean(2), first.shape), rtol=1e-4, atol=1e-5)


def test_patch_tst_follows_the_level_and_the_scale_of_a_series():
  model = made('patch_tst')
  x = INPUTS + 3
  np.testing.assert_allclose(model(50 * x + 700), 50 * model(x) + 700, rtol=1e-3)


def test_the_norm_of_series_is_taken_back():
  x = 5 + 3 * INPUTS
  norm = ReversibleNorm()
  params = {'scale': jnp.array([0.5, 2, 1]), 'bias': jnp.array([1.0, 0, -1])}
  found, back = norm.apply({'params': params}, x)
  standard = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
  np.testing.assert_allclose(found, standard * params['scale'] + params['bias'],
                             rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(back(found), x, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(back(found[..., None])[..., 0], x, rtol=1e-3, atol=1e-3)


def test_tgcn_is_a_plain_loop():
  x = INPUTS[..., :TARGETS]
  model = Tgcn(HORIZON, TARGETS, GRAPH, width=3)
  params = model.init(KEY, x, train=False)['params']
  found = model.apply({'params': params}, x, train=False)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
  loops = GRAPH + np.eye(2)
  degree = np.diag(loops.sum(1) ** -0.5)
  graph = degree @ loops @ degree

  def sigmoid(z):
    return 1 / (1 + np.exp(-z))

  for n in range(BATCH):
    h = np.zeros((TARGETS, 3))
    for step in range(LENGTH):
      seen = graph @ np.concatenate([x[n, step][:, None], h], 1)
      r, u = np.split(sigmoid(seen @ p['gates_kernel'] + p['gates_bias']), 2, 1)
      seen = graph @ np.concatenate([x[n, step][:, None], r * h], 1)
      h = u * h + (1 - u) * np.tanh(seen @ p['update_kernel'] + p['update_bias'])
    expected = h @ p['head']['kernel'] + p['head']['bias']
    np.testing.assert_allclose(found[n], expected.T, rtol=1e-4, atol=1e-5)


def test_tgcn_without_edges_is_one_recurrent_unit_for_each_variable():
  x = INPUTS[..., :TARGETS]
  alone, none = (Tgcn(HORIZON, TARGETS, graph, width=4) for graph in (
    None, np.zeros((2, 2))))
  variables = alone.init(KEY, x, train=False)
  found = alone.apply(variables, x, train=False)
  np.testing.assert_allclose(found, none.apply(variables, x, train=False), rtol=1e-5)
  swapped = alone.apply(variables, x[..., ::-1], train=False)
  np.testing.assert_allclose(swapped[..., ::-1], found, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(tgcn.normalized(np.zeros((3, 3))), np.eye(3))


@pytest.mark.parametrize(('kernel', 'length'), [(2, 9), (3, 432), (5, 26)])
def test_as_many_convolutions_as_see_a_whole_series(kernel, length):
  def seen(depth):
    return 1 + sum(2 * (kernel - 1) * 2**level for level in range(depth))

  depth = tcn.levels(kernel, length)
  assert seen(depth) >= length > seen(depth - 1)


def test_the_classifier_reads_series():
  model = SeriesClassifier(3, width=5, depth=2, cell=Gru)
  variables = model.init(KEY, INPUTS, train=False)
  logits = model.apply(variables, INPUTS, train=False)
  assert logits.shape == (BATCH, 3)
  gradient = jax.grad(lambda x: model.apply(variables, x, train=False).sum())(INPUTS)
  assert (np.abs(gradient) > 0).all()


@pytest.mark.parametrize(('make', 'message'), [
  (lambda: DLinear(HORIZON, TARGETS, window=4), 'window: must be odd, got 4'),
  (lambda: DLinear(0, TARGETS), 'horizon: must be >= 1'),
  (lambda: PatchTst(HORIZON, TARGETS, width=10, heads=4), 'heads: must divide'),
  (lambda: Tcn(HORIZON, TARGETS, kernel=1), 'kernel: must be >= 2, got 1'),
  (lambda: RecurrentForecaster(HORIZON, TARGETS, dropout=1.0), 'dropout: must be')])
def test_settings_that_cannot_be(make, message):
  with pytest.raises(ValueError, match=message):
    make()


@pytest.mark.parametrize(('model', 'inputs', 'message'), [
  (DLinear(HORIZON, 4), INPUTS, 'DLinear: targets=4, but the inputs have only 3'),
  (DLinear(HORIZON, 2), INPUTS[0], 'DLinear needs floats .batch, length, channels'),
  (PatchTst(HORIZON, 2, patch=21), INPUTS, 'patch: must be at most 20, the length'),
  (Tgcn(HORIZON, 2, None), INPUTS, 'every channel must be a target, got 3 channels')])
def test_inputs_that_do_not_fit(model, inputs, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(partial(model.init, train=False), KEY, inputs)


@WITH_FEATURES
def test_known_features_of_another_length_are_refused(name):
  with pytest.raises(ValueError, match=r'known: must be \[batch, length \+ horizon'):
    made(name, known=KNOWN[:, 1:])
