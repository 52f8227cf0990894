"""Tests of bigmodels.tasks.classification against NumPy and scikit-learn."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from bigmodels import losses
from bigmodels.data import test_time
from bigmodels.models import Linear, Mlp
from bigmodels.tasks import classification
from bigmodels.tasks.classification import replaced

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def batch(n=6, classes=3, masked=2):
  """The last examples are masked."""
  return {'inputs': RNG.normal(size=(n, 5)).astype(np.float32),
          'labels': np.arange(n, dtype=np.int32) % classes,
          'mask': (np.arange(n) < n - masked).astype(np.float32)}


def spoil(data, value):
  """Other inputs, or other labels, where the mask is 0."""
  inputs = data['inputs'].copy()
  inputs[data['mask'] == 0] = value
  labels = np.where(data['mask'] > 0, data['labels'], data['labels'] + 1) % 3
  return {**data, 'inputs': inputs, 'labels': labels.astype(np.int32)}


def logits(params, data):
  layer = params['Dense_0']
  bias = np.asarray(layer.get('bias', 0.0))
  return data['inputs'] @ np.asarray(layer['kernel']) + bias


def test_loss_sums_and_outputs_equal_scikit_learn():
  task, data = classification(Linear(3)), batch()
  params, model_state = task.init(KEY, data)
  assert model_state == {}
  value, (_, sums, outputs) = task.loss(params, model_state, data, KEY, True)
  scores = logits(params, data)
  p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
  expected = log_loss(data['labels'][:4], p[:4], labels=range(3))
  assert value == pytest.approx(expected, rel=1e-5)
  assert sums['loss'] == pytest.approx((4 * expected, 4), rel=1e-5)
  right = np.sum(p[:4].argmax(-1) == data['labels'][:4])
  assert sums['accuracy'] == (right, 4)
  counted = {name: values[:4] for name, values in outputs.items()}
  np.testing.assert_allclose(counted['probabilities'], p[:4], rtol=1e-5)
  np.testing.assert_array_equal(counted['predictions'], p[:4].argmax(-1))
  np.testing.assert_array_equal(counted['labels'], data['labels'][:4])


def test_a_positive_logit_means_class_1():
  task, data = classification(Linear(1)), batch(classes=2, masked=0)
  params, model_state = task.init(KEY, data)
  value, (_, sums, outputs) = task.loss(params, model_state, data, KEY, False)
  score = logits(params, data)[:, 0]
  assert 0 < np.sum(score > 0) < 6
  np.testing.assert_array_equal(outputs['predictions'], score > 0)
  assert outputs['probabilities'].shape == (6, 2)
  p = 1 / (1 + np.exp(-score))
  assert value == pytest.approx(log_loss(data['labels'], p), rel=1e-5)
  assert sums['accuracy'][0] == np.sum((score > 0) == data['labels'])


def test_another_loss_is_used():
  task, data = classification(Linear(3), losses.hinge), batch(masked=0)
  params, model_state = task.init(KEY, data)
  value, _ = task.loss(params, model_state, data, KEY, False)
  expected = [max(0, 1 + np.delete(s, y).max() - s[y])
              for s, y in zip(logits(params, data), data['labels'], strict=True)]
  assert value == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize('value', [0.0, 1e6, np.nan, np.inf])
def test_masked_examples_change_neither_loss_nor_sums(value):
  task, data = classification(Mlp(3, (4,))), batch()
  params, model_state = task.init(KEY, data)
  few = {name: column[:4] for name, column in data.items()}
  expected, (_, sums, _) = task.loss(params, model_state, few, KEY, False)
  actual, (_, spoilt, _) = task.loss(params, model_state, spoil(data, value), KEY,
                                     False)
  assert actual == pytest.approx(float(expected), rel=1e-6)
  for name in sums:
    np.testing.assert_allclose(spoilt[name], sums[name], rtol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1e6, np.nan])
def test_masked_examples_change_no_gradient(value):
  task, data = classification(Mlp(3, (4,))), batch()
  params, model_state = jax.jit(task.init)(KEY, data)
  gradient = jax.jit(jax.grad(
    lambda p, data: task.loss(p, model_state, data, KEY, False)[0]))
  expected = gradient(params, {name: column[:4] for name, column in data.items()})
  actual = gradient(params, spoil(data, value))
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6),
               actual, expected)


def test_a_batch_that_is_all_masked_has_no_loss():
  task, data = classification(Linear(3)), batch(masked=6)
  value, (_, sums, _) = task.loss(*task.init(KEY, data), data, KEY, False)
  assert value == 0
  assert sums == {'loss': (0, 0), 'accuracy': (0, 0)}


def test_batch_statistics_are_extra_and_move_in_training_only():
  task, data = classification(Mlp(3, (4,), batch_norm=True)), batch(masked=0)
  params, model_state = task.init(KEY, data)
  assert set(model_state) == {'batch_stats'} and 'batch_stats' not in params
  hidden = logits(params, data)
  for train in (True, False):
    _, (after, _, _) = task.loss(params, model_state, data, KEY, train)
    moved = 0.01 * hidden.mean(0) if train else np.zeros(4)
    np.testing.assert_allclose(
      after['batch_stats']['BatchNorm_0']['mean'], moved, atol=1e-6)


def test_collections_that_did_not_change_are_kept():
  class Model(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train):
      constant = self.variable('constants', 'c', jnp.ones, (1,))
      seen = self.variable('counts', 'n', jnp.zeros, (1,))
      if train:
        seen.value += 1
      return nn.Dense(3)(inputs) * constant.value

  task, data = classification(Model()), batch()
  params, model_state = task.init(KEY, data)
  _, (after, _, _) = task.loss(params, model_state, data, KEY, True)
  assert after == {'constants': {'c': 1}, 'counts': {'n': 1}}


def test_dropout_follows_the_key_in_training_only():
  task, data = classification(Mlp(3, (64,), dropout=0.5)), batch()
  params, model_state = task.init(KEY, data)

  def value(seed, train):
    return float(task.loss(params, model_state, data, jax.random.key(seed), train)[0])

  assert value(0, True) == value(0, True) != value(1, True)
  assert value(0, False) == value(1, False) != value(0, True)


def test_logits_are_scored_in_float32():
  class Half(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train):
      return nn.Dense(3, dtype=jnp.bfloat16)(inputs)

  task, data = classification(Half()), batch()
  value, (_, _, outputs) = task.loss(*task.init(KEY, data), data, KEY, False)
  assert value.dtype == outputs['probabilities'].dtype == jnp.float32
  np.testing.assert_allclose(outputs['probabilities'].sum(-1), 1, rtol=1e-6)


def test_answers_of_another_rank_are_refused():
  class Flat(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train):
      return nn.Dense(1)(inputs)[:, 0]

  task, data = classification(Flat()), batch()
  with pytest.raises(ValueError, match=r'needs logits \[batch, classes\].*\(6,\)'):
    task.loss(*task.init(KEY, data), data, KEY, False)


def test_labels_of_another_rank_are_refused():
  task, data = classification(Linear(3)), batch()
  data['labels'] = data['labels'][:, None]
  with pytest.raises((ValueError, TypeError)):
    task.loss(*task.init(KEY, data), data, KEY, False)


# --- shares of classes, smoothing -----------------------------------------------


def shares_of(data):
  """A third of every label is that of the next class."""
  rows = np.eye(3)[data['labels']] * 2 / 3 + np.eye(3)[(data['labels'] + 1) % 3] / 3
  return {**data, 'labels': rows.astype(np.float32)}


@pytest.mark.parametrize('model', [Linear(3), Linear(1)], ids=['many', 'two'])
def test_shares_of_classes_are_the_mean_of_both_losses(model):
  task, data = classification(model), batch(classes=2)
  params, model_state = task.init(KEY, data)
  other = {**data, 'labels': 1 - data['labels']}
  rows = np.eye(3 if model.num_outputs == 3 else 2, dtype=np.float32)
  mixed = {**data, 'labels': 0.7 * rows[data['labels']] + 0.3 * rows[other['labels']]}

  def scored(data):
    value, (_, sums, outputs) = task.loss(params, model_state, data, KEY, True)
    return value, sums['accuracy'], outputs['labels']

  value, right, labels = scored(mixed)
  assert value == pytest.approx(
    0.7 * float(scored(data)[0]) + 0.3 * float(scored(other)[0]), rel=1e-5)
  assert right == scored(data)[1]  # the larger share counts
  np.testing.assert_array_equal(labels[:4], data['labels'][:4])


def test_masked_shares_change_nothing():
  task, data = classification(Linear(3)), shares_of(batch())
  params, model_state = task.init(KEY, data)
  spoilt = np.where(data['mask'][:, None] > 0, data['labels'], np.nan)
  expected, _ = task.loss(params, model_state, data, KEY, True)
  actual, _ = task.loss(params, model_state, {**data, 'labels': spoilt}, KEY, True)
  assert actual == expected and np.isfinite(actual)


def test_smoothing_is_of_training_only():
  plain, data = classification(Linear(3)), batch()
  task = classification(Linear(3), smoothing=0.3)
  params, model_state = task.init(KEY, data)
  rows = np.where(np.arange(3) == data['labels'][:, None], 0.8, 0.1)
  smooth = {**data, 'labels': rows.astype(np.float32)}

  def value(task, data, train):
    return float(task.loss(params, model_state, data, KEY, train)[0])

  assert value(task, data, True) == pytest.approx(value(plain, smooth, True), rel=1e-5)
  assert value(task, data, False) == value(plain, data, False)
  assert value(task, data, True) != value(plain, data, True)


def test_the_temperature_is_of_evaluations_only():
  plain, task = classification(Linear(3)), classification(Linear(3), temperature=2.0)
  data = batch()
  params, state = plain.init(KEY, data)
  value, (_, sums, outputs) = task.loss(params, state, data, KEY, False)
  scores = np.exp(logits(params, data) / 2)
  expected = scores / scores.sum(-1, keepdims=True)
  np.testing.assert_allclose(outputs['probabilities'][:4], expected[:4], rtol=1e-5)
  loss = log_loss(data['labels'][:4], expected[:4], labels=range(3))
  assert value == pytest.approx(loss, rel=1e-5)
  assert sums['loss'].compute() == pytest.approx(loss, rel=1e-5)
  assert task.loss(params, state, data, KEY, True)[0] == (
    plain.loss(params, state, data, KEY, True)[0])


@pytest.mark.parametrize('given, message', [
  ({'smoothing': 1.0}, 'smoothing: must be >= 0 and < 1, got 1.0'),
  ({'smoothing': 0.1, 'loss': losses.hinge}, 'smoothing: must be 0 with a loss'),
  ({'temperature': 0.0}, "temperature: must be > 0 and finite, or 'fit', got 0.0"),
  ({'temperature': float('nan')},
   "temperature: must be > 0 and finite, or 'fit', got nan"),
])
def test_wrong_settings_are_refused(given, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    classification(Linear(3), **given)


def test_shares_of_other_classes_are_refused():
  task, data = classification(Linear(4)), shares_of(batch())
  with pytest.raises(ValueError, match=r'\(6, 4\), got labels \(6, 3\)'):
    task.loss(*task.init(KEY, data), data, KEY, True)


# --- test-time augmentation -----------------------------------------------------


def views(inputs, weights=(1, 1, 1)):
  return tuple(zip(weights, (inputs, inputs[:, ::-1], 2 * inputs), strict=True))


@pytest.mark.parametrize('weights', [(1, 1, 1), (2.0, 1.0, 1.0)])
def test_an_evaluation_answers_with_the_mean_of_its_augmentations(weights):
  model, data = Linear(3), batch()
  task = classification(model, test_time=partial(views, weights=weights))
  params, model_state = task.init(KEY, data)
  each = [logits(params, {**data, 'inputs': view}) for _, view in views(data['inputs'])]
  mean = np.average(each, axis=0, weights=weights)
  p = np.exp(mean) / np.exp(mean).sum(-1, keepdims=True)
  value, (_, sums, outputs) = task.loss(params, model_state, data, KEY, False)
  np.testing.assert_allclose(outputs['probabilities'][:4], p[:4], rtol=1e-5)
  expected = log_loss(data['labels'][:4], p[:4], labels=range(3))
  assert value == pytest.approx(expected, rel=1e-5)
  assert sums['accuracy'] == (np.sum(p[:4].argmax(-1) == data['labels'][:4]), 4)
  plain = classification(model).loss(params, model_state, data, KEY, True)[0]
  assert task.loss(params, model_state, data, KEY, True)[0] == plain  # not in training


def test_augmentations_leave_batch_statistics_as_they_are():
  task = classification(Mlp(3, (4,), batch_norm=True), test_time=views)
  data = batch(masked=0)
  params, model_state = task.init(KEY, data)
  _, (after, _, _) = task.loss(params, model_state, data, KEY, False)
  jax.tree.map(np.testing.assert_array_equal, after, model_state)


@pytest.mark.parametrize('confident', [0.0, 0.4, 0.5, 0.9, 0.999999])
def test_confident_examples_have_one_view(confident):
  """Of 37 examples, which no eighth divides, and with the last ones masked."""
  rng = np.random.default_rng(0)
  mask = np.r_[np.ones(30), np.zeros(7)].astype(np.float32)
  data = {'inputs': rng.normal(size=(37, 5)).astype(np.float32),
          'labels': rng.integers(0, 3, 37), 'mask': mask}
  task = classification(Linear(3), test_time=views, confident=confident)
  params, model_state = task.init(KEY, data)

  def softmax(x):
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)

  each = [logits(params, {**data, 'inputs': view}) for _, view in views(data['inputs'])]
  first, every = softmax(each[0]), softmax(np.mean(each, axis=0))
  unsure = first.max(-1) <= confident
  assert confident in (0, 0.999999) or 0 < unsure[:30].sum() < 30
  _, (_, _, outputs) = jax.jit(task.loss, static_argnums=4)(
    params, model_state, data, KEY, False)
  np.testing.assert_allclose(
    outputs['probabilities'][:30], np.where(unsure[:, None], every, first)[:30],
    rtol=1e-5)


def test_a_confidence_of_one_is_that_of_all_views():
  """In the loop, which `confident=1` does not take."""
  values, data = jnp.zeros((11, 2)), {'x': jnp.arange(11.0), 'y': jnp.ones((11, 3))}
  found = replaced(values, jnp.ones(11, bool), lambda part: jnp.stack(
    [part['x'], part['y'].sum(-1)], -1), data)
  np.testing.assert_array_equal(found, np.stack([np.arange(11.0), np.full(11, 3)], -1))


@pytest.mark.parametrize('given, message', [
  ({'confident': 1.5, 'test_time': views}, 'confident: must be 0 to 1, got 1.5'),
  ({'confident': 0.5}, 'confident: must be 1 without test_time, got 0.5')])
def test_confidences_that_are_refused(given, message):
  with pytest.raises(ValueError, match=message):
    classification(Linear(3), **given)


@pytest.mark.parametrize('each', [
  test_time.mirrored, test_time.mirrored_and_moved, test_time.ten_crop])
def test_views_of_images_are_refused_for_tables(each):
  task = classification(Linear(3), test_time=each)
  data = batch()
  with pytest.raises(ValueError, match=rf'{each.__name__} needs images \[batch, '
                     r'height, width, channels\], the inputs are float32 \('):
    task.loss(*task.init(KEY, data), data, KEY, False)
