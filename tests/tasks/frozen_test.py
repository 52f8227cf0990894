"""Tests of bigmodels.tasks.frozen."""

import functools
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import pytest

from bigmodels import models, tasks
from bigmodels.learners.gradient import mean_gradient
from bigmodels.parallel.precision import in_precision

KEY = jax.random.PRNGKey(0)
BATCH = {
  'inputs': 3 + np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype(np.float32),
  'labels': np.arange(8, dtype=np.int32) % 3, 'mask': np.ones(8, np.float32)}
MODEL = models.CifarResNet(num_outputs=3, depth=8, width=4)


def _task(*patterns, model=MODEL):
  return tasks.frozen_statistics(
    model, task=tasks.classification, patterns=patterns or ('.*',))


@functools.cache
def _fresh(model):
  return jax.jit(tasks.classification(model).init)(KEY, BATCH)


def _started(model=MODEL):
  params, model_state = _fresh(model)
  # Others than at the start, so that it shows which are used.
  head = {**params['head'], 'kernel': params['head']['kernel'] * 100}
  return {**params, 'head': head}, jax.tree.map(lambda x: x + 0.5, model_state)


@jax.jit
def _same(a, b):
  return jax.tree.map(lambda x, y: (x == y).all(), a, b)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_all_frozen_answers_as_an_evaluation(precision):
  model = in_precision(MODEL, precision)
  task = _task(model=model)
  params, model_state = _started(model)
  train, test = (jax.jit(partial(task.loss, train=train))(params, model_state, BATCH,
                                                          KEY)
                 for train in (True, False))
  np.testing.assert_allclose(train[0], test[0], rtol=1e-6)
  jax.tree.map(np.testing.assert_array_equal, train[1][0], model_state)
  own, _ = jax.jit(partial(tasks.classification(model).loss, train=True))(
    params, model_state, BATCH, KEY)
  assert abs(own - test[0]) > 0.01


def test_only_those_named_stay():
  task = _task('stage[12]/.*', 'stem/norm/var')
  params, model_state = _started()
  _, (after, _, _) = jax.jit(partial(task.loss, train=True))(
    params, model_state, BATCH, KEY)
  same = _same(after, model_state)['batch_stats']
  assert all(jax.tree.leaves([same[k] for k in ('stem', 'stage1', 'stage2')]))
  assert not any(jax.tree.leaves(same['stage3']))


def test_the_gradient_is_that_of_fixed_numbers():
  # y = scale * (w x - mean) / sqrt(var + epsilon) + bias, nothing else of the batch.
  class Model(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train):
      x = inputs @ self.param('w', nn.initializers.ones, (3, 2))
      return nn.BatchNorm(name='norm')(x=x, use_running_average=not train)

  task = _task(model=Model())
  batch = {**BATCH, 'inputs': BATCH['inputs'][:, 0, 0]}
  params, _ = jax.jit(task.init)(KEY, batch)
  model_state = {'batch_stats': {'norm': {'mean': np.float32([1, 2]),
                                    'var': np.float32([4, 9])}}}

  def by_hand(w):
    y = (batch['inputs'] @ w - np.float32([1, 2])) / np.sqrt(
      np.float32([4, 9]) + np.float32(1e-5))
    return -jax.nn.log_softmax(y)[np.arange(8), batch['labels'] % 2].mean()

  batch['labels'] = batch['labels'] % 2
  gradient = jax.jit(jax.grad(
    lambda p: task.loss(p, model_state, batch, KEY, True)[0]))(params)
  np.testing.assert_allclose(
    gradient['w'], jax.jit(jax.grad(by_hand))(params['w']), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('patterns, message', [
  ('stem/.*', r"patterns: must be a tuple such as .*, got 'stem/.*'"),
  ((), 'patterns: must be a tuple'),
  (('stem/[',), r"patterns: must be regular expressions, got 'stem/\['"),
])
def test_what_is_no_pattern(patterns, message):
  with pytest.raises(ValueError, match=message):
    tasks.frozen_statistics(MODEL, task=tasks.classification, patterns=patterns)


def test_a_pattern_that_matches_nothing():
  with pytest.raises(ValueError, match=r"'stem' matches .* no batch statistics, "
                                       'such as stem/norm'):
    jax.eval_shape(_task('stem').init, KEY, BATCH)
  with pytest.raises(ValueError, match='there are none'):
    jax.eval_shape(_task(model=models.Mlp(3)).init, KEY, BATCH)


def test_statistics_of_something_else_are_refused():
  class Own(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train):
      seen = self.variable('batch_stats', 'mean', lambda: inputs.mean())
      return nn.Dense(3)(inputs.reshape(len(inputs), -1) - seen.value)

  with pytest.raises(ValueError, match=r"'\.\*' matches mean, which is not in a flax"):
    jax.eval_shape(_task(model=Own()).init, KEY, BATCH)


@pytest.mark.parametrize('parts', [
  3, *(pytest.param(parts, marks=pytest.mark.slow('compile')) for parts in (5, 7))])
def test_parts_of_a_batch_leave_what_is_frozen_to_the_bit(parts):
  task = _task('stage[12]/.*')
  params, model_state = _started()
  model_state = jax.tree.map(lambda x: x * 1.1, model_state)  # no round numbers
  batch = jax.tree.map(lambda x: np.stack([x] * parts), BATCH)
  gradient = mean_gradient(partial(task.loss, train=True), microbatches=parts)
  (_, after, _), _ = jax.jit(gradient)(params, model_state, batch, KEY)
  same = _same(after, model_state)['batch_stats']
  assert all(jax.tree.leaves([same[k] for k in ('stage1', 'stage2')]))
  assert not any(jax.tree.leaves(same['stage3']))
