"""Tests of bigmodels.tasks.regression against NumPy."""

import jax
import numpy as np
import pytest

from bigmodels import losses
from bigmodels.models import Linear, Mlp
from bigmodels.tasks import regression

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
MEAN, STD = np.array([100.0, -7.0]), np.array([20.0, 0.5])


def batch(n=6, masked=2):
  """The last examples are masked."""
  return {'inputs': RNG.normal(size=(n, 5)).astype(np.float32),
          'labels': (MEAN + STD * RNG.normal(size=(n, 2))).astype(np.float32),
          'mask': (np.arange(n) < n - masked).astype(np.float32)}


def answers(params, data):
  layer = params['Dense_0']
  bias = np.asarray(layer.get('bias', 0.0))
  return data['inputs'] @ np.asarray(layer['kernel']) + bias


@pytest.mark.parametrize('loss, measure', [
  (losses.squared_error, np.square), (losses.absolute_error, np.abs)])
def test_loss_is_in_deviations_and_outputs_in_units_of_the_targets(loss, measure):
  task = regression(Linear(2), loss, target_mean=MEAN, target_std=STD)
  data = batch()
  params, model_state = task.init(KEY, data)
  value, (_, sums, outputs) = task.loss(params, model_state, data, KEY, True)
  predictions = MEAN + STD * answers(params, data)
  errors = measure((predictions - data['labels']) / STD)[:4]
  assert value == pytest.approx(errors.mean(), rel=1e-4)
  assert sums['loss'] == pytest.approx((errors.mean(-1).sum(), 4), rel=1e-4)
  np.testing.assert_allclose(outputs['predictions'][:4], predictions[:4], rtol=1e-5)
  np.testing.assert_array_equal(outputs['targets'][:4], data['labels'][:4])


def test_targets_may_be_one_number_or_integers():
  task = regression(Linear(1), target_mean=[3.0], target_std=[2.0])
  data = batch(masked=0) | {'labels': np.arange(6)}
  params, model_state = task.init(KEY, data)
  value, (_, _, outputs) = task.loss(params, model_state, data, KEY, False)
  expected = (answers(params, data)[:, 0] - (np.arange(6) - 3) / 2) ** 2
  assert value == pytest.approx(expected.mean(), rel=1e-5)
  assert outputs['targets'].shape == outputs['predictions'].shape == (6, 1)


def spoil(data, value):
  hidden = data['mask'] == 0
  return {'inputs': np.where(hidden[:, None], np.float32(value), data['inputs']),
          'labels': np.where(hidden[:, None], np.float32(value), data['labels']),
          'mask': data['mask']}


@pytest.mark.parametrize('value', [0.0, 1e6, np.nan])
def test_masked_examples_change_neither_loss_nor_sums(value):
  task = regression(Mlp(2, (4,)), target_mean=MEAN, target_std=STD)
  data = batch()
  params, model_state = task.init(KEY, data)
  few = {name: column[:4] for name, column in data.items()}
  expected, (_, sums, _) = task.loss(params, model_state, few, KEY, False)
  actual, (_, spoilt, _) = task.loss(params, model_state, spoil(data, value), KEY,
                                     False)
  assert actual == pytest.approx(float(expected), rel=1e-6)
  np.testing.assert_allclose(spoilt['loss'], sums['loss'], rtol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1e6, np.nan])
def test_masked_examples_change_no_gradient(value):
  task = regression(Mlp(2, (4,)), target_mean=MEAN, target_std=STD)
  data = batch()
  params, model_state = task.init(KEY, data)
  gradient = jax.grad(lambda p, data: task.loss(p, model_state, data, KEY, False)[0])
  expected = gradient(params, {name: column[:4] for name, column in data.items()})
  actual = gradient(params, spoil(data, value))
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6),
               actual, expected)


def test_a_batch_that_is_all_masked_has_no_loss():
  task = regression(Linear(2), target_mean=MEAN, target_std=STD)
  data = batch(masked=6)
  value, (_, sums, _) = task.loss(*task.init(KEY, data), data, KEY, False)
  assert value == 0 and sums == {'loss': (0, 0)}


def test_batch_statistics_are_extra_and_move_in_training_only():
  task = regression(Mlp(2, (4,), batch_norm=True), target_mean=MEAN, target_std=STD)
  data = batch(masked=0)
  params, model_state = task.init(KEY, data)
  hidden = answers(params, data)
  for train in (True, False):
    _, (after, _, _) = task.loss(params, model_state, data, KEY, train)
    moved = 0.01 * hidden.mean(0) if train else np.zeros(4)
    np.testing.assert_allclose(
      after['batch_stats']['BatchNorm_0']['mean'], moved, atol=1e-6)


@pytest.mark.parametrize('outputs', [1, 3])
def test_answers_of_another_width_are_refused(outputs):
  task = regression(Linear(outputs), target_mean=MEAN, target_std=STD)
  data = batch()
  with pytest.raises(ValueError, match=rf'gives \(6, {outputs}\), the targets are'):
    task.loss(*task.init(KEY, data), data, KEY, False)
