"""Tests of tasks.ctc: one batch is learned; padding and masks count for nothing."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.models import Conformer, RecurrentCtc
from bigmodels.tasks import ctc
from bigmodels.tasks.task import Split
from tests.losses.alignments import by_alignments
from tests.tasks.transcribing import KEY, TEXTS, TOKENIZER, batch

SMALL = RecurrentCtc(TOKENIZER.size, width=24, depth=1, stack=2)


def started(model, **settings):
  task = ctc(model, tokenizer=TOKENIZER, **settings)
  return task, *jax.jit(task.init)(KEY, batch())


def evaluated(task, params, state, data):
  _, (_, metrics, outputs) = jax.jit(partial(task.loss, train=False))(
    params, state, data, KEY)
  return metrics, outputs


@pytest.mark.parametrize('model', [
  SMALL, pytest.param(
    Conformer(TOKENIZER.size, width=16, depth=1, heads=2, kernel=3, halvings=1,
              channels=4, dropout=0.0), marks=pytest.mark.slow('train'))])
def test_one_batch_is_learned(model):
  pytest.importorskip('jiwer', reason='jiwer is not installed')
  task, params, state = started(model)
  optimizer = optax.adam(2e-2)
  moments, data = optimizer.init(params), batch()

  @jax.jit
  def step(params, moments):
    (value, _), slope = jax.value_and_grad(
      lambda p: task.loss(p, state, data, KEY, True), has_aux=True)(params)
    updates, moments = optimizer.update(slope, moments)
    return optax.apply_updates(params, updates), moments, value

  for _ in range(150):
    params, moments, value = step(params, moments)
  assert value < 0.05
  _, outputs = evaluated(task, params, state, data)
  assert task.answers(outputs) == {'prediction': TEXTS}
  assert task.summarize(outputs)['wer'] == 0


def test_the_loss_is_of_all_alignments_per_token():
  task, params, state = started(SMALL)
  data = batch((8, 10, 5, 9, 4))
  metrics, outputs = evaluated(task, params, state, data)
  logits, sizes = jax.jit(partial(SMALL.apply, train=False))(
    {'params': params}, data['inputs'], lengths=data['lengths'])
  expected = []
  for row, size in enumerate(np.asarray(sizes)):
    labels = [int(c) for c in data['labels'][row] if c]
    expected.append(by_alignments(np.asarray(logits)[row, :size].astype(float), labels))
  # ABBA needs 5 outputs and has 4.
  assert np.isinf(expected[0]) and np.isfinite(expected[1:]).all()
  np.testing.assert_allclose(outputs['nats'][1:], expected[1:], rtol=1e-4)
  np.testing.assert_allclose(metrics['loss'].total, sum(expected[1:]), rtol=1e-4)
  assert metrics['loss'].count == 4 + 1 + 4 + 1  # an empty transcript counts as one
  assert float(metrics['unaligned'].compute()) == pytest.approx(1 / 5)


def test_padding_and_masked_examples_change_nothing():
  task, params, state = started(SMALL)

  graded = jax.jit(jax.value_and_grad(partial(task.loss, train=True), has_aux=True))

  def found(data):
    (value, (_, metrics, _)), slope = graded(params, state, data, KEY)
    return value, metrics, slope

  expected = found(batch())
  for one, two in zip(jax.tree.leaves(expected), jax.tree.leaves(found(batch(more=10))),
                      strict=True):
    np.testing.assert_allclose(one, two, rtol=2e-4, atol=1e-6)
  masked = batch(masked=(1, 3))
  bad = {**masked, 'inputs': masked['inputs'].at[1].set(jnp.nan),
         'labels': masked['labels'].at[3].set(2)}
  for one, two in zip(jax.tree.leaves(found(masked)), jax.tree.leaves(found(bad)),
                      strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
  rest = jax.tree.map(lambda x: x[jnp.array([0, 2, 4])], batch())
  for one, two in zip(jax.tree.leaves(found(masked)), jax.tree.leaves(found(rest)),
                      strict=True):
    np.testing.assert_allclose(one, two, rtol=2e-4, atol=1e-6)


def test_a_search_is_guided_by_the_transcripts():
  counts = {'1': 9, '1 1': 9, '0 1': 1, '0': 1, '1 0': 1}
  asked = []

  def count(order):
    asked.append(order)
    return counts

  task, params, state = started(SMALL, beams=4, order=2, weight=50.0, bonus=0.0,
                                ngram_counts=count)
  assert asked == [2]
  _, outputs = evaluated(task, params, state, batch())
  assert {*np.unique(outputs['predictions']).tolist()} <= {0, 1}


@pytest.mark.parametrize(('settings', 'message'), [
  ({'beams': 0}, 'beams: must be >= 1, got 0'),
  ({'order': 3}, 'beams: must be > 1 with n-grams of order 3, got 1'),
  ({'order': -1}, 'order: must be >= 0, got -1'),
  ({'weight': -1.0}, 'weight >= 0, got -1.0 and 0.0'),
  ({'bonus': math.nan}, 'must be finite, and weight >= 0, got 0.5 and nan')])
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    ctc(SMALL, tokenizer=TOKENIZER, **settings)
  with pytest.raises(UserError, match='n-grams need ngram_counts'):
    ctc(SMALL, tokenizer=TOKENIZER, beams=2, order=2)


def test_models_and_data_that_do_not_fit():
  with pytest.raises(ValueError, match='the model gives 9 tokens, the tokenizer has 5'):
    task, params, state = started(RecurrentCtc(9, width=4, depth=1))
    task.loss(params, state, batch(), KEY, True)
  pytest.importorskip('jiwer', reason='jiwer is not installed')
  split = Split('train', 3, None, False, np.zeros(3, int), {}, None, print)
  with pytest.raises(UserError, match=r'labels must be tokens \[n, length\], got'):
    ctc(SMALL, tokenizer=TOKENIZER).check(split)
