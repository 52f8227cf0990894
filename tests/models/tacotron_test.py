"""Tests of bigmodels.models.tacotron: attention, padding, and speaking."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Tacotron

SMALL = partial(Tacotron, 12, bins=5, width=8, attention=6, filters=3, filter_size=5,
                prenet=7, decoder=9, postnet=8, frames_per_step=2)
MODEL = SMALL()
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TOKENS = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0], [7, 0, 0, 0, 0, 0]])
LENGTHS = np.array([9, 4, 1])
FRAMES = RNG.normal(size=(3, 10, 5)).astype(np.float32)
BEYOND = np.arange(10) >= LENGTHS[:, None]
NOISY = np.where(BEYOND[..., None], 100.0, FRAMES).astype(np.float32)
ROWS = np.arange(3)


def drawn(model, stop=0.0):
  """Variables as large as initial values; and the bias of the end."""
  shapes = jax.eval_shape(lambda: model.init(
    {'params': KEY, 'dropout': KEY}, TOKENS, FRAMES, lengths=LENGTHS, train=False))
  rng = np.random.default_rng(1)

  def draw(path, x):
    positive = path[-1].key in ('scale', 'var')
    return np.float32(positive + (0.1 if positive else 0.4) * rng.normal(size=x.shape))

  found = jax.tree.map_with_path(draw, shapes)
  found['params']['stop']['bias'][:] = stop
  return found


VARIABLES = drawn(MODEL)


@partial(jax.jit, static_argnums=0)
def read(model, variables, tokens, frames, lengths, rows=ROWS):
  return model.apply(variables, tokens, frames, lengths=lengths, rows=rows, train=False,
                     rngs={'dropout': KEY})


@partial(jax.jit, static_argnums=0)
def speak(model, variables, tokens, rows):
  """At most 5 steps, of 10 frames."""
  return model.apply(variables, tokens, steps=5, rows=rows, rngs={'dropout': KEY},
                     method='speak')


def test_attention_sums_to_one_over_the_text():
  found = read(MODEL, VARIABLES, TOKENS, FRAMES, LENGTHS)
  alignment = np.asarray(found.alignment)
  assert alignment.shape == (3, 5, 6)
  steps = np.arange(5) < -(-LENGTHS // 2)[:, None]
  np.testing.assert_allclose(alignment.sum(-1), steps, atol=1e-6)
  assert not alignment[np.broadcast_to((TOKENS == 0)[:, None], alignment.shape)].any()
  assert (alignment[0, :5] > 0).all() and alignment[0].std() > 0.001


def test_padding_changes_nothing():
  # With more frames there are more numbers to draw: without dropout they are the same.
  dry = SMALL(prenet_dropout=0.0)
  expected = read(dry, VARIABLES, TOKENS, FRAMES, LENGTHS)
  wider = np.pad(TOKENS, ((0, 0), (0, 4)))
  longer = np.pad(NOISY, ((0, 0), (0, 5), (0, 0)), constant_values=7.0)
  for tokens, frames in ((TOKENS, NOISY), (wider, longer)):
    found = read(dry, VARIABLES, tokens, frames, LENGTHS)
    for row, length in enumerate(LENGTHS):
      for name in ('before', 'after'):
        np.testing.assert_allclose(
          getattr(found, name)[row, :length], getattr(expected, name)[row, :length],
          atol=1e-5)
      assert not np.asarray(found.after)[row, length:].any()
      steps = -(-length // 2)
      np.testing.assert_allclose(found.stop[row, :steps], expected.stop[row, :steps],
                                 atol=1e-5)
      np.testing.assert_allclose(
        found.alignment[row, :steps, :6], expected.alignment[row, :steps], atol=1e-5)


def test_padding_changes_neither_gradients_nor_batch_statistics():
  model = SMALL(dropout=0.0, prenet_dropout=0.0, zoneout=0.0)

  @jax.jit
  def gradient(frames):
    def loss(params, frames):
      found, updated = model.apply(
        {**VARIABLES, 'params': params}, TOKENS, frames, lengths=jnp.asarray(LENGTHS),
        train=True, rngs={'dropout': KEY}, mutable=['batch_stats'])
      return jnp.sum(jnp.sin(found.after)) + jnp.sum(found.alignment**2), updated
    return jax.grad(loss, (0, 1), has_aux=True)(VARIABLES['params'], frames)

  expected, found = gradient(FRAMES), gradient(NOISY)
  jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), found,
               expected)
  (of_params, of_frames), _ = expected
  assert np.mean([np.abs(x).max() > 0 for x in jax.tree.leaves(of_params)]) > 0.9
  assert not np.asarray(of_frames)[BEYOND].any()
  # The last frame of each step but the last is read, unless all of it is padding.
  reads = np.abs(of_frames).sum(-1) > 0
  np.testing.assert_array_equal(reads[0], [i % 2 == 1 and i < 8 for i in range(10)])


def test_speaking_is_reading_what_was_said():
  """With its own frames as true ones, a step of training is a step of speech."""
  said = speak(MODEL, drawn(MODEL, stop=-50), TOKENS, ROWS)
  found = read(MODEL, VARIABLES, TOKENS, said.before, np.full(3, 10))
  for name in ('before', 'after', 'alignment'):
    np.testing.assert_allclose(getattr(found, name), getattr(said, name), atol=1e-4)
  np.testing.assert_allclose(np.asarray(found.stop) - VARIABLES['params']['stop'][
    'bias'], np.asarray(said.stop) + 50, atol=1e-4)


def test_the_end():
  for bias, lengths, ended in ((50, 2, True), (-50, 10, False)):
    said = speak(MODEL, drawn(MODEL, stop=bias), TOKENS, ROWS)
    assert said.lengths.tolist() == [lengths] * 3
    assert said.ended.tolist() == [ended] * 3
    assert said.after.shape == (3, 10, 5)
    assert not np.asarray(said.after)[:, lengths:].any()
    assert not np.asarray(said.alignment)[:, lengths // 2:].any()


def test_each_text_ends_for_itself():
  """About half of the steps of all texts could be the last one."""
  never = speak(MODEL, drawn(MODEL, stop=-50), TOKENS, ROWS)
  logits = np.asarray(never.stop) + 50
  threshold = np.sort(logits, axis=None)[7:9].mean()
  variables = drawn(MODEL, stop=-threshold)
  said = speak(MODEL, variables, TOKENS, ROWS)
  for row, each in enumerate(logits):
    ends = np.flatnonzero(each > threshold)
    assert said.lengths[row] == (2 * (ends[0] + 1) if len(ends) else 10)
    assert said.ended[row] == bool(len(ends))
    length = int(said.lengths[row])
    np.testing.assert_allclose(said.before[row, :length], never.before[row, :length],
                               atol=1e-4)
  # As among others: in every row of a batch the same.
  alone = speak(MODEL, variables, TOKENS[[1, 1, 1]], ROWS[[1, 1, 1]])
  np.testing.assert_allclose(alone.after[0], said.after[1], atol=1e-4)


def test_random_numbers_are_those_of_an_example():
  one = read(MODEL, VARIABLES, TOKENS, FRAMES, LENGTHS)
  other = read(MODEL, VARIABLES, TOKENS, FRAMES, LENGTHS, ROWS + 1)
  assert np.abs(one.after - other.after).max() > 1e-3
  turned = read(MODEL, VARIABLES, TOKENS[::-1], FRAMES[::-1], LENGTHS[::-1], ROWS[::-1])
  np.testing.assert_allclose(turned.after[::-1], one.after, atol=1e-5)
  dry = SMALL(prenet_dropout=0.0)
  same = [read(dry, VARIABLES, TOKENS, FRAMES, LENGTHS, rows).after
          for rows in (ROWS, ROWS + 1)]
  np.testing.assert_array_equal(*same)


def test_the_postnet_is_not_read_by_the_decoder():
  changed = jax.tree.map(np.copy, VARIABLES)
  changed['params']['postnet_layers']['conv_4']['kernel'][:] += 1
  one, other = (read(MODEL, v, TOKENS, FRAMES, LENGTHS) for v in (VARIABLES, changed))
  np.testing.assert_array_equal(one.before, other.before)
  assert np.abs(one.after - other.after).max() > 0.1


@pytest.mark.parametrize(('given', 'message'), [
  ({'width': 7}, 'width: must be even, got 7'),
  ({'filter_size': 4}, 'filter_size: must be odd, got 4'),
  ({'frames_per_step': 0}, 'frames_per_step: must be >= 1, got 0'),
  ({'zoneout': 1.0}, 'zoneout: must be >= 0 and < 1, got 1.0')])
def test_settings_that_are_refused(given, message):
  with pytest.raises(ValueError, match=message):
    SMALL(**given)
