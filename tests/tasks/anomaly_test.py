"""Tests of tasks.anomaly: the loss, labels, contributions, the threshold, checks."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import models, tasks
from bigmodels.core.errors import UserError
from bigmodels.learners import supervised
from bigmodels.tasks.anomaly import highest

KEY = jax.random.PRNGKey(0)
SMALL = {'autoencoder': models.Autoencoder(widths=(8, 2)),
         'deep_svdd': models.DeepSvdd(widths=(8, 4))}
EACH = pytest.mark.parametrize('model', SMALL.values(), ids=SMALL)


class Quadratic(nn.Module):
  """The score 1 x0^2 + 2 x1^2 + 3 x2^2 + ..., and a parameter that scales it."""

  @nn.compact
  def __call__(self, inputs, *, train):
    scale = self.param('scale', nn.initializers.ones, ())
    return scale * (inputs**2 @ jnp.arange(1.0, inputs.shape[-1] + 1))


def batch(n=16, width=5, seed=0, **more):
  rng = np.random.default_rng(seed)
  return {'inputs': jnp.asarray(rng.normal(size=(n, width)), jnp.float32),
          'mask': jnp.ones(n), 'labels': jnp.asarray(rng.integers(0, 2, n)), **more}


def evaluated(task, given):
  params, state = task.init(KEY, given)
  value, (_, found, outputs) = task.loss(params, state, given, KEY, False)
  return value, found, outputs


def test_the_loss_is_the_mean_score_of_unmasked_and_weighted_examples():
  given = batch(8, 3, mask=jnp.array([1, 1, 1, 0, 1, 1, 0, 1.0]),
                weights=jnp.array([1, 2, 0, 9, 1, 1, 9, 3.0]))
  given['inputs'] = given['inputs'].at[3].set(jnp.nan)
  value, found, outputs = evaluated(tasks.anomaly(Quadratic()), given)
  scores, weights = [], []
  for row, weight, mask in zip(*(np.asarray(given[n]) for n in (
    'inputs', 'weights', 'mask')), strict=True):
    if mask:
      scores.append(sum((i + 1) * x * x for i, x in enumerate(row)))
      weights.append(weight)
  expected = np.dot(scores, weights) / np.sum(weights)
  assert value == pytest.approx(expected, rel=1e-6)
  assert found['loss'].compute() == pytest.approx(expected, rel=1e-6)
  kept = np.asarray(given['mask']) > 0
  np.testing.assert_allclose(np.asarray(outputs['scores'])[kept], scores, rtol=1e-5)


@EACH
@pytest.mark.parametrize('labels', [None, 1])
def test_labels_never_reach_training(model, labels):
  learner = supervised(tasks.anomaly(model), optax.adam(1e-2))
  step, ends = jax.jit(learner.step), []
  for change in (False, True):
    given = batch(seed=1)
    if change and labels is None:
      del given['labels']
    elif change:
      given['labels'] = jnp.full_like(given['labels'], labels)
    state = learner.init(KEY, given)
    for _ in range(3):
      state, found = step(state, given)
    ends.append((state.params, state.model_state, found))
  jax.tree.map(np.testing.assert_array_equal, *ends)


@pytest.mark.parametrize('model', [
  models.Autoencoder(widths=(64, 4)), models.DeepSvdd(widths=(8, 4))],
  ids=lambda model: type(model).__name__)
def test_one_batch_is_learned_by_heart(model):
  given = batch(4)
  learner = supervised(tasks.anomaly(model), optax.adam(1e-2))
  _, found = jax.jit(lambda state: jax.lax.scan(
    lambda state, _: learner.step(state, given), state, length=1500))(
      learner.init(KEY, given))
  total, count = found['loss']
  assert total[-1] / count[-1] < 1e-3 * total[0] / count[0]


def test_the_centre_is_not_trained():
  given = batch()
  learner = supervised(tasks.anomaly(SMALL['deep_svdd']), optax.adam(1e-2))
  step, first = jax.jit(learner.step), learner.init(KEY, given)
  initial = nn.leaky_relu(given['inputs'] @ first.params['Dense_0']['kernel']) @ (
    first.params['Dense_1']['kernel'])
  expected = np.asarray(initial.mean(0))
  expected = np.where(expected < 0, -1, 1) * np.maximum(np.abs(expected), 0.1)
  state, _ = step(first, given)
  for seed in range(5):
    state, _ = step(state, batch(seed=seed))
    np.testing.assert_allclose(
      state.model_state['batch_stats']['centre'], expected, rtol=1e-5)
  assert not np.allclose(state.params['Dense_0']['kernel'],
                         first.params['Dense_0']['kernel'], atol=1e-3)


def test_contributions_are_shares_of_the_gradient_times_the_value():
  given = batch(6, 5)
  _, _, outputs = evaluated(tasks.anomaly(Quadratic()), given)
  for row, which, shares in zip(*(np.asarray(x) for x in (
    given['inputs'], outputs['which'], outputs['shares'])), strict=True):
    parts = np.array([2 * (i + 1) * x * x for i, x in enumerate(row)])
    order = np.argsort(parts)[::-1][:3]
    np.testing.assert_array_equal(which, order)
    np.testing.assert_allclose(shares, parts[order] / parts.sum(), rtol=1e-5)


def test_a_row_of_zeros_has_no_contributions():
  _, _, outputs = evaluated(
    tasks.anomaly(Quadratic()), batch(2, 2, inputs=jnp.zeros((2, 2))))
  np.testing.assert_array_equal(outputs['shares'], np.zeros((2, 2)))


# --- labels -----------------------------------------------------------------------


def counts():
  return {'a': 10.0, 'b': 5.0, 'c': 2.0}


def test_the_second_of_two_classes_is_the_anomaly_and_normal_classes_are_not():
  given = batch(6, labels=jnp.array([0, 1, 2, 2, 1, 0]))
  for normal, expected in ((None, [0, 1, 0, 0, 1, 0]), ('a', [0, 1, 1, 1, 1, 0]),
                           (('b', 'c'), [1, 0, 0, 0, 0, 1])):
    task = tasks.anomaly(Quadratic(), normal=normal, class_counts=counts)
    _, _, outputs = evaluated(task, given)
    np.testing.assert_array_equal(outputs['labels'], expected)


@pytest.mark.parametrize('normal, problem', [
  ('d', "normal: no class 'd'"), (('a', 'b', 'c'), 'normal: must be some of the 3'),
  ((), 'normal: must be some of the 3 classes, got nothing')])
def test_wrong_normal_classes_are_refused(normal, problem):
  with pytest.raises(UserError, match=problem):
    tasks.anomaly(Quadratic(), normal=normal, class_counts=counts)


def split(labels, classes=('0', '1'), **more):
  labels, lines = None if labels is None else np.asarray(labels), []
  return tasks.Split('train', 8 if labels is None else len(labels), classes, True,
                     labels, {}, None, lines.append, **more), lines


def test_the_check_says_which_examples_are_anomalies():
  task = tasks.anomaly(Quadratic())
  for labels, expected in (([0, 0, 0, 1], ''), ([0, 0, 0, 0], (
      '; ROC AUC and average precision have no value there'))):
    given, lines = split(labels)
    task.check(given)
    assert lines == [f'train: {sum(labels)} of 4 examples are anomalies (1), for '
                     f'evaluations only{expected}']
  given, lines = split(None, classes=None)
  task.check(given)
  assert lines == []


@pytest.mark.parametrize('given, problem', [
  (split([0, 1, 2], ('a', 'b', 'c')), 'train: the labels have 3 classes, a, b, c: '
   'which are no anomalies'),
  (split([0.5, 1.5], None), 'train: labels are numbers, must be classes'),
  (split([0, 1, 1], ('fraud', 'ok')), r'train: 2 of 3 examples are anomalies \(ok\), '
   'more than half: are they not the normal ones.*normal=ok says so'),
  (split(None, None, weights=np.array([-1.0] * 8)), 'must be >= 0'),
])
def test_labels_that_do_not_say_it_are_refused(given, problem):
  with pytest.raises(UserError, match=problem):
    tasks.anomaly(Quadratic()).check(given[0])


def test_labels_of_another_kind_are_refused():
  for labels in (jnp.zeros(16), jnp.zeros((16, 2), int)):
    with pytest.raises(ValueError, match=r'anomaly needs labels \[batch\] that are'):
      evaluated(tasks.anomaly(Quadratic()), batch(labels=labels))


# --- the threshold ----------------------------------------------------------------


@pytest.mark.parametrize('fraction, count', [(0.05, 10), (0.5, 100), (0.001, 1)])
def test_the_threshold_flags_a_fraction_of_the_examples(fraction, count):
  scores = np.random.default_rng(0).gamma(2, size=200).astype(np.float32)
  value, reached = highest({'scores': scores}, fraction=fraction)
  ordered = np.sort(scores)[::-1]
  assert ordered[count - 1] > value > ordered[count]
  assert reached == pytest.approx(count / 200)
  task = tasks.anomaly(Quadratic(), contamination=fraction)
  found = task.threshold.decide({'scores': scores}, value)
  assert found.sum() == count
  assert task.answers({'scores': scores, 'predictions': found}) == {
    'score': scores.tolist(), 'flagged': [bool(x) for x in found]}
  assert task.answers({'scores': scores}).keys() == {'score'}


def test_equal_scores_are_flagged_together():
  assert highest({'scores': np.array([3, 2, 2, 2, 1.0])}, fraction=0.4) == (2.0, 0.8)
  assert highest({'scores': np.array([1.0])}, fraction=0.4) == (1.0, 1.0)
  assert highest({'scores': np.array([1.0, np.inf])}, fraction=0.4) is None


@pytest.mark.parametrize('contamination', [0, 0.6, -1, float('nan')])
def test_the_contamination_is_checked(contamination):
  with pytest.raises(ValueError, match=r'contamination: must be > 0 and <= 0\.5, got'):
    tasks.anomaly(Quadratic(), contamination=contamination)


def test_a_model_that_gives_no_scores_is_refused():
  task = partial(tasks.anomaly, models.Mlp(num_outputs=2))
  with pytest.raises(ValueError, match=r'needs a score for each example, \(16,\), the '
                     r'model gives \(16, 2\)'):
    evaluated(task(), batch())
