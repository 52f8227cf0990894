"""Tests of bigmodels.learners.supervised against closed forms in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import losses, metrics, optim
from bigmodels.learners import Signal, supervised
from bigmodels.models import Linear, Mlp
from bigmodels.tasks import Task, classification, regression

KEY = jax.random.key(0)
START = np.array([1.0, -2.0, 0.5])
CURVES = np.array([1.0, 0.3, 3.0])
BATCH = {'inputs': np.zeros((1, 1), np.float32)}


def bowl(seen=None):
  """A task with the loss sum of CURVES * w^2 / 2; its gradient is CURVES * w."""

  def loss(params, model_state, batch, key, train):
    del batch, train
    if seen is not None:
      seen.append(jax.random.key_data(key).tolist())
    value = jnp.sum(CURVES * params**2) / 2
    return value, (model_state, {'loss': (value, jnp.float32(1))}, {})

  return Task(lambda key, batch: (jnp.asarray(START, jnp.float32), {}), loss,
              lambda outputs: {}, lambda *args: {})


def descend(optimizer, steps=3):
  learner = supervised(bowl(), optimizer)
  state, path = learner.init(KEY, BATCH), []
  step = jax.jit(learner.step)
  for _ in range(steps):
    state, _ = step(state, BATCH)
    path.append(np.asarray(state.params))
  return path


def gradient_descent(w, g, t, memory):
  return w - 0.1 * g


def momentum(w, g, t, memory):
  memory['m'] = 0.9 * memory.get('m', 0) + g
  return w - 0.1 * memory['m']


def nesterov(w, g, t, memory):
  memory['m'] = 0.9 * memory.get('m', 0) + g
  return w - 0.1 * (g + 0.9 * memory['m'])


def rmsprop(w, g, t, memory):
  memory['v'] = 0.9 * memory.get('v', 0) + 0.1 * g**2
  return w - 0.1 * g / np.sqrt(memory['v'] + 1e-8)


def adam(w, g, t, memory):
  memory['m'] = 0.9 * memory.get('m', 0) + 0.1 * g
  memory['v'] = 0.999 * memory.get('v', 0) + 0.001 * g**2
  m, v = memory['m'] / (1 - 0.9**t), memory['v'] / (1 - 0.999**t)
  return w - 0.1 * m / (np.sqrt(v) + 1e-8)


@pytest.mark.parametrize('optimizer, rule', [
  (optax.sgd(0.1), gradient_descent),
  (optax.sgd(0.1, momentum=0.9), momentum),
  (optax.sgd(0.1, momentum=0.9, nesterov=True), nesterov),
  (optax.rmsprop(0.1), rmsprop),
  (optax.adam(0.1), adam),
])
def test_optimizers_equal_their_formulas(optimizer, rule):
  w, memory = START, {}
  for t, actual in enumerate(descend(optimizer), 1):
    w = rule(w, CURVES * w, t, memory)
    np.testing.assert_allclose(actual, w, rtol=1e-4)


def test_a_schedule_counts_from_0():
  rates = [0.1, 0.2, 0.0]
  schedule = optax.piecewise_constant_schedule(0.1, {1: 2.0, 2: 0.0})
  w = START
  for rate, actual in zip(rates, descend(optax.sgd(schedule)), strict=True):
    w = w - rate * CURVES * w
    np.testing.assert_allclose(actual, w, rtol=1e-5)


def test_the_signal_reaches_an_optimizer_in_a_chain():
  learner = supervised(bowl(), optax.chain(
    optax.clip_by_global_norm(1e9), optax.sgd(0.1),
    optim.reduce_on_plateau(factor=0.5, patience=1)))
  state, step, w = learner.init(KEY, BATCH), jax.jit(learner.step), START
  assert np.isnan(state.signal.value) and state.signal.count == 0
  # (monitored value, evaluations so far, scale of the step)
  for value, count, scale in [(np.nan, 0, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0.5),
                              (3, 2, 0.5), (1, 3, 0.5), (2, 4, 0.25)]:
    signal = Signal(jnp.float32(value), jnp.int32(count))
    state, _ = step(state._replace(signal=signal), BATCH)
    w = w - scale * 0.1 * CURVES * w
    np.testing.assert_allclose(state.params, w, rtol=1e-4)
    assert state.signal == signal or np.isnan(value)


def test_the_loss_reaches_an_optimizer_that_asks_for_it():
  def update(updates, state, params=None, *, value, **model_state):
    return jax.tree.map(lambda u: -value * u, updates), state

  optimizer = optax.GradientTransformationExtraArgs(
    lambda params: optax.EmptyState(), update)
  loss = np.sum(CURVES * START**2) / 2
  np.testing.assert_allclose(
    descend(optimizer, 1)[0], START - loss * CURVES * START, rtol=1e-5)


def test_the_key_of_a_step_is_folded_in_and_steps_are_counted():
  seen = []
  learner = supervised(bowl(seen), optax.sgd(0.1))
  state = learner.init(KEY, BATCH)
  assert state.step == 0 and state.step.dtype == jnp.int32
  with jax.disable_jit():
    for n in range(3):
      state, _ = learner.step(state, BATCH)
      assert state.step == n + 1 and state.step.dtype == jnp.int32
  expected = [jax.random.key_data(jax.random.fold_in(KEY, n)).tolist()
              for n in range(3)]
  assert seen == expected
  assert state.key == KEY


def test_init_draws_apart_from_the_steps():
  keys = []

  def init(key, batch):
    keys.append(jax.random.key_data(key).tolist())
    return jnp.zeros(3), {}

  state = supervised(bowl()._replace(init=init), optax.sgd(0.1)).init(KEY, BATCH)
  others = [KEY, *(jax.random.fold_in(KEY, n) for n in range(100))]
  assert keys[0] not in [jax.random.key_data(k).tolist() for k in others]
  assert state.key == KEY


def points(n=8, classes=3):
  rng = np.random.default_rng(0)
  return {'inputs': rng.normal(size=(n, 5)).astype(np.float32),
          'labels': np.arange(n, dtype=np.int32) % classes,
          'mask': np.ones(n, np.float32)}


def test_dropout_differs_by_step_and_repeats_on_replay():
  # A rate of 0 keeps the parameters, so that losses differ by dropout alone.
  learner = supervised(classification(Mlp(3, (64,), dropout=0.5)), optax.sgd(0.0))
  step = jax.jit(learner.step)
  start = jax.jit(learner.init)(KEY, points())

  def run(state, steps):
    values = []
    for _ in range(steps):
      state, sums = step(state, points())
      values.append(float(sums['loss'][0]))
    return values

  first = run(start, 4)
  assert len(set(first)) == 4
  assert run(start, 4) == first
  assert run(start._replace(step=jnp.int32(2)), 2) == first[2:]
  assert run(start._replace(key=jax.random.key(1)), 1) != first[:1]


@pytest.mark.parametrize('loss', [losses.cross_entropy, losses.hinge])
def test_a_small_batch_is_learned_by_heart(loss):
  learner = supervised(classification(Mlp(3, (64,), batch_norm=True), loss),
                       optax.adam(0.02))
  state = jax.jit(learner.init)(KEY, points())

  def step(state, _):
    state, sums = learner.step(state, points())
    return state, sums['loss'][0] / sums['loss'][1]

  state, values = jax.jit(lambda s: jax.lax.scan(step, s, length=1200))(state)
  assert values[0] > 0.3
  assert values[-1] < 1e-2
  sums, outputs = learner.evaluate(state, points())
  assert sums['accuracy'] == (8, 8)
  assert np.array_equal(outputs['predictions'], outputs['labels'])
  assert state.step == 1200


def test_evaluation_is_deterministic_and_sees_running_statistics():
  model = Mlp(3, (16,), dropout=0.5, batch_norm=True)
  learner = supervised(classification(model), optax.sgd(0.1))
  state = jax.jit(learner.init)(KEY, points())
  state, _ = jax.jit(learner.step)(state, points())
  before = jax.tree.map(np.array, state._replace(key=jax.random.key_data(state.key)))
  evaluate = jax.jit(learner.evaluate)
  sums, outputs = evaluate(state, points())
  _, again = evaluate(state._replace(key=jax.random.key(9)), points())
  after = state._replace(key=jax.random.key_data(state.key))
  jax.tree.map(np.testing.assert_array_equal, after, before)
  answer = model.apply({'params': state.params, **state.model_state},
                       points()['inputs'],
                       train=False)
  expected = np.exp(answer) / np.exp(answer).sum(-1, keepdims=True)
  np.testing.assert_allclose(outputs['probabilities'], expected, rtol=1e-4)
  np.testing.assert_array_equal(again['probabilities'], outputs['probabilities'])
  assert sums['loss'][1] == 8


def test_gradient_descent_reaches_the_least_squares_solution():
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(40, 3)).astype(np.float32)
  y = 50 + 10 * (inputs @ [1.0, -2.0, 0.5] + rng.normal(size=40))
  data = {'inputs': inputs, 'labels': y.astype(np.float32),
          'mask': np.ones(40, np.float32)}
  design = np.concatenate([inputs, np.ones((40, 1))], -1).astype(np.float64)
  solution, *_ = np.linalg.lstsq(design, y)
  mean, std = y.mean(keepdims=True), y.std(keepdims=True)
  learner = supervised(regression(Linear(1), target_mean=mean, target_std=std),
                       optax.sgd(0.2))
  state = jax.jit(learner.init)(KEY, data)
  run = jax.jit(functools.partial(
    jax.lax.scan, lambda s, _: (learner.step(s, data)[0], None), length=500))
  state, _ = run(state)
  layer = jax.tree.map(np.asarray, state.params['Dense_0'])
  np.testing.assert_allclose(std * layer['kernel'][:, 0], solution[:3], rtol=1e-4)
  np.testing.assert_allclose(std * layer['bias'] + mean, solution[3:], rtol=1e-4)
  _, outputs = learner.evaluate(state, data)
  summary = metrics.regression(jax.tree.map(np.asarray, outputs))
  residuals = y - design @ solution
  assert summary['mse'] == pytest.approx(np.mean(residuals**2), rel=1e-4)
  assert summary['r2'] == pytest.approx(1 - residuals.var() / y.var(), rel=1e-4)
