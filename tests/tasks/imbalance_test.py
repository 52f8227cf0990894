"""Class weights, weights of examples and thresholds, against scikit-learn."""

import jax
import numpy as np
import pytest
from sklearn import metrics as scikit
from sklearn.utils.class_weight import compute_class_weight

from bigmodels import losses
from bigmodels.core.errors import UserError
from bigmodels.learners.gradient import mean_gradient
from bigmodels.models import Linear
from bigmodels.tasks import Split, classification, imbalance, regression

KEY = jax.random.PRNGKey(0)
RNG = np.random.default_rng(0)
COUNTS = {'cat': 60, 'dog': 30, 'eel': 10}


def counts():
  return COUNTS


def batch(n=8, **columns):
  return {'inputs': RNG.normal(size=(n, 5)).astype(np.float32),
          'labels': np.arange(n, dtype=np.int32) % 3,
          'mask': (np.arange(n) < n - 2).astype(np.float32), **columns}


def losses_of(task, data, params):
  logits = data['inputs'] @ np.asarray(params['Dense_0']['kernel']) + np.asarray(
    params['Dense_0']['bias'])
  return np.asarray(losses.cross_entropy(logits, data['labels']))


def test_balanced_weights_equal_scikit_learn():
  labels = np.repeat(range(3), [*COUNTS.values()])
  np.testing.assert_allclose(imbalance.class_weights('balanced', counts),
                             compute_class_weight('balanced', classes=np.arange(3),
                                                  y=labels), rtol=1e-6)


def test_a_class_without_examples_does_not_count_among_the_classes():
  found = imbalance.class_weights('balanced', lambda: {'a': 6, 'b': 0, 'c': 2})
  np.testing.assert_allclose(found, [8 / (2 * 6), 0, 8 / (2 * 2)], rtol=1e-6)


def test_classes_left_out_of_a_map_have_weight_1():
  np.testing.assert_array_equal(
    imbalance.class_weights({'eel': 5}, counts), [1, 1, 5])
  np.testing.assert_array_equal(
    imbalance.class_weights({1: 0.5}, lambda: {'0': 3, '1': 3}), [1, 0.5])


@pytest.mark.parametrize('setting, message', [
  ({'dogs': 2}, "class_weights: no class 'dogs'; did you mean .?dog"),
  ({'eel': -1}, "class_weights: the weight of 'eel' must be finite and >= 0, got -1"),
  ({'eel': float('inf')}, "class_weights: the weight of 'eel' must be finite"),
  ({'cat': 0, 'dog': 0, 'eel': 0}, 'class_weights: no class with training examples'),
  ('balance', "class_weights: must be 'balanced' or a map of class names"),
])
def test_wrong_class_weights_are_refused(setting, message):
  with pytest.raises(UserError, match=f'^{message}'):
    imbalance.class_weights(setting, counts)


def test_class_weights_without_a_run_need_counts():
  with pytest.raises(UserError, match=r'^class_weights: need class_counts'):
    classification(Linear(3), class_weights='balanced')


@pytest.mark.parametrize('train', [True, False])
def test_the_loss_is_a_weighted_mean_and_accuracy_is_not_weighted_by_class(train):
  weights = RNG.uniform(0.1, 2, 8).astype(np.float32)
  task = classification(Linear(3), class_weights={'dog': 4, 'eel': 0.25},
                        class_counts=counts)
  data = batch(weights=weights)
  params, state = task.init(KEY, data)
  value, (_, sums, outputs) = task.loss(params, state, data, KEY, train)
  each, some = losses_of(task, data, params)[:6], weights[:6]
  both = some * np.array([1, 4, 0.25])[data['labels'][:6]]
  assert value == pytest.approx(np.sum(both * each) / np.sum(both), rel=1e-5)
  assert sums['loss'].count == pytest.approx(both.sum(), rel=1e-6)
  right = np.asarray(outputs['predictions'][:6] == data['labels'][:6])
  assert sums['accuracy'] == pytest.approx((np.sum(some * right), some.sum()))
  np.testing.assert_array_equal(outputs['weights'], np.append(some, [0, 0]))


def test_fractions_of_classes_have_the_mean_of_their_weights():
  task = classification(Linear(3), class_weights={'dog': 4}, class_counts=counts)
  data = batch()
  params, state = task.init(KEY, data)
  rows = np.eye(3, dtype=np.float32)[data['labels']]
  whole = task.loss(params, state, data, KEY, True)
  fractions = task.loss(params, state, {**data, 'labels': rows}, KEY, True)
  assert fractions[0] == pytest.approx(float(whole[0]), rel=1e-6)
  half = np.full((8, 3), [0.5, 0.5, 0], np.float32)
  _, (_, sums, _) = task.loss(params, state, {**data, 'labels': half}, KEY, True)
  assert sums['loss'].count == pytest.approx(6 * 2.5)


@pytest.mark.parametrize('scale', [1.0, 1e-6, 1e-12])
@pytest.mark.parametrize('make', ['classification', 'regression'])
def test_four_microbatches_are_one_batch_for_weights_of_any_scale(make, scale):
  weights = (scale * RNG.uniform(0, 3, 8)).astype(np.float32)
  weights[:2] = 0  # a microbatch without weight
  data = batch(weights=weights)
  if make == 'classification':
    task = classification(Linear(3), class_weights='balanced', class_counts=counts)
  else:
    task = regression(Linear(1), target_mean=[0.0], target_std=[1.0])
    data['labels'] = data['inputs'][:, 0] * 2
  params, state = task.init(KEY, data)

  def gradient(microbatches):
    def loss(params, model_state, batch, key):
      return task.loss(params, model_state, batch, key, True)

    cut = data if microbatches == 1 else {
      name: x.reshape(microbatches, -1, *x.shape[1:]) for name, x in data.items()}
    return jax.jit(mean_gradient(loss, microbatches=microbatches))(
      params, state, cut, KEY)

  (whole, _, sums), grads = gradient(1)
  (value, _, added), parts = gradient(4)
  assert value == pytest.approx(float(whole), rel=1e-5) and value > 0
  np.testing.assert_allclose(added['loss'], sums['loss'], rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               parts, grads)


def test_weights_of_another_shape_are_refused():
  task, data = classification(Linear(3)), batch(weights=np.ones((8, 2), np.float32))
  params, state = task.init(KEY, data)
  with pytest.raises(ValueError, match=r"'weights' must be a number for each example"):
    task.loss(params, state, data, KEY, True)


def test_a_model_of_weights_is_not_weighted_by_them():
  task = classification(Linear(3), inputs=('weights',))
  data = batch(weights=RNG.normal(size=(8, 2)).astype(np.float32))
  _, (_, sums, outputs) = task.loss(*task.init(KEY, data), data, KEY, True)
  assert sums['loss'].count == 6 and 'weights' not in outputs


# --- the threshold --------------------------------------------------------------

SCORES = {'f1': scikit.f1_score, 'balanced_accuracy': scikit.balanced_accuracy_score,
          'matthews': scikit.matthews_corrcoef}


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.UndefinedMetricWarning')
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('by', SCORES)
@pytest.mark.parametrize('seed', range(4))
def test_the_threshold_is_the_best_of_all(by, weighted, seed):
  rng = np.random.default_rng(seed)
  labels = (rng.uniform(size=60) < 0.2).astype(int)
  positive = np.round(np.clip(rng.normal(0.3 + 0.2 * labels, 0.2), 0, 1), 1 + seed % 2)
  outputs = {'labels': labels, 'probabilities': np.stack(
    [1 - positive, positive], 1).astype(np.float32)}
  weights = rng.uniform(0.5, 2, 60) if weighted else None
  if weighted:
    outputs['weights'] = weights
  threshold, value = imbalance.best_threshold(outputs, by=by)

  def score(cut):
    return SCORES[by](labels, outputs['probabilities'][:, 1] >= cut,
                      sample_weight=weights)

  assert value == pytest.approx(score(threshold))
  assert value == pytest.approx(max(
    map(score, np.unique(positive).astype(np.float32))))


def test_balanced_accuracy_is_youdens_j():
  rng = np.random.default_rng(0)
  labels = np.arange(200) % 4 // 3
  positive = rng.uniform(size=200) * 0.6 + 0.4 * labels * rng.uniform(size=200)
  outputs = {'labels': labels,
             'probabilities': np.stack([1 - positive, positive], 1)}
  _, value = imbalance.best_threshold(outputs, by='balanced_accuracy')
  false, true, _ = scikit.roc_curve(labels, positive)
  assert 2 * value - 1 == pytest.approx(np.max(true - false))


def test_the_threshold_of_sensitivity_keeps_a_specificity():
  rng = np.random.default_rng(0)
  labels = np.arange(90) % 3 // 2
  positive = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
  outputs = {'labels': labels, 'probabilities': np.stack([1 - positive, positive], 1)}
  decision = imbalance.threshold('sensitivity', 0.9)
  threshold, value = decision.choose(outputs)
  found = decision.decide(outputs, threshold)
  assert scikit.recall_score(labels, found) == pytest.approx(value)
  cuts = [positive >= cut for cut in positive]
  assert value == max(scikit.recall_score(labels, cut) for cut in cuts
                      if scikit.recall_score(labels, cut, pos_label=0) >= 0.9)


def test_a_split_of_one_class_has_no_best_threshold():
  outputs = {'labels': np.zeros(3, int), 'probabilities': np.full((3, 2), 0.5)}
  assert imbalance.best_threshold(outputs, by='f1') is None


def test_neighbouring_float32_are_told_apart():
  low = np.float32(0.25)
  high = np.nextafter(low, np.float32(1))
  outputs = {'labels': np.array([0, 1]), 'probabilities': np.array(
    [[1 - low, low], [1 - high, high]], np.float32)}
  decision = imbalance.threshold('f1')
  threshold, value = decision.choose(outputs)
  assert value == 1
  assert decision.decide(outputs, threshold).tolist() == [0, 1]


@pytest.mark.parametrize('setting, message', [
  ('youden', "threshold: cannot be chosen by 'youden'; must be one of f1, balanced"),
  (0.0, 'threshold: must be between 0 and 1, got 0.0'),
  (1.5, 'threshold: must be between 0 and 1, got 1.5'),
])
def test_wrong_thresholds_are_refused(setting, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    classification(Linear(2), threshold=setting)


def test_a_threshold_is_for_two_classes():
  task, data = classification(Linear(3), threshold='f1'), batch()
  params, state = task.init(KEY, data)
  with pytest.raises(ValueError, match='threshold: is for two classes, must be None '
                     "for 3, got 'f1'"):
    task.loss(params, state, data, KEY, True)


# --- weights of examples, checked before training -------------------------------


def split(weights, lines):
  return Split('train', len(weights), None, False, None, {}, None, lines.append,
               np.asarray(weights, np.float32))


@pytest.mark.parametrize('weights, message', [
  ([1, -0.5], r'train: weights\[1\] is -0.5: weights of examples must be >= 0'),
  ([0, 0], 'train: all 2 weights of examples are 0'),
])
@pytest.mark.parametrize('make', [classification(Linear(2)), regression(
  Linear(1), target_mean=[0.0], target_std=[1.0])], ids=['classes', 'numbers'])
def test_weights_that_cannot_be_used_are_refused(make, weights, message):
  with pytest.raises(UserError, match=f'^{message}'):
    make.check(split(weights, []))


def test_weights_are_said():
  lines = []
  classification(Linear(2)).check(split([0.5, 3], lines))
  assert lines == ['train: examples are weighted by the column weights, from 0.5 to 3']
