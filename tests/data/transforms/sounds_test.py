"""Tests of transforms of sounds: against plain loops; padding is never read."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.data import transforms
from bigmodels.data.transforms import sounds
from bigmodels.layers.spectra import Mel
from bigmodels.parallel.random import slice_key

KEY = jax.random.PRNGKey(3)
MEL = Mel(rate=8000, window=200, hop=80, bins=20)
LENGTHS = np.array([800, 500, 0, 333])
RNG = np.random.default_rng(0)
WAVES = RNG.uniform(-0.5, 0.5, (4, 800)).astype(np.float32)
FRAMES = RNG.normal(size=(4, 30, 6)).astype(np.float32)
COUNTS = np.array([30, 12, 1, 25])


def waves(padding=0.0, more=0):
  real = np.arange(800 + more) < LENGTHS[:, None]
  inputs = np.where(real, np.pad(WAVES, ((0, 0), (0, more))), padding)
  return {'inputs': jnp.asarray(inputs, jnp.float32), 'lengths': jnp.asarray(LENGTHS)}


def frames(padding=0.0, more=0):
  real = np.arange(30 + more) < COUNTS[:, None]
  inputs = np.where(real[..., None], np.pad(FRAMES, ((0, 0), (0, more), (0, 0))),
                    padding)
  return {'inputs': jnp.asarray(inputs, jnp.float32), 'lengths': jnp.asarray(COUNTS)}


OF_WAVES = [partial(transforms.mfcc, mel=MEL), transforms.speed,
            partial(transforms.delay, steps=50), transforms.tilt]
OF_FRAMES = [transforms.with_deltas, transforms.normalize_frames, transforms.warp_bands]
# Of their random numbers, or what is cut, there are more if there is more padding.
OTHERS = [(partial(transforms.speed, grow=False), waves),
          (transforms.background, frames),
          (partial(transforms.spec_augment, band=3, gap=5), frames)]
STABLE = [*((each, waves) for each in OF_WAVES),
          *((each, frames) for each in OF_FRAMES)]


@pytest.mark.parametrize(('transform', 'made'), [*STABLE, *OTHERS])
def test_padding_is_not_read(transform, made):
  expected, found = (jax.jit(transform)(made(padding), KEY) for padding in (0, 7.0))
  for name in expected:
    np.testing.assert_array_equal(expected[name], found[name], name)
  lengths = np.asarray(found['lengths'])
  beyond = np.arange(found['inputs'].shape[1]) >= lengths[:, None]
  assert not np.asarray(found['inputs'])[beyond].any()
  assert np.isfinite(found['inputs']).all()


@pytest.mark.parametrize(('transform', 'made'), STABLE)
def test_more_padding_changes_nothing(transform, made):
  expected, found = (jax.jit(transform)(made(more=more), KEY) for more in (0, 80))
  size = expected['inputs'].shape[1]
  np.testing.assert_array_equal(expected['lengths'], found['lengths'])
  np.testing.assert_allclose(expected['inputs'], found['inputs'][:, :size], atol=1e-5)


@pytest.mark.parametrize(('transform', 'made'), [*STABLE, *OTHERS])
def test_slices_of_a_batch_are_those_of_the_whole(transform, made):
  """Random numbers are drawn per example, by a function of the key."""
  whole, jitted = jax.jit(transform)(made(), KEY), jax.jit(transform)
  for index in range(2):
    part = jax.tree.map(lambda x, i=index: x[2 * i : 2 * i + 2], made())
    found = jitted(part, slice_key(KEY, index))
    for name in whole:
      np.testing.assert_allclose(
        found[name], whole[name][2 * index : 2 * index + 2], atol=1e-6)


def test_speed_is_interpolation():
  batch = {'inputs': waves()['inputs'][:1], 'lengths': jnp.array([800])}
  for factor in (0.8, 1.0, 1.25):
    found = sounds.speed(batch, KEY, low=factor, high=factor)
    length = int(found['lengths'][0])
    assert length == int(800 / factor)
    expected = np.interp(np.arange(length) * factor, np.arange(800), WAVES[0])
    np.testing.assert_allclose(found['inputs'][0, :length], expected, atol=1e-4)
  with pytest.raises(ValueError, match=r'low and high must be in order, 0.25 to 4, got '
                                       r'1.2 and 0.9'):
    sounds.speed(batch, KEY, low=1.2, high=0.9)


def test_delay_shifts_and_fills_with_zeros():
  batch = {'inputs': jnp.ones((400, 10))}
  found = np.asarray(sounds.delay(batch, KEY, steps=3)['inputs'])
  shifts = set()
  for row in found:
    zeros = np.flatnonzero(row == 0)
    assert len(zeros) <= 3 and (zeros < 3).all() | (zeros > 6).all()
    shifts.add(len(zeros) * (1 if len(zeros) and zeros[0] == 0 else -1))
  assert shifts == {-3, -2, -1, 0, 1, 2, 3}


def test_noise_has_the_ratio_of_energies():
  wave = np.sin(np.arange(20_000) / 7).astype(np.float32) * [[0.3], [0.01]]
  batch = {'inputs': jnp.asarray(wave, jnp.float32), 'lengths': jnp.array([20_000] * 2)}
  found = sounds.background(batch, KEY, decibels=(12, 12))
  noise = np.asarray(found['inputs']) - wave
  ratio = 10 * np.log10((wave**2).mean(1) / (noise**2).mean(1))
  np.testing.assert_allclose(ratio, 12, atol=0.2)
  with pytest.raises(ValueError, match=r'decibels must be \(low, high\) in order'):
    sounds.background(batch, KEY, decibels=(20, 10))


def test_integers_are_sounds_of_the_same_size():
  whole = np.round(WAVES * 2**15).astype(np.int16)
  batch = {'inputs': jnp.asarray(whole), 'lengths': jnp.asarray(LENGTHS)}
  found, expected = (sounds.log_mel(each, KEY, mel=MEL) for each in (batch, waves()))
  np.testing.assert_allclose(found['inputs'], expected['inputs'], atol=0.02)


def test_frames_are_normalized_over_what_is_real():
  found = np.asarray(sounds.normalize_frames(frames(), KEY)['inputs'])
  for row, count in enumerate(COUNTS):
    real = FRAMES[row, :count]
    expected = (real - real.mean(0)) / np.sqrt(real.var(0) + 1e-5)
    np.testing.assert_allclose(found[row, :count], expected, atol=1e-4)


def test_tilts_are_of_two_taps():
  found = np.asarray(sounds.tilt(waves(), KEY, low=0.5, high=0.5)['inputs'])
  for row, count in enumerate(LENGTHS):
    expected = np.convolve(WAVES[row, :count], [1, 0.5])[:count] if count else []
    np.testing.assert_allclose(found[row, :count], expected, atol=1e-6)
    assert not found[row, count:].any()
  alternating = {'inputs': jnp.asarray((-1.0) ** np.arange(64))[None]}
  constant = {'inputs': jnp.ones((1, 64))}
  for batch, size in ((alternating, 0.5), (constant, 1.5)):
    made = sounds.tilt(batch, KEY, low=0.5, high=0.5)['inputs'][0, 1:]
    np.testing.assert_allclose(np.abs(made), size, atol=1e-6)


def test_bands_are_stretched():
  """A band moves up by the factor, and what is between two features is mixed."""
  batch = {'inputs': jnp.zeros((1, 3, 20)).at[:, :, 6].set(1.0)}
  found = np.asarray(sounds.warp_bands(batch, KEY, low=1.5, high=1.5)['inputs'])
  expected = np.zeros(20)
  expected[[8, 9, 10]] = 1 / 3, 1, 1 / 3
  np.testing.assert_allclose(found, np.broadcast_to(expected, (1, 3, 20)), atol=1e-6)
  constant = {'inputs': jnp.ones((1, 3, 20))}
  for factor in (0.5, 2.0):  # the last feature is repeated
    np.testing.assert_allclose(
      sounds.warp_bands(constant, KEY, low=factor, high=factor)['inputs'],
      1, atol=1e-6)
  changed = sounds.warp_bands(frames(), KEY, low=0.5, high=2.0)['inputs']
  assert not changed[2, 1:].any() and np.abs(changed[0] - FRAMES[0]).max() > 0.1


def test_spec_augment_fills_bands_and_gaps():
  batch = {'inputs': jnp.ones((300, 40, 12)), 'lengths': jnp.full(300, 30)}
  found = np.asarray(sounds.spec_augment(
    batch, KEY, bands=1, band=4, gaps=1, gap=50, max_fraction=0.2)['inputs'])
  real = found[:, :30] == 0
  bands, gaps = real.all(1), real.all(2)  # [n, features], [n, frames]
  np.testing.assert_array_equal(real, bands[:, None] | gaps[..., None])
  assert {*bands.sum(1).tolist()} == {0, 1, 2, 3, 4}
  assert {*gaps.sum(1).tolist()} == {0, 1, 2, 3, 4, 5, 6}
  for mask in (bands, gaps):  # one interval
    begins = np.diff(mask.astype(int), axis=1, prepend=0, append=0) == 1
    assert begins.sum(1).max() == 1
    assert mask.any(0).all()  # anywhere
  assert found.shape == batch['inputs'].shape
  again = sounds.spec_augment(batch, KEY, bands=1, band=4, gaps=1, gap=50,
                              max_fraction=0.2)
  np.testing.assert_array_equal(again['inputs'], found)
  other = sounds.spec_augment(batch, jax.random.PRNGKey(4), bands=1, band=4)
  assert (np.asarray(other['inputs']) != found).any()


@pytest.mark.parametrize(('transform', 'message'), [
  (partial(transforms.log_mel, mel=MEL), r'log_mel: inputs must be sounds \[batch, '),
  (partial(transforms.spec_augment, max_fraction=2),
   'max_fraction must be 0 to 1, got 2'),
  (partial(transforms.tilt, high=1.0), 'tilt: low and high must be in order'),
  (partial(transforms.warp_bands, low=2, high=1), 'warp_bands: low and high must be'),
  (partial(transforms.delay, steps=-1), 'delay: steps must be >= 0, got -1')])
def test_wrong_settings_and_shapes_are_refused(transform, message):
  with pytest.raises(ValueError, match=message):
    transform(frames(), KEY)
