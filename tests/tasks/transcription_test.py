"""Tests of tasks.transcription: one batch is learned; losses against optax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.data import tokenizers
from bigmodels.models import SpeechTransformer
from bigmodels.tasks import transcription
from tests.tasks import transcribing
from tests.tasks.transcribing import KEY, TEXTS

SPECIAL = ('pad', 'begin', 'end')
TOKENIZER = tokenizers.load(tokenizers.Characters(special=SPECIAL).fit(TEXTS))
SMALL = SpeechTransformer(TOKENIZER.size, width=24, depth=1, decoder_depth=1, heads=2,
                          halvings=1, channels=4, dropout=0.0)


def batch(**settings):
  data = transcribing.batch(**settings)
  labels = data['labels']
  return {**data, 'labels': jnp.where(labels > 0, labels + 2, 0)}


@pytest.mark.slow('train')
@pytest.mark.parametrize('beams', [1, 3])
def test_one_batch_is_learned(beams):
  task = transcription(SMALL, tokenizer=TOKENIZER, smoothing=0.0, beams=beams)
  data = batch()
  params, state = task.init(KEY, data)
  optimizer = optax.adam(1e-2)
  moments = optimizer.init(params)

  @jax.jit
  def step(params, moments):
    (value, _), slope = jax.value_and_grad(
      lambda p: task.loss(p, state, data, KEY, True), has_aux=True)(params)
    updates, moments = optimizer.update(slope, moments)
    return optax.apply_updates(params, updates), moments, value

  for _ in range(120):
    params, moments, value = step(params, moments)
  assert value < 0.1
  _, (_, metrics, outputs) = jax.jit(partial(task.loss, train=False))(
    params, state, data, KEY)
  assert task.answers(outputs) == {'prediction': TEXTS}
  assert metrics['accuracy'].compute() == 1


def test_the_loss_is_that_of_tokens_and_of_alignments():
  task = transcription(SMALL, tokenizer=TOKENIZER, smoothing=0.1, ctc=0.25)
  data = batch(masked=(1,))
  params, state = jax.jit(task.init)(KEY, data)
  value, (_, metrics, _) = jax.jit(partial(task.loss, train=True))(
    params, state, data, KEY)
  begin, end = 1, 2
  labels = np.asarray(data['labels'], int)
  inputs = np.concatenate([np.full((5, 1), begin), labels], 1)
  logits, outputs, sizes = jax.jit(partial(SMALL.apply, train=False))(
    {'params': params}, data['inputs'], inputs, lengths=data['lengths'])
  tokens, alignments, count = 0.0, 0.0, 0
  for row in (0, 2, 3, 4):
    text = [c for c in labels[row] if c]
    for step, token in enumerate([*text, end]):
      target = 0.9 * np.eye(TOKENIZER.size)[token] + 0.1 / TOKENIZER.size
      tokens -= float(target @ jax.nn.log_softmax(logits[row, step]))
      count += 1
    size = int(sizes[row])
    alignments += float(optax.ctc_loss(
      outputs[row : row + 1, :size], jnp.zeros((1, size)), jnp.array([text or [0]]),
      jnp.full((1, max(len(text), 1)), float(not text)))[0])
  assert metrics['loss'].count == count
  np.testing.assert_allclose(
    value, (0.75 * tokens + 0.25 * alignments) / count, rtol=1e-4)
  np.testing.assert_allclose(metrics['ctc'].total, alignments, rtol=1e-4)


def test_settings_are_checked():
  with pytest.raises(ValueError, match="needs a tokenizer with the special token 'beg"):
    transcription(SMALL, tokenizer=transcribing.TOKENIZER)
  for settings, message in (({'ctc': 1.0}, 'ctc: must be >= 0 and < 1, got 1.0'),
                            ({'smoothing': -1}, 'smoothing: must be >= 0 and < 1'),
                            ({'beams': 0}, 'beams: must be >= 1, got 0')):
    with pytest.raises(ValueError, match=message):
      transcription(SMALL, tokenizer=TOKENIZER, **settings)
