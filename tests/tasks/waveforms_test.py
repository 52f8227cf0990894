"""Tests of bigmodels.tasks.waveforms: the loss, its baselines, and generation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import in_memory
from bigmodels.layers.companding import from_mu_law, mu_law
from bigmodels.metrics import linear_prediction_bits, unigram_bits
from bigmodels.models import WaveNet
from bigmodels.tasks import decoding, waveform

MODEL = WaveNet(levels=32, classes=2, width=8, skip=12, depth=4, stacks=1)
PLAIN = WaveNet(levels=32, width=4, skip=4, depth=2, stacks=1)
KEY = jax.random.PRNGKey(0)
LENGTHS = np.array([60, 41, 7, 0], np.int32)


def sounds():
  """A tone of each class, int16, and padding of noise."""
  time = np.arange(60)
  rng = np.random.default_rng(0)
  found = np.stack([12_000 * np.sin((0.3 + 0.4 * (row % 2)) * time + row)
                    for row in range(4)])
  beyond = time >= LENGTHS[:, None]
  return np.where(beyond, rng.normal(0, 9000, (4, 60)), found).astype(np.int16)


COLUMNS = {'inputs': sounds(), 'lengths': LENGTHS,
           'labels': np.array([0, 1, 0, 1], np.int32)}
TRAINING = in_memory(COLUMNS, ('low', 'high'))
TASK = waveform(MODEL, rate=100, training=TRAINING)


def batch(mask=(1, 1, 1, 1)):
  return {**{name: jnp.asarray(x) for name, x in COLUMNS.items()},
          'mask': jnp.asarray(mask, jnp.float32), 'row': jnp.arange(4)}


@pytest.fixture(scope='module')
def params():
  return jax.jit(TASK.init)(KEY, batch())[0]


@pytest.fixture(scope='module')
def evaluate():
  return jax.jit(partial(TASK.loss, train=False))


@pytest.mark.parametrize('mask', [(1, 1, 1, 1), (1, 0, 1, 1)])
def test_the_loss_is_of_real_samples(params, evaluate, mask):
  value, (_, found, outputs) = evaluate(params, {}, batch(mask), KEY)
  read = jax.jit(lambda levels, label: MODEL.apply(
    {'params': params}, levels[None], label[None], train=False)[0])
  total, count = 0.0, 0
  for row in range(4):
    if not mask[row] or not LENGTHS[row]:
      continue
    levels = mu_law(jnp.asarray(COLUMNS['inputs'][row, : LENGTHS[row]] / 2**15), 32)
    before = np.full(60, 16)  # what follows a sample does not matter
    before[1 : LENGTHS[row]] = levels[:-1]
    logits = read(before, np.array(row % 2))[: LENGTHS[row]]
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, levels).sum()
    assert outputs['nats'][row] == pytest.approx(float(nats), rel=1e-4)
    total, count = total + nats, count + LENGTHS[row]
  assert value == pytest.approx(float(total / count), rel=1e-4)
  assert found['loss'].count == count
  assert found['bits_per_sample'].compute() == pytest.approx(
    float(value) / np.log(2), rel=1e-5)


def test_weights_of_an_excerpt_count(params):
  given = batch() | {'weights': jnp.zeros((4, 60)).at[0, 50:].set(1)}
  loss = jax.jit(partial(TASK.loss, train=True))
  value, (_, found, outputs) = loss(params, {}, given, KEY)
  assert found['loss'].count == 10 and outputs['tokens'].tolist() == [10, 0, 0, 0]
  assert outputs['nats'][0] / 10 == pytest.approx(float(value))


def test_baselines_are_of_the_same_samples(params, evaluate):
  _, (_, _, outputs) = evaluate(params, {}, batch(), KEY)
  found = TASK.summarize({name: np.asarray(x) for name, x in outputs.items()})
  levels = [np.asarray(mu_law(jnp.asarray(x[:n] / 2**15), 32))
            for x, n in zip(COLUMNS['inputs'], LENGTHS, strict=True) if n]
  assert found == {
    'bits_of_linear_prediction': linear_prediction_bits(levels, levels, 32, 16),
    'bits_of_levels': unigram_bits(levels, levels, 32)}


def test_overfits_one_batch(params):
  optimizer = optax.adam(1e-2)

  @jax.jit
  def train(params):
    def step(carried, _):
      params, state = carried
      (value, _), grads = jax.value_and_grad(
        partial(TASK.loss, train=True), has_aux=True)(params, {}, batch(), KEY)
      updates, state = optimizer.update(grads, state)
      return (optax.apply_updates(params, updates), state), value
    return jax.lax.scan(step, (params, optimizer.init(params)), None, length=250)[1]

  losses = train(params)
  assert losses[0] > 3 and losses[-1] < 0.15


def test_generated_sounds_are_those_of_a_plain_loop(params):
  """Without a cache: the whole sound is read again for each sample."""
  found = TASK.sounds(params, {}, ['high', 'low'], KEY, decoding.Settings(), 0.2)
  levels = np.full((2, 21), 16)
  read = jax.jit(lambda levels: MODEL.apply(
    {'params': params}, levels, np.array([1, 0]), train=False))
  for i in range(20):
    logits = read(levels)[:, i]
    levels[:, i + 1] = decoding.choose(jax.random.fold_in(KEY, i), logits)
  for sound, expected in zip(found, levels[:, 1:], strict=True):
    assert sound.rate == 100 and sound.seconds == 0.2
    np.testing.assert_array_equal(
      sound.samples, from_mu_law(jnp.asarray(expected), 32))
  assert len(np.unique(levels)) > 10


def test_lengths_draws_and_no_classes(params):
  plain = waveform(PLAIN, rate=100, training=TRAINING)
  variables, _ = jax.jit(plain.init)(KEY, batch())
  sound, = plain.sounds(variables, {}, [''], KEY, decoding.Settings(), None)
  assert sound.seconds == 1.0
  same = [plain.sounds(variables, {}, [''], jax.random.PRNGKey(seed),
                       decoding.Settings(temperature=0), 0.1)[0].samples
          for seed in (0, 1)]
  np.testing.assert_array_equal(*same)


@pytest.mark.parametrize(('model', 'prompt', 'settings', 'message'), [
  (MODEL, 'hihg', {}, "--prompt='hihg': must be a class; did you mean 'high'"),
  (MODEL, '', {}, "--prompt='': must be a class"),
  (PLAIN, 'low', {}, "--prompt='low': the model is not conditioned on classes"),
  (MODEL, 'low', {'beams': 3}, '--beams: sounds are sampled'),
  (MODEL, 'low', {'stop': ('.',)}, '--stop: sounds are sampled')])
def test_what_is_refused(model, prompt, settings, message):
  task = waveform(model, rate=100, training=TRAINING)
  with pytest.raises(UserError, match=message):
    task.sounds({}, {}, [prompt], KEY, decoding.Settings(**settings), None)


@pytest.mark.parametrize(('classes', 'message'), [
  (('a', 'b', 'c'), 'the model has 2 classes, the data 3: set --config.model.cl'),
  (None, 'the model has classes, the data has none')])
def test_classes_that_do_not_fit(classes, message):
  training = TRAINING._replace(classes=classes)
  waveform(PLAIN, rate=100, training=training)
  with pytest.raises(UserError, match=message):
    waveform(MODEL, rate=100, training=training)


def test_samples_for_the_report(params):
  found = TASK.samples(params, {}, lambda rows: COLUMNS['inputs'][rows], 4)
  table = found['Sounds that the model makes']
  assert [row[0] for row in table.rows] == ['low', 'high']
  assert all(row[1].seconds == 1.0 for row in table.rows)
  assert hasattr(found['Spectrograms'], 'savefig')
