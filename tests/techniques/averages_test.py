"""Tests of bigmodels.techniques.averages against optax and a loop in NumPy."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.learners import Learner, Signal, State, supervised
from bigmodels.models import Mlp
from bigmodels.modes import train
from bigmodels.tasks import classification
from bigmodels.techniques import averages

KEY = jax.random.PRNGKey(0)
TASK = classification(Mlp(3, (4,), batch_norm=True))


def batch(seed):
  rng = np.random.default_rng(seed)
  return {'inputs': rng.normal(seed, 1, (8, 5)).astype(np.float32),
          'labels': rng.integers(0, 3, 8), 'mask': np.ones(8, np.float32)}


def ran(rule, steps=15):
  """The states of a run and its learner."""
  rule = averages.exponential(rule) if isinstance(rule, float) else rule
  learner = averages.averaged(supervised(TASK, optax.sgd(0.3)), rule)
  states, step = [jax.jit(learner.init)(KEY, batch(0))], jax.jit(learner.step)
  for i in range(steps):
    states.append(step(states[-1], batch(i))[0])
  return learner, states


def test_it_is_the_average_of_a_loop_in_numpy_with_its_warm_up():
  _, states = ran(0.5)
  expected = np.float64(states[0].params['Dense_0']['kernel'])
  for n, state in enumerate(states[1:]):
    left = min(0.5, (1 + n) / (10 + n))
    expected = left * expected + (1 - left) * state.params['Dense_0']['kernel']
    np.testing.assert_allclose(state.average['params']['Dense_0']['kernel'], expected,
                               rtol=1e-5, atol=1e-6)
  assert (1 + n) / (10 + n) > 0.5  # both sides of the minimum were met


def test_a_slow_average_takes_in_some_of_the_later_steps(monkeypatch):
  monkeypatch.setattr(averages, '_FIRST', 4)
  _, states = ran(0.98)
  expected = np.float64(states[0].params['Dense_0']['kernel'])
  for n, state in enumerate(states[1:]):
    left = min(0.98, (1 + n) / (10 + n))  # 5 steps are a tenth of 1 / (1 - 0.98)
    if n < 4 or (n + 1) % 5 == 0:
      left = left if n < 4 else left**5
      expected = left * expected + (1 - left) * state.params['Dense_0']['kernel']
    np.testing.assert_allclose(state.average['params']['Dense_0']['kernel'], expected,
                               rtol=1e-5, atol=1e-6)


def test_after_the_warm_up_it_is_that_of_optax():
  _, states = ran(0.2)
  before, after = states[-2], states[-1]
  statistics = {'batch_stats': after.model_state['batch_stats']}
  expected = optax.incremental_update(
    {'params': after.params, 'model_state': statistics}, before.average, 0.8)
  for found, wanted in zip(jax.tree.leaves(after.average), jax.tree.leaves(expected),
                           strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
  assert len(jax.tree.leaves(statistics)) == 2  # they are averaged, too


@pytest.mark.parametrize('start,every', [(0.4, 3), (0.0, 1), (0.8, 1)])
def test_uniform_is_the_algorithm_of_its_paper(start, every):
  """Izmailov et al., algorithm 1: the parameters at the start are the first."""
  _, states = ran(averages.uniform(15, start=start, every=every))
  begin = round(15 * start)
  for step, state in enumerate(states[1:], 1):
    count, now = 0, np.float64(state.params['Dense_0']['kernel'])
    if step <= begin:
      expected = now
    else:
      expected = np.float64(states[begin].params['Dense_0']['kernel'])
      for i in range(1, step - begin + 1):
        if i % every == 0:
          count = i // every
          expected = (expected * count + states[begin + i].params['Dense_0'][
            'kernel']) / (count + 1)
    np.testing.assert_allclose(state.average['params']['Dense_0']['kernel'], expected,
                               rtol=1e-5, atol=1e-6)


def test_in_float64_the_averages_are_those_of_a_loop():
  """Of one parameter that goes 1, 2, ..., so that the means are known."""
  with jax.enable_x64(True):
    walk = Learner(
      lambda key, batch: State(
        jnp.int32(0), jnp.float64(0), {}, (), key, Signal(0.0, 0)),
      lambda state, batch: (state._replace(
        step=state.step + 1, params=state.params + 1), {}), None)
    for start, every, expected in ((0.5, 5, (10 + 15 + 20) / 3), (0.0, 1, 10.0)):
      learner = averages.averaged(walk, averages.uniform(20, start=start, every=every))
      state = learner.init(KEY, {})
      for _ in range(20):
        state, _ = learner.step(state, {})
      assert state.average['params'].dtype == np.float64
      assert float(state.average['params']) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize('given,message', [
  ({'start': 1.0}, r'average.start: must be >= 0 and < 1, got 1\.0'),
  ({'start': float('nan')}, 'average.start: must be >= 0'),
  ({'every': 0}, 'average.every: must be 1 to 5, the steps after 0.75 of the run'),
  ({'every': 6}, 'got 6')])
def test_uniform_refuses_what_would_average_nothing(given, message):
  with pytest.raises(ValueError, match=message):
    averages.uniform(20, **given)


def test_the_parameters_are_those_of_the_learner_without_it():
  _, states = ran(0.9)
  plain = supervised(TASK, optax.sgd(0.3))
  state, step = jax.jit(plain.init)(KEY, batch(0)), jax.jit(plain.step)
  for i in range(15):
    state, _ = step(state, batch(i))
  for found, wanted in zip(jax.tree.leaves(states[-1].params),
                           jax.tree.leaves(state.params), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_average_is_evaluated_and_the_raw_parameters_beside_it():
  learner, states = ran(0.9)
  state, data = states[-1], batch(3)
  metrics, outputs = jax.jit(learner.evaluate)(state, data)
  for params, statistics, name in (
    (state.average['params'], state.average['model_state'], ''),
    (state.params, state.model_state, 'raw/')):
    _, (_, expected, found) = jax.jit(
      lambda p, s: TASK.loss(p, s, data, KEY, train=False))(params, statistics)
    np.testing.assert_allclose(metrics[f'{name}loss'].total, expected['loss'].total,
                               rtol=1e-6)
    if not name:
      np.testing.assert_allclose(outputs['probabilities'], found['probabilities'],
                                 rtol=1e-6)
  assert metrics['loss'].total != metrics['raw/loss'].total
  once, _ = jax.jit(learner.evaluate)(averages.evaluated(state), data)
  assert not [name for name in once if name.startswith('raw/')]


def test_nothing_else_of_the_model_state_is_averaged():
  _, states = ran(0.9, 2)
  state = states[-1]._replace(model_state={
    'model': states[-1].model_state, 'replay': jnp.ones(3)})
  state = averages.restarted(state)
  assert set(state.average['model_state']) == {'model'}
  found = averages.evaluated(state)
  assert found.average is None and set(found.model_state) == {'model', 'replay'}


@pytest.mark.parametrize('decay', [0.0, 1.0, -0.1, float('nan')])
def test_a_decay_out_of_range_is_refused(decay):
  with pytest.raises(ValueError, match='average: must be > 0 and < 1, got'):
    averages.exponential(decay)


def test_a_run_answers_with_the_average(request_for, tiny, tmp_path, capsys):
  request = request_for(tiny, tmp_path / 'a', average=0.9, steps=30)
  train.run(request)
  found = json.loads((tmp_path / 'a' / 'result.json').read_text())['metrics']
  assert 'raw' not in capsys.readouterr().out  # it would crowd the lines
  run = bigmodels.load(tmp_path / 'a', cache_dir=request.cache_dir)
  data = run.reopen(with_data=True).built.evals['test'].dataset.load()
  mean, std = run.normalization

  @jax.jit
  def logits(params, model_state):
    return run.model.apply({'params': params, **model_state},
                           (data['inputs'] - mean) / std, train=False)

  for name, answer in (('test', logits(run.params, run.model_state)),
                       ('test/raw', logits(run.state.params, run.state.model_state))):
    expected = optax.softmax_cross_entropy_with_integer_labels(answer, data['labels'])
    np.testing.assert_allclose(found[f'{name}/loss'], expected.mean(), rtol=1e-5)
  assert found['test/loss'] != found['test/raw/loss']
  np.testing.assert_array_equal(
    run.predict(data['inputs'])['predictions'],
    logits(run.params, run.model_state).argmax(-1))
  np.testing.assert_allclose(run.features(data['inputs'])[1], logits(
    run.params, run.model_state), rtol=1e-4, atol=1e-4)
  assert run.evaluate('test') == {k: v for k, v in found.items()
                                  if k.startswith('test/')}


def test_a_run_takes_another_average_by_name(request_for, tiny, tmp_path):
  train.run(request_for(
    tiny, tmp_path / 'a', steps=20, **{
      'average': 'bigmodels.techniques.averages.uniform', 'average.start': 0.5}))
  found = json.loads((tmp_path / 'a' / 'result.json').read_text())['metrics']
  assert found['test/loss'] != found['test/raw/loss']


def test_what_makes_no_average_is_refused(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match=r'average: must be a decay such as 0\.999, or'):
    train.run(request_for(tiny, tmp_path / 'a', average='optax.constant_schedule',
                          **{'average.value': 1.0}))


@pytest.mark.slow('train')
def test_another_run_begins_with_the_average(request_for, tiny, tmp_path):
  first = request_for(tiny, tmp_path / 'a', average=0.9, steps=20)
  train.run(first)
  run = bigmodels.load(tmp_path / 'a', cache_dir=first.cache_dir)
  train.run(request_for(tiny, tmp_path / 'b', average=0.9, init_from=tmp_path / 'a',
                        learning_rate=0.0, steps=2))
  other = bigmodels.load(tmp_path / 'b', cache_dir=first.cache_dir)
  for params in (other.params, other.state.params):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), params, run.params)
