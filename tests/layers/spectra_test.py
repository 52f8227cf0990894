"""Tests of bigmodels.layers.spectra against transformers, SciPy and plain sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import fft

from bigmodels.layers import spectra
from bigmodels.layers.spectra import Mel

SOUNDS = np.random.default_rng(0).normal(0, 0.1, (2, 3000)).astype(np.float32)


@pytest.mark.parametrize('settings', [
  {}, {'scale': 'slaney', 'norm': 'slaney', 'low': 60.0, 'high': 7000.0, 'bins': 40},
  {'power': 1.0, 'window': 512, 'hop': 128}, {'preemphasis': 0.97}])
@pytest.mark.reference
def test_equals_transformers(settings):
  audio = pytest.importorskip('transformers.audio_utils',
                              reason='transformers is what this compares with')
  mel = Mel(**settings)
  filters = audio.mel_filter_bank(
    257, mel.bins, mel.low, mel.highest, 16_000, norm=mel.norm, mel_scale=mel.scale)
  np.testing.assert_allclose(spectra.filters(mel), filters, atol=1e-7)
  sound = SOUNDS[0].astype(np.float64)
  sound -= mel.preemphasis * np.append(0, sound[:-1])
  expected = audio.spectrogram(
    sound, audio.window_function(mel.window, 'hann'), mel.window, mel.hop, mel.size,
    power=mel.power, pad_mode='constant', mel_filters=filters, log_mel='log',
    mel_floor=mel.floor)
  found = np.asarray(spectra.log_mel(SOUNDS, mel))[0]
  np.testing.assert_allclose(found, expected.T, atol=2e-4)
  assert len(found) == mel.frames(3000)


def test_the_transform_is_the_sum_of_its_definition():
  mel = Mel(rate=800, window=16, hop=4, bins=4, center=False)
  found = np.asarray(spectra.stft(SOUNDS[:, :40], mel))
  assert found.shape == (2, mel.frames(40), 9) == (2, 7, 9)
  time = np.arange(16)
  hann = np.sin(np.pi * time / 16) ** 2
  for frame in range(7):
    part = SOUNDS[0, 4 * frame : 4 * frame + 16] * hann
    expected = [np.sum(part * np.exp(-2j * np.pi * k * time / 16)) for k in range(9)]
    np.testing.assert_allclose(found[0, frame], expected, atol=1e-6)


def test_a_tone_is_in_the_filter_around_it():
  mel, time = Mel(bins=40), np.arange(8000) / 16_000
  edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
  for band in (5, 20, 35):
    tone = np.sin(2 * np.pi * edges[band + 1] * time).astype(np.float32)[None]
    found = np.asarray(spectra.log_mel(tone, mel))[0, 10:-10]
    assert (found.argmax(1) == band).all()


def test_cepstra_are_the_transform_of_scipy():
  values = np.random.default_rng(1).normal(size=(3, 5, 24))
  np.testing.assert_allclose(
    spectra.cepstra(jnp.asarray(values), 13),
    fft.dct(values, norm='ortho', axis=-1)[..., :13], atol=1e-5)
  with pytest.raises(ValueError, match='count: must be 1 to 24, the bins, got 25'):
    spectra.cepstra(values, 25)


def test_slopes_of_lines_and_of_padded_sequences():
  line = 3.0 * np.arange(9, dtype=np.float32)[None, :, None] + 1
  found = np.asarray(spectra.deltas(jnp.asarray(line), jnp.array([9])))[0, :, 0]
  np.testing.assert_allclose(found[2:7], 3, atol=1e-6)
  # At the first frame, which is repeated before: (1 * 3 + 2 * 6) / 10.
  np.testing.assert_allclose(found[0], 1.5, atol=1e-6)
  padded = np.pad(line[:, :5], ((0, 0), (0, 4), (0, 0)), constant_values=99)
  np.testing.assert_allclose(
    spectra.deltas(jnp.asarray(padded), jnp.array([5]))[:, :5],
    spectra.deltas(jnp.asarray(line[:, :5]), jnp.array([5])), atol=1e-6)


def test_silence_and_its_gradient_are_finite():
  for power in (1.0, 2.0):
    mel = Mel(power=power)
    value, slope = jax.value_and_grad(
      lambda x, mel=mel: spectra.log_mel(x, mel).mean())(jnp.zeros((1, 800)))
    np.testing.assert_allclose(value, np.log(1e-10), rtol=1e-6)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(('settings', 'message'), [
  ({'window': 0}, 'window: must be >= 1, got 0'),
  ({'fft': 256}, 'fft: must be >= 400, the window, got 256'),
  ({'high': 9000.0}, 'low, high: must be 0 <= low < high <= half the rate, 8000; '
                     'got 0 and 9000'),
  ({'scale': 'bark'}, "scale: must be 'htk' or 'slaney', got 'bark'"),
  ({'floor': 0.0}, 'floor: must be > 0, got 0')])
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    Mel(**settings)


def test_sounds_that_are_too_short():
  mel = Mel(center=False)
  assert mel.frames(399) == 0 and mel.frames(400) == 1
  with pytest.raises(ValueError, match='399 samples are shorter than a frame of 400'):
    spectra.stft(jnp.zeros((1, 399)), mel)
