"""Tests of bigmodels.tasks.synthesis: the loss, speech, and what is refused."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.layers.spectra import Mel, log_mel
from bigmodels.models import Tacotron
from bigmodels.plots import Inputs, Sound, Table
from bigmodels.tasks import decoding, synthesis

KEY = jax.random.PRNGKey(0)
TEXTS = ('ab', 'b a', 'abba')
TOKENIZER = tokenizers.load(tokenizers.Characters(special=('pad',)).fit(TEXTS))
MEL = Mel(rate=1000, window=40, hop=20, fft=64, bins=6, power=1, floor=0.01)
MODEL = Tacotron(TOKENIZER.size, bins=6, width=16, attention=8, filters=4,
                 filter_size=5, prenet=16, decoder=24, postnet=16, frames_per_step=2,
                 dropout=0.0, prenet_dropout=0.2, zoneout=0.0)


def make(**settings):
  return synthesis(MODEL, **{'tokenizer': TOKENIZER, 'mel': MEL, 'seconds': 0.4,
                             'open_run': None, 'iterations': 4, **settings})


TASK = make()


def sounds():
  """A tone for each character, one after the other; their lengths."""
  found = np.zeros((3, 4 * 80), np.float32)
  for row, text in zip(found, TEXTS, strict=True):
    for place, character in enumerate(text):
      pitch = {'a': 0.4, 'b': 1.3, ' ': 0.0}[character]
      row[place * 80 : place * 80 + 80] = 0.5 * np.sin(pitch * np.arange(80))
  return found, np.array([80 * len(text) for text in TEXTS])


def batch(mask=(1, 1, 1)):
  samples, lengths = sounds()
  tokens = np.zeros((3, 4), np.int32)
  for row, text in zip(tokens, TEXTS, strict=True):
    row[: len(text)] = TOKENIZER.encode(text)
  return {'inputs': log_mel(jnp.asarray(samples), MEL), 'labels': jnp.asarray(tokens),
          'lengths': jnp.asarray(MEL.frames(lengths)), 'row': jnp.arange(3),
          'mask': jnp.asarray(mask, jnp.float32)}


@pytest.fixture(scope='module')
def variables():
  return jax.jit(TASK.init)(KEY, batch())


@pytest.fixture(scope='module')
def outputs(variables):
  found = jax.jit(partial(TASK.loss, train=False))(*variables, batch(), KEY)
  return jax.device_get(found[1][2])


def test_the_loss_against_numpy(variables):
  data = batch(mask=(1, 0, 1))
  value, (_, found, _) = jax.jit(partial(TASK.loss, train=False))(*variables, data, KEY)
  params, state = variables
  made = jax.jit(lambda: MODEL.apply(
    {'params': params, **state}, data['labels'] * data['mask'][:, None].astype(int),
    data['inputs'], lengths=data['lengths'], rows=data['row'], train=False,
    rngs={'dropout': KEY}))()
  total = {'frames': 0.0, 'stop': 0.0, 'attention': 0.0, 'before': 0.0}
  count = 0
  for row in (0, 2):
    length, characters = int(data['lengths'][row]), len(TEXTS[row])
    steps = -(-length // 2)
    for name, frames in (('before', made.before), ('frames', made.after)):
      errors = np.asarray(frames[row, :length] - data['inputs'][row, :length])
      total[name] += (errors**2).mean(1).sum()
    for step in range(steps):
      probability = 1 / (1 + np.exp(-float(made.stop[row, step])))
      total['stop'] += 2 * (-5 * np.log(probability) if step == steps - 1 else
                            -np.log(1 - probability))
      for at in range(characters):
        away = 1 - np.exp(-(step / steps - at / characters) ** 2 / (2 * 0.2**2))
        total['attention'] += 2 * away * float(made.alignment[row, step, at])
    count += length
  for name in ('frames', 'stop', 'attention'):
    assert found[f'{name}_loss'].compute() == pytest.approx(
      total[name] / count, rel=1e-3), name
  assert found['loss'].count == count
  assert value == pytest.approx(sum(total.values()) / count, rel=1e-3)


def test_halves_add_up(variables):
  evaluate = jax.jit(partial(TASK.loss, train=False))
  whole = evaluate(*variables, batch(), KEY)[1]
  parts = [evaluate(*variables, batch(mask), KEY)[1]
           for mask in ((1, 0, 0), (0, 1, 1))]
  added = jax.tree.map(jnp.add, *(part[1] for part in parts))
  for name, mean in whole[1].items():
    np.testing.assert_allclose(mean, added[name], rtol=1e-4)
  np.testing.assert_allclose(parts[1][2]['made'][1:], whole[2]['made'][1:], atol=1e-4)


@pytest.mark.slow('train')
def test_overfits_one_batch_and_then_speaks(variables):
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
  train_loss = jax.value_and_grad(partial(TASK.loss, train=True), has_aux=True)

  @jax.jit
  def train(variables):
    def step(carried, key):
      params, state, moments = carried
      (_, (state, found, _)), grads = train_loss(params, state, batch(), key)
      updates, moments = optimizer.update(grads, moments)
      return (optax.apply_updates(params, updates), state, moments), (
        found['frames_loss'].total / found['frames_loss'].count)
    return jax.lax.scan(step, (*variables, optimizer.init(variables[0])),
                        jax.random.split(KEY, 600))

  (params, state, _), losses = train(variables)
  assert losses[-20:].mean() < 0.15 * losses[:5].mean()
  said = TASK.sounds(params, state, ['abba', 'ab'], KEY, decoding.Settings(), None)
  lengths = [sound.seconds for sound in said]
  assert not any(sound.note for sound in said)  # of both the end was predicted
  np.testing.assert_allclose(lengths, [0.32, 0.16], atol=0.081)
  found = jax.device_get(jax.jit(partial(TASK.loss, train=False))(
    params, state, batch(), KEY)[1][2])
  summary = TASK.summarize(found)
  assert summary['ended'] == 1 and summary['reached'] == 1
  assert summary['diagonal'] > 0.7


def test_what_an_evaluation_says(outputs):
  found = TASK.summarize(outputs)
  assert found['mel_cepstral_distortion'] > 0
  assert set(found) == {'mel_cepstral_distortion', 'mel_cepstral_distortion_copied',
                        'ended', 'focus', 'diagonal', 'monotonic', 'reached'}
  assert found['ended'] == outputs['ended'].mean()


def run_of(said, rate=1000, answers=True):
  """A recognizer that returns given transcripts."""
  heard = []

  def predict(sounds):
    heard.append(sounds)
    return {'predictions': np.arange(len(sounds))}

  task = SimpleNamespace(answers=(lambda outputs: {
    'prediction': [said[i] for i in outputs['predictions']]}) if answers else None)
  return SimpleNamespace(reader=SimpleNamespace(rate=rate), predict=predict,
                         built=SimpleNamespace(task=task), name='hearer', heard=heard)


def test_a_recognizer_hears_what_was_said(outputs):
  pytest.importorskip('jiwer', reason='jiwer is not installed: pip install -r '
                                      'requirements-audio.txt')
  run = run_of(['AB', 'b  a!', 'abb'])
  found = make(recognizer='runs/x', open_run=lambda path: run).summarize(outputs)
  assert found['cer'] == pytest.approx(1 / 9)  # of ab, b a and abba
  assert found['wer'] == found['wer_copied'] == pytest.approx(1 / 4)
  made, copied = run.heard
  assert [len(x) for x in made] == [(n - 1) * 20 for n in outputs['lengths']]
  assert [len(x) for x in copied] == [(n - 1) * 20 for n in outputs['true_lengths']]
  assert max(np.abs(x).max() for x in made + copied) <= 1


@pytest.mark.parametrize(('run', 'message'), [
  (run_of([], rate=8000), 'runs/x: it hears 8,000 samples per second, these .* 1,000'),
  (run_of([], answers=False), 'runs/x: hearer transcribes no sounds')])
def test_recognizers_that_do_not_fit(run, message):
  make(recognizer='runs/x', open_run=lambda path: None)  # as to sample
  with pytest.raises(UserError, match=f'--config.task.recognizer={message}'):
    make(recognizer='runs/x', open_run=lambda path: run)


def test_speech_that_does_not_end_is_cut_and_said(variables):
  params, state = variables
  params = jax.tree.map(lambda x: x, params)
  params['stop']['bias'] = jnp.full(1, -50.0)
  one, = TASK.sounds(params, state, ['ab'], KEY, decoding.Settings(), None)
  assert one.note == 'no end was predicted: cut at 0.4 s (--seconds)'
  assert one.seconds == pytest.approx(0.4, abs=0.03)
  one, = TASK.sounds(params, state, ['ab'], KEY, decoding.Settings(), 0.2)
  assert 'cut at 0.2 s' in one.note and one.seconds == pytest.approx(0.2, abs=0.03)


def test_prompts_in_another_case_and_with_other_characters(variables):
  one, = TASK.sounds(*variables, ['AB'], KEY, decoding.Settings(), 0.1)
  assert one.note.startswith("spoken as 'ab'")
  same, = TASK.sounds(*variables, ['ab'], KEY, decoding.Settings(), 0.1)
  np.testing.assert_array_equal(one.samples, same.samples)
  for prompt, message in (('abc', "the character 'c' at position 2"),
                          ('', 'must be a text to speak'), ('  ', 'must be a text')):
    with pytest.raises(UserError, match=f'--prompt: {message}'):
      TASK.sounds(*variables, [prompt], KEY, decoding.Settings(), None)


@pytest.mark.parametrize('given', [
  {'temperature': 0.5}, {'top_k': 3}, {'top_p': 0.5}, {'beams': 2}, {'stop': ('a',)}])
def test_settings_of_tokens_are_refused(variables, given):
  name, = given
  with pytest.raises(UserError, match=f'--{name}='):
    TASK.sounds(*variables, ['ab'], KEY, decoding.Settings(**given), None)


@pytest.mark.parametrize(('given', 'message'), [
  ({'guided': -1.0}, 'guided: must be >= 0, got -1.0'),
  ({'seconds': 0.0}, 'seconds: must be > 0 and <= 3,600, got 0.0'),
  ({'iterations': -1}, 'iterations: must be >= 0, got -1'),
  ({'mel': Mel(preemphasis=0.9)}, 'mel: must be centered and without preemphasis')])
def test_tasks_that_cannot_be(given, message):
  with pytest.raises(ValueError, match=message):
    make(**given)


def test_columns_that_cannot_be():
  data = batch()
  for change, message in (
    ({'inputs': jnp.zeros((3, 320))}, 'end the transforms with log_mel'),
    ({'inputs': data['inputs'][..., :4]}, 'of 6 bins, got inputs'),
    ({'labels': jnp.zeros(3, int)}, r'labels \[batch, tokens\], got \(3,\)')):
    with pytest.raises(ValueError, match=message):
      TASK.loss({}, {}, {**data, **change}, KEY, train=False)
  del data['lengths']
  with pytest.raises(ValueError, match="needs the column 'lengths', the data has"):
    TASK.init(KEY, data)


def test_plots(outputs):
  assert TASK.inputs[0] == 'inputs'  # of which a report reads the recordings
  samples, _ = sounds()
  found = TASK.plots(outputs, Inputs(lambda rows: samples[rows]), None)
  table = found['Spoken texts']
  assert isinstance(table, Table) and [row[0] for row in table.rows] == [*TEXTS]
  for row in table.rows:
    assert all(isinstance(cell, Sound) and cell.rate == 1000 for cell in row[1:])
  np.testing.assert_array_equal(table.rows[2][1].samples, samples[2])
  assert {*found} == {'Spoken texts', 'Spectrograms', 'Attention'}
