"""bigmodels.training.evaluation: metrics of any shape, exact however a split is cut."""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.learners import Signal
from bigmodels.metrics import Mean
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build, evaluation
from bigmodels.training.compile import compile_traced, trace

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(23, 4)).astype(np.float32)
LABELS = np.arange(23, dtype=np.int32) % 3


class Confusion(NamedTuple):
  """Counts `[classes, classes]` of labels and predictions."""

  counts: jax.Array

  def compute(self):
    counts = np.asarray(self.counts)
    return {'matrix': counts, 'recall': np.diag(counts) / counts.sum(1), 'none': None}


def confused(model, **settings):
  """Classification that counts its confusions, too."""
  task = tasks.classification(model, **settings)

  def loss(params, model_state, batch, key, train):
    value, (model_state, metrics, outputs) = task.loss(
      params, model_state, batch, key, train)
    pairs = jax.nn.one_hot(3 * outputs['labels'] + outputs['predictions'], 9)
    counts = (pairs * batch['mask'][:, None]).sum(0).reshape(3, 3)
    return value, (model_state, {**metrics, 'confusion': Confusion(counts)}, outputs)

  return task._replace(loss=loss)


def ready(task=confused, learner=learners.supervised, batch_size=5, **fields):
  source = data.Arrays(inputs=INPUTS, labels=LABELS)
  experiment = Experiment(
    model=partial(models.Mlp, 3, (5,)), task=task, learner=learner,
    optimizer=partial(optax.sgd, 0.1), duration=Duration(steps=4),
    train=data.Batches(source=source, batch_size=8),
    evals={'train_again': data.Batches(source=source, batch_size=batch_size)}, **fields)
  one = layout.make_layout(MeshShape(), 'jit', ())
  built = build.build(experiment, one, DataContext(None, None, {}, lambda line: None))
  programs = compile_traced(trace(built.learner, built.train, built.evals, one))
  return built, programs, programs.init(one.replicate(np.asarray(
    jax.random.PRNGKey(0))))


@pytest.mark.parametrize('batch_size', [5, 23])
def test_a_confusion_matrix_is_that_of_the_outputs(batch_size):
  built, programs, carry = ready(batch_size=batch_size)
  found, outputs = evaluation.evaluate(built, programs, 'train_again', carry.state)
  expected = np.zeros((3, 3))
  np.add.at(expected, (outputs['labels'], outputs['predictions']), 1)
  assert found['train_again/confusion/matrix'] == expected.tolist()
  assert found['train_again/confusion/recall'] == pytest.approx(
    (np.diag(expected) / expected.sum(1)).tolist())
  assert 'train_again/confusion/none' not in found
  assert outputs['row'].tolist() == [*range(23)]


class Broken(NamedTuple):
  """A metric whose value is what it was given, an error if that is one."""

  value: object

  def compute(self):
    if isinstance(self.value, Exception):
      raise self.value
    return self.value


@pytest.mark.parametrize('value, expected', [
  ('high', 'could not convert string to float'),
  ([[1.0], [2.0, 3.0]], 'inhomogeneous'),
  (AttributeError('no count'), 'AttributeError: no count'),
])
def test_a_metric_without_a_value_is_named(value, expected):
  with pytest.raises(UserError, match=f"the metric 'rms' has no value: .*{expected}"):
    evaluation.values_of({'loss': Mean(1.0, 2.0), 'rms': Broken(value)})


@pytest.mark.parametrize('summary, expected', [
  (lambda outputs: 1 / 0, 'ZeroDivisionError: division by zero'),
  (lambda outputs: {'f1': 'high'}, "could not convert string to float: 'high'"),
  (lambda outputs: [1.0], "'list' object has no attribute 'items'")])
def test_a_summary_that_is_no_numbers_is_refused(summary, expected):
  built, programs, carry = ready(
    lambda model: tasks.classification(model)._replace(summarize=summary))
  with pytest.raises(UserError, match=(
    f'train_again: the outputs cannot be summarized by the task: .*{expected}')):
    evaluation.evaluate(built, programs, 'train_again', carry.state)


def test_a_summary_may_have_arrays():
  built, programs, carry = ready(lambda model: tasks.classification(model)._replace(
    summarize=lambda outputs: {'counts': np.bincount(outputs['labels']), 'no': None}))
  found, _ = evaluation.evaluate(built, programs, 'train_again', carry.state)
  assert found['train_again/counts'] == [8, 8, 7] and 'train_again/no' not in found


def with_outputs(change):
  def task(model):
    plain = tasks.classification(model)

    def loss(*arguments, **keywords):
      value, (model_state, metrics, outputs) = plain.loss(*arguments, **keywords)
      return value, (model_state, metrics, change(outputs))

    return plain._replace(loss=loss)

  return task


@pytest.mark.parametrize('change, shape', [
  (lambda outputs: {**outputs, 'odd': jnp.mean(outputs['labels'])}, r'\(\)'),
  (lambda outputs: {**outputs, 'odd': outputs['labels'][:2]}, r'\(2,\)')])
def test_an_output_without_a_row_for_each_example_is_refused(change, shape):
  with pytest.raises(UserError, match=(
    "train_again: the output 'odd' must have a row for each of the 5 examples of a "
    f'batch, got the shape {shape}')):
    ready(with_outputs(change))


def learner_of(step):
  def make(task, optimizer, gradient):
    plain = learners.supervised(task, optimizer, gradient)
    return plain._replace(step=partial(step, plain))

  return make


@pytest.mark.parametrize('step, expected', [
  (lambda plain, state, batch: (state._replace(step=state.step + 1), {}),
   "train: must have a metric, such as 'loss', has none"),
  (lambda plain, state, batch: (state._replace(model_state={'count': jnp.zeros(2)}),
                                plain.step(state, batch)[1]),
   r'model_state/count is absent before it and float32 \(2,\) after'),
  (lambda plain, state, batch: (state._replace(step=state.step + 1.0),
                                plain.step(state, batch)[1]),
   r'step is int32 \(\) before it and float32 \(\) after')])
def test_a_step_that_changes_the_shapes_of_the_state_is_refused(step, expected):
  with pytest.raises(UserError, match=expected):
    ready(plain, learner_of(step))


@pytest.mark.parametrize('change, expected', [
  (lambda x: x[..., :1], r'must be float32 \('),
  (jnp.sum, r'is float32 \(\), must be float32 \('),
  (lambda x: x.astype(jnp.float16), r'is float16 \(.*, must be float32')])
def test_a_gradient_of_other_shapes_is_refused(change, expected):
  def gradient(loss, **settings):
    mean = learners.mean_gradient(loss, **settings)

    def changed(*arguments):
      found, grads = mean(*arguments)
      return found, jax.tree.map(change, grads)

    return changed

  with pytest.raises(UserError, match=(
    r'the gradient must have the shapes and types of the parameters: .*' + expected)):
    ready(plain, gradient=gradient)


def population(task, optimizer, gradient, count=3):
  """So many learners side by side, which differ in their keys."""
  one = learners.supervised(task, optimizer, gradient)
  keys = jax.vmap(jax.random.fold_in, (None, 0))

  def init(key, batch):
    state = jax.vmap(one.init, (0, None))(keys(key, jnp.arange(count)), batch)
    return state._replace(step=jnp.int32(0), key=key)

  def members(state):
    return state._replace(step=jnp.full(count, state.step),
                          key=keys(state.key, jnp.arange(count)))

  def step(state, batch):
    after, metrics = jax.vmap(one.step, (0, None))(members(state), batch)
    return after._replace(step=state.step + 1, key=state.key), metrics

  def evaluate(state, batch):
    metrics, outputs = jax.vmap(one.evaluate, (0, None))(members(state), batch)
    return metrics, jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), outputs)

  return learners.Learner(init, step, evaluate)


def plain(model):
  return tasks.classification(model)._replace(summarize=None)


def test_metrics_of_a_population_have_a_leading_axis():
  built, programs, carry = ready(plain, population)
  for step in range(3):
    carry, _ = programs.advance(
      carry, built.train.host_batch(step, 1), 1, step == 0, (0, 0, -1))
  assert carry.window['loss'].total.shape == (3,) and int(carry.fault[0]) == -1
  losses = evaluation.values_of(jax.device_get(carry.window))['loss']
  assert len(losses) == 3 == len(set(losses))
  found, _ = evaluation.evaluate(built, programs, 'train_again', carry.state)
  accuracy = found['train_again/accuracy']
  assert len(accuracy) == 3 and all(0 <= x <= 1 for x in accuracy)


def test_each_member_is_what_it_would_be_alone():
  members = jax.device_get(ready(plain, population)[2].state.params)
  alone, programs, _ = ready(plain)
  key = jax.random.fold_in(jax.random.PRNGKey(0), 1)
  single = programs.init(alone.layout.replicate(np.asarray(key))).state.params
  jax.tree.map(lambda all_, one: np.testing.assert_allclose(all_[1], one, rtol=1e-6),
               members, jax.device_get(single))


def test_one_member_that_is_not_finite_is_a_fault():
  built, programs, carry = ready(plain, population)
  spoilt = jax.tree.map(lambda x: x.at[1].set(np.nan), carry.state.params)
  carry = carry._replace(state=carry.state._replace(params=spoilt))
  carry, _ = programs.advance(carry, built.train.host_batch(0, 1), 1, True, (0, 0, -1))
  assert int(carry.fault[0]) == 1


def test_the_score_of_members_is_their_mean():
  monitor = Monitor(metric='train_again/loss', goal='min')
  experiment = dataclasses.replace(ready(plain)[0].experiment, monitor=monitor)
  value = evaluation.monitored(experiment, {'train_again/loss': [1.0, 2.0, 6.0]})
  assert value.tolist() == [1, 2, 6] and evaluation.score(value) == 3
  assert evaluation.score(None) is None
  with pytest.raises(UserError, match=r"no metric 'train_again/loss'; did you mean"):
    evaluation.monitored(experiment, {'train_again/los': 1.0})


def test_values_of_metrics_are_plain_numbers():
  found = evaluation.values_of({'a': Mean(np.float32(1), np.float32(2)),
                                'b': Mean(np.float32(0), np.float32(0)),
                                'c': Confusion(np.eye(2))})
  assert found == {'a': 0.5, 'c/matrix': [[1, 0], [0, 1]], 'c/recall': [1, 1]}
  assert type(found['a']) is float


def test_the_signal_has_the_shape_of_its_members():
  _, _, carry = ready(plain, population)
  like = carry.state.signal
  made = jax.tree.map(lambda new, old: np.broadcast_to(new, old.shape), Signal(
    np.float32([1, 2, 3]), np.int32(4)), like)
  assert made.value.tolist() == [1, 2, 3] and made.count.tolist() == [4, 4, 4]


def test_what_is_no_metric_is_refused_before_it_is_compiled():
  def task(model):
    made = tasks.classification(model)

    def loss(params, model_state, batch, key, train):
      value, (model_state, metrics, outputs) = made.loss(
        params, model_state, batch, key, train)
      pair = (metrics['loss'].total, metrics['loss'].count)
      return value, (model_state, {**metrics, 'pair': pair}, outputs)

    return made._replace(loss=loss)

  with pytest.raises(UserError, match=r'/pair: a metric must be a NamedTuple of '
                     r'sums with compute\(\), such as metrics\.Mean.* got a tuple'):
    ready(task)
