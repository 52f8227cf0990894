"""Tests of bigmodels.tasks.forecasting against NumPy."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import losses
from bigmodels.core.errors import UserError
from bigmodels.models import DLinear
from bigmodels.tasks import Split, forecasting

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
N, LENGTH, HORIZON, TARGETS = 6, 8, 4, 2
QUANTILES = (0.1, 0.5, 0.9)


class Fixed(nn.Module):
  """A bias for every step, so that a test knows the forecast."""

  shape: tuple[int, ...] = (HORIZON, TARGETS)

  @nn.compact
  def __call__(self, inputs, *, known=None, static=None, train):
    bias = self.param('bias', nn.initializers.normal(), self.shape)
    found = jnp.broadcast_to(bias, (len(inputs), *self.shape))
    if known is not None:
      found = found + known.sum((1, 2))[:, None, None]
    return found if static is None else found + static.sum(1)[:, None, None]


def batch(masked=2, **more):
  """A batch of `data.Series`; the last windows are masked."""
  return {
    'inputs': RNG.normal(size=(N, LENGTH, TARGETS + 1)).astype(np.float32),
    'labels': RNG.normal(size=(N, HORIZON, TARGETS)).astype(np.float32),
    'seasonal': RNG.normal(size=(N, HORIZON, TARGETS)).astype(np.float32),
    'center': RNG.normal(5, 1, (N, TARGETS)).astype(np.float32),
    'scale': RNG.uniform(1, 3, (N, TARGETS)).astype(np.float32),
    'naive_error': RNG.uniform(1, 3, (N, TARGETS)).astype(np.float32),
    'observed': (RNG.random((N, HORIZON, TARGETS)) < 0.8).astype(np.uint8),
    'mask': (np.arange(N) < N - masked).astype(np.float32)} | more


def evaluated(task, data, train=False):
  params, model_state = task.init(KEY, data)
  value, (_, found, outputs) = task.loss(params, model_state, data, KEY, train)
  return params, value, {k: v.compute() for k, v in found.items()}, outputs


@pytest.mark.parametrize('error', [
  jnp.square, jnp.abs, partial(optax.losses.huber_loss, delta=0.5)])
def test_the_loss_is_of_scaled_values_that_are_observed(error):
  data = batch()
  params, value, found, _ = evaluated(forecasting(Fixed(), error), data)
  expected = np.asarray(error(params['bias'] - data['labels']))[:4]
  used = data['observed'][:4] > 0
  assert value == pytest.approx(expected[used].mean(), rel=1e-5)
  assert found['loss'] == pytest.approx(float(value), rel=1e-6)
  _, value, only, outputs = evaluated(forecasting(Fixed(), error), data, train=True)
  assert value == pytest.approx(expected[used].mean(), rel=1e-5)
  assert only.keys() == {'loss'} and outputs == {}


@pytest.mark.parametrize('units', ['scaled', 'original'])
def test_metrics_and_baselines_are_those_of_plain_loops(units):
  data = batch()
  params, _, found, outputs = evaluated(forecasting(Fixed(), units=units), data)
  bias = np.asarray(params['bias'])
  errors = {name: [] for name in ('', '_repeat', '_seasonal')}
  smape, mase = [], []
  for n, h, c in np.ndindex(4, HORIZON, TARGETS):
    truth = data['labels'][n, h, c] * data['scale'][n, c] + data['center'][n, c]
    made = bias[h, c] * data['scale'][n, c] + data['center'][n, c]
    assert outputs['predictions'][n, h, c] == pytest.approx(made, rel=1e-5)
    assert outputs['targets'][n, h, c] == pytest.approx(truth, rel=1e-4, abs=1e-5)
    if not data['observed'][n, h, c]:
      continue
    size = data['scale'][n, c] if units == 'original' else 1.0
    label = data['labels'][n, h, c]
    for name, forecast in (('', bias[h, c]), ('_repeat', data['inputs'][n, -1, c]),
                           ('_seasonal', data['seasonal'][n, h, c])):
      errors[name].append(size * (float(forecast) - float(label)))
    smape.append(200 * abs(made - truth) / (abs(made) + abs(truth)))
    mase.append(abs(made - truth) / data['naive_error'][n, c])
  for name, values in errors.items():
    assert found[f'mse{name}'] == pytest.approx(np.mean(np.square(values)), rel=1e-4)
    assert found[f'mae{name}'] == pytest.approx(np.mean(np.abs(values)), rel=1e-4)
    assert found[f'rmse{name}'] == pytest.approx(
      np.sqrt(np.mean(np.square(values))), rel=1e-4)
    assert outputs[f'squares{name}'][:4].sum() == pytest.approx(
      np.sum(np.square(values)), rel=1e-4)
  assert found['smape'] == pytest.approx(np.mean(smape), rel=1e-4)
  assert found['mase'] == pytest.approx(np.mean(mase), rel=1e-4)


@pytest.mark.parametrize('units', ['scaled', 'original'])
def test_quantiles_have_an_interval_and_a_score(units):
  data = batch()
  model = Fixed((HORIZON, TARGETS, 3))
  params, value, found, outputs = evaluated(
    forecasting(model, quantiles=QUANTILES, units=units), data)
  assert (np.diff(params['bias'], axis=-1) < 0).any()  # some cross, and are sorted
  bias = np.broadcast_to(np.sort(params['bias'], -1), (N, HORIZON, TARGETS, 3))
  used = (data['observed'] > 0) & (data['mask'] > 0)[:, None, None]
  pinball = np.asarray(losses.pinball(bias, data['labels'], QUANTILES))
  assert value == pytest.approx(pinball[used].mean(), rel=1e-5)
  size = np.broadcast_to(data['scale'][:, None], pinball.shape) if (
    units == 'original') else np.ones_like(pinball)
  assert found['crps'] == pytest.approx((2 * pinball * size)[used].mean(), rel=1e-5)
  inside = (data['labels'] >= bias[..., 0]) & (data['labels'] <= bias[..., 2])
  assert found['coverage'] == pytest.approx(inside[used].mean(), rel=1e-5)
  for name, index in (('lower', 0), ('predictions', 1), ('upper', 2)):
    expected = bias[..., index] * data['scale'][:, None] + data['center'][:, None]
    np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('value', [0.0, 1e6, np.nan])
def test_masked_windows_and_missing_labels_change_nothing(value):
  data = batch()
  task = forecasting(DLinear(HORIZON, TARGETS, window=3))
  params, model_state = task.init(KEY, data)
  spoilt = {name: np.where((data['mask'] > 0).reshape(-1, *[1] * (x.ndim - 1)), x,
                           np.asarray(value, x.dtype)) if x.dtype == np.float32 and (
                             name != 'mask') else x for name, x in data.items()}
  spoilt['labels'] = np.where(data['observed'] > 0, spoilt['labels'], np.float32(
    0 if np.isnan(value) else value))
  few = {name: x[:4] for name, x in data.items()}

  @jax.jit
  def both(params, batch):
    value, gradient = jax.value_and_grad(
      lambda p: task.loss(p, model_state, batch, KEY, False)[0])(params)
    return value, gradient, task.loss(params, model_state, batch, KEY, False)[1][1]

  expected, actual = both(params, few), both(params, spoilt)
  jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), (
    actual[0], actual[1]), (expected[0], expected[1]))
  for name in ('mse', 'mae', 'mse_repeat', 'rmse_seasonal'):
    np.testing.assert_allclose(actual[2][name], expected[2][name], rtol=1e-5)


def test_arrays_without_scale_are_in_their_own_units():
  data = batch()
  few = {name: data[name] for name in ('inputs', 'labels', 'mask')}
  params, _, found, outputs = evaluated(forecasting(Fixed(), units='original'), few)
  np.testing.assert_array_equal(outputs['predictions'][0], params['bias'])
  assert found['mse'] == pytest.approx(np.square(
    np.asarray(params['bias']) - data['labels'][:4]).mean(), rel=1e-5)
  assert 'mase' not in found and 'mse_seasonal' not in found


def test_the_model_is_called_with_what_is_known_and_static():
  data = batch(known=np.ones((N, LENGTH + HORIZON, 2), np.float32),
               static=np.full((N, 3), 2, np.float32))
  params, _, _, outputs = evaluated(forecasting(Fixed()), data)
  expected = np.asarray(params['bias']) + 2 * (LENGTH + HORIZON) + 6
  scaled = (outputs['predictions'] - data['center'][:, None]) / data['scale'][:, None]
  np.testing.assert_allclose(scaled[0], expected, rtol=1e-5)
  with pytest.raises(ValueError, match='DLinear is called with inputs, known, static'):
    forecasting(DLinear(HORIZON, TARGETS)).init(KEY, data)


@pytest.mark.parametrize(('settings', 'message'), [
  ({'quantiles': (0.9, 0.5)}, 'quantiles: must be increasing'),
  ({'quantiles': (0.1, 0.9)}, 'with 0.5'), ({'quantiles': (0.0, 0.5)}, 'between 0'),
  ({'units': 'scale'}, "units: must be 'scaled' or 'original', got 'scale'")])
def test_settings_that_cannot_be(settings, message):
  with pytest.raises(ValueError, match=message):
    forecasting(Fixed(), **settings)


@pytest.mark.parametrize('shape', [(HORIZON + 1, TARGETS), (HORIZON, 1),
                                   (HORIZON, TARGETS, 3)])
def test_forecasts_of_another_shape_are_refused(shape):
  with pytest.raises(ValueError, match=r'forecasting: the model gives .*, must be '
                     r'\(6, 4, 2\)'):
    evaluated(forecasting(Fixed(shape)), batch())


def test_classes_are_refused():
  task = forecasting(Fixed())
  with pytest.raises(UserError, match='train: labels are classes; forecasting needs'):
    task.check(Split('train', 3, ('a', 'b'), True, None, {}, None, print))
