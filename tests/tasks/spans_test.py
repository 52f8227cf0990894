"""Tests of bigmodels.tasks.spans: against plain loops, and each question once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import data, models
from bigmodels.data.texts.questions import Answer, Questions
from bigmodels.data.tokenizers import Words
from bigmodels.tasks import answer_spans
from bigmodels.tasks.spans import best_spans
from tests.data.given import Given, context

KEY = jax.random.key(0)
TEXTS = [' '.join(f'w{(7 * i + n) % 40}' for i in range(n)) for n in (9, 30, 17)]
ASKED = Questions(
  TEXTS, [0, 1, 1, 2], ['where ?', 'who is w3 ?', 'what ?', 'why w1 ?'],
  [tuple(Answer(t, TEXTS[of].find(t), TEXTS[of].find(t) + len(t)) for t in (
    ' '.join(TEXTS[of].split()[a:b]),)) for of, a, b in (
      (0, 2, 4), (1, 26, 29), (1, 0, 1), (2, 5, 7))], list('abcd'))


def columns_of(length, selected='test', **settings):
  source = data.QuestionWindows(
    Given({'train': ASKED, 'test': ASKED}),
    Words(60, special=('pad', 'unknown', 'class', 'separator')), length,
    selected=selected, **{'stride': 5, 'question': 6, **settings})
  found = source.open(context())
  return found.load(), found.tokenizer.size


def batch_of(columns, masked=()):
  count = len(columns['inputs'])
  mask = np.isin(np.arange(count), masked, invert=True).astype(np.float32)
  return {**jax.tree.map(jnp.asarray, columns), 'mask': jnp.asarray(mask)}


def model_of(size, length=20, **settings):
  return models.BertSpans(models.Bert(
    size, length=length, depth=1, width=16, heads=2, types=3, unroll=True,
    dropout=0.0, attention_dropout=0.0, **settings))


def params_of(task, batch):
  shapes, _ = jax.eval_shape(task.init, KEY, batch)
  rng = np.random.default_rng(3)
  return jax.tree.map(lambda x: np.float32(0.4 * rng.normal(size=x.shape)), shapes)


def test_the_best_span_is_that_of_a_loop():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(5, 3, 12, 2)).astype(np.float32)
  offsets = np.sort(rng.integers(0, 99, (5, 3, 12, 2)), -1).astype(np.int32)
  offsets[:, :, :3] = -1
  offsets[1, 2], offsets[2, 1:] = -1, -1  # windows without tokens
  for longest in (1, 4, 50):
    found = jax.device_get(jax.jit(partial(best_spans, longest=longest))(
      logits, offsets))
    for row in range(5):
      scores = {(w, i, j): logits[row, w, i, 0] + logits[row, w, j, 1]
                for w in range(3) for i in range(12) if offsets[row, w, i, 0] >= 0
                for j in range(i, min(12, i + longest)) if offsets[row, w, j, 0] >= 0}
      w, i, j = max(scores, key=scores.get)
      assert found['start'][row] == offsets[row, w, i, 0]
      assert found['end'][row] == offsets[row, w, j, 1]
      total = sum(np.exp(np.float64(s)) for s in scores.values())
      np.testing.assert_allclose(
        found['probability'][row], np.exp(np.float64(scores[w, i, j])) / total,
        rtol=1e-4)


def test_the_loss_is_that_of_a_loop_over_windows():
  columns, size = columns_of(20)
  model = model_of(size)
  task, batch = answer_spans(model), batch_of(columns, masked=[2])
  params = params_of(task, batch)
  loss, (_, found, outputs) = jax.jit(partial(task.loss, train=False))(
    params, {}, batch, KEY)
  forward, values = jax.jit(partial(model.apply, train=False)), []
  for row in (0, 1, 3):
    for window in range(columns['inputs'].shape[1]):
      first, last = columns['labels'][row, window]
      if first < 0:
        continue
      at = (slice(row, row + 1), window)
      logits = np.array(forward(
        {'params': params}, columns['inputs'][at], segments=columns['segments'][at],
        types=columns['types'][at]))[0].astype(np.float64)
      there = columns['offsets'][row, window][:, 0] >= 0
      there[0] = True  # the class token, for windows without the answer
      logp = [logits[there, i] - np.log(np.exp(logits[there, i]).sum()) for i in (0, 1)]
      index = np.cumsum(there) - 1
      values.append(-(logp[0][index[first]] + logp[1][index[last]]) / 2)
  assert found['loss'].count == len(values) > 5
  np.testing.assert_allclose(loss, np.mean(values), rtol=1e-4)
  summary = task.summarize({k: np.asarray(v)[[0, 1, 3]] for k, v in outputs.items()})
  assert set(summary) == {'f1', 'exact_match'} and 0 <= summary['f1'] <= 100


def test_windows_that_are_padding_and_wider_windows_change_nothing():
  columns, size = columns_of(20)
  task = answer_spans(model_of(size, length=24))
  batch = batch_of(columns)
  params = params_of(task, batch)
  run = jax.jit(partial(task.loss, train=False))
  loss, (_, found, outputs) = run(params, {}, batch, KEY)

  def padded(name, x):
    if name in ('context', 'answers', 'mask'):
      return x
    wide = [(0, 0), (0, 2), (0, 4 if name != 'labels' else 0), (0, 0)][: x.ndim]
    return np.pad(x, wide, constant_values=-1 if name in ('labels', 'offsets') else 0)

  more = {name: padded(name, np.asarray(x)) for name, x in batch.items()}
  again, (_, found_again, outputs_again) = run(params, {}, more, KEY)
  np.testing.assert_allclose(again, loss, rtol=1e-5)
  assert found_again['loss'].count == found['loss'].count
  for name in ('start', 'end'):
    np.testing.assert_array_equal(outputs_again[name], outputs[name])
  np.testing.assert_allclose(outputs_again['probability'], outputs['probability'],
                             rtol=1e-4)


def test_it_learns_one_batch_and_finds_all_answers():
  columns, size = columns_of(20)
  trained, _ = columns_of(20, 'train')
  task = answer_spans(model_of(size))
  batch, test = batch_of(trained), batch_of(columns)
  params, _ = jax.jit(task.init)(KEY, batch)
  optimizer = optax.adam(1e-2)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state):
    (loss, _), grads = jax.value_and_grad(
      partial(task.loss, train=True), has_aux=True)(params, {}, batch, KEY)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, loss

  for _ in range(120):
    params, state, loss = step(params, state)
  assert loss < 0.05
  _, (_, _, outputs) = jax.jit(partial(task.loss, train=False))(params, {}, test, KEY)
  outputs = jax.device_get(outputs)
  assert task.summarize(outputs) == {'f1': 100, 'exact_match': 100}
  assert task.answers(outputs)['prediction'] == [each[0].text for each in ASKED.answers]


def test_what_is_refused():
  with pytest.raises(ValueError, match='longest: must be >= 1, got 0'):
    answer_spans(model_of(9), longest=0)
  columns, size = columns_of(20)
  flat = {**batch_of(columns), 'inputs': jnp.asarray(columns['inputs'][:, 0])}
  task = answer_spans(model_of(size))
  with pytest.raises(ValueError, match=r'needs inputs \[batch, windows, length\]'):
    task.loss(params_of(task, batch_of(columns)), {}, flat, KEY, False)
