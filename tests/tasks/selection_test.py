"""Tests of bigmodels.tasks.selection: against plain loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels import metrics
from bigmodels.models import Bert, DualEncoder
from bigmodels.plots import Inputs
from bigmodels.tasks import response_selection

KEY = jax.random.key(0)
MODEL = DualEncoder(Bert(30, length=6, depth=1, width=16, heads=2, unroll=True,
                         dropout=0.0, attention_dropout=0.0), width=12, dropout=0.0)
TASK = response_selection(MODEL)
RNG = np.random.default_rng(0)


def batch_of(count, candidates, contexts=None, masked=()):
  mask = np.isin(np.arange(count), masked, invert=True).astype(np.float32)
  return jax.tree.map(jnp.asarray, {
    'inputs': RNG.integers(1, 30, (count, 6)), 'mask': mask,
    'segments': np.ones((count, 6), np.int32),
    'responses': RNG.integers(1, 30, (count, candidates, 6)),
    'response_segments': np.ones((count, candidates, 6), np.int32),
    'contexts': np.arange(count) if contexts is None else np.array(contexts)})


def params_of(batch):
  made, _ = jax.eval_shape(TASK.init, KEY, batch)
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: np.float32(0.4 * rng.normal(size=x.shape)), made)


def vectors(params, batch):
  return map(np.float64, jax.jit(partial(MODEL.apply, train=False))(
    {'params': params}, batch['inputs'], batch['responses']))


def test_negatives_are_responses_of_other_contexts_that_are_not_masked():
  batch = batch_of(6, 1, contexts=[0, 0, 1, 2, 3, 3], masked=[4])
  params = params_of(batch)
  loss, (_, found, outputs) = jax.jit(partial(TASK.loss, train=True))(
    params, {}, batch, KEY)
  contexts, responses = vectors(params, batch)
  values = []
  for row in (0, 1, 2, 3, 5):
    kept = [row] + [i for i in (0, 1, 2, 3, 5)
                    if batch['contexts'][i] != batch['contexts'][row]]
    scores = np.array([contexts[row] @ responses[i, 0] for i in kept])
    values.append(np.log(np.exp(scores).sum()) - scores[0])
  np.testing.assert_allclose(loss, np.mean(values), rtol=1e-4)
  assert found['loss'].count == 5 and outputs == {}


def test_an_evaluation_ranks_the_candidates_of_each_row():
  batch = batch_of(5, 4)
  params = params_of(batch)
  loss, (_, _, outputs) = jax.jit(partial(TASK.loss, train=False))(
    params, {}, batch, KEY)
  contexts, responses = vectors(params, batch)
  scores = np.array([[contexts[i] @ responses[i, k] for k in range(4)]
                     for i in range(5)])
  np.testing.assert_allclose(outputs['scores'], scores, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(
    loss, np.mean(np.log(np.exp(scores).sum(1)) - scores[:, 0]), rtol=1e-4)
  outputs = jax.device_get(outputs)
  assert TASK.summarize(outputs) == metrics.selection({'scores': scores})
  words = [{'context': f'c{i}', **{f'candidate {k}': f'{i}.{k}' for k in range(4)}}
           for i in range(5)]
  rows = TASK.plots(outputs, Inputs(None, lambda rows: [words[i] for i in rows]), None)[
    'Responses'].rows
  for i, row in enumerate(rows):
    assert row == (f'c{i}', f'{i}.{scores[i].argmax()}', f'{i}.0', str(
      1 + (scores[i, 1:] >= scores[i, 0]).sum()))


def test_it_learns_one_batch():
  batch = batch_of(8, 1)
  params, _ = jax.jit(TASK.init)(KEY, batch)
  optimizer = optax.adam(1e-2)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state):
    (loss, _), grads = jax.value_and_grad(
      partial(TASK.loss, train=True), has_aux=True)(params, {}, batch, KEY)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, loss

  for _ in range(60):
    params, state, loss = step(params, state)
  assert loss < 0.05
