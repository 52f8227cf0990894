"""Tests of bigmodels.layers.griffin_lim: inverses of known sounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from bigmodels.layers import griffin_lim, spectra
from bigmodels.layers.spectra import Mel

MEL = Mel(rate=8000, window=256, hop=64, bins=40, low=60, power=1, floor=1e-4)
KEY = jax.random.PRNGKey(0)


def chirp(samples=4096):
  """Two tones that rise, in noise; `[1, samples]`."""
  time = np.arange(samples) / 8000
  sound = np.sin(2 * np.pi * (300 + 400 * time) * time) + 0.5 * np.sin(
    2 * np.pi * (900 + 900 * time) * time)
  noise = np.random.default_rng(0).normal(scale=0.01, size=samples)
  return jnp.asarray((0.3 * sound + noise)[None], jnp.float32)


@pytest.mark.parametrize('settings', [
  {}, {'hop': 100}, {'window': 200, 'fft': 512}, {'center': False}])
def test_istft_inverts_stft(settings):
  mel = Mel(**{'rate': 8000, 'window': 256, 'hop': 64, 'bins': 20, **settings})
  sound = chirp()
  back = griffin_lim.istft(spectra.stft(sound, mel), mel)
  first, last = (0, back.shape[1]) if mel.center else (mel.window, -mel.window)
  np.testing.assert_allclose(back[:, first:last], sound[:, : back.shape[1]][
    :, first:last], atol=2e-6)


def test_istft_is_the_nearest_sound():
  mel = Mel(rate=8, window=8, hop=4, fft=8, bins=1, center=False)
  rng = np.random.default_rng(0)
  spectrum = rng.normal(size=(1, 5, 5)) + 1j * rng.normal(size=(1, 5, 5))
  spectrum[..., [0, -1]] = spectrum[..., [0, -1]].real
  found = griffin_lim.istft(jnp.asarray(spectrum, jnp.complex64), mel)[0]
  # Both sides of each frame's spectrum, so that all frequencies count as in the norm.
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(8) / 8)
  maps = np.zeros((5 * 8, 24))
  for frame in range(5):
    maps[frame * 8 + np.arange(8), frame * 4 + np.arange(8)] = hann
  expected = np.linalg.lstsq(
    maps, np.fft.irfft(spectrum[0], 8).reshape(-1), rcond=None)[0]
  np.testing.assert_allclose(found[1:], expected[1:], atol=1e-5)  # 0 is weighted by 0


def test_convergence_falls_with_iterations():
  sound = chirp()
  magnitudes = jnp.abs(spectra.stft(sound, MEL))

  def error(**settings):
    made = griffin_lim.griffin_lim(magnitudes, MEL, KEY, **settings)
    return float(griffin_lim.spectral_convergence(made, magnitudes, MEL)[0])

  errors = [error(iterations=count) for count in (0, 5, 60)]
  assert errors[0] > 2 * errors[1] > 2 * errors[2]
  assert errors[2] < 0.1 < errors[0]
  assert errors[2] < error(iterations=60, momentum=0.0)
  assert griffin_lim.spectral_convergence(sound, magnitudes, MEL)[0] < 1e-6


def test_magnitudes_are_the_nearest_ones():
  log_mel = spectra.log_mel(chirp(1024), MEL)
  found = np.asarray(griffin_lim.magnitudes_of(log_mel, MEL))[0]
  assert (found >= 0).all()
  filters, target = spectra.filters(MEL), np.exp(np.asarray(log_mel))[0]
  residual = np.linalg.norm(found @ filters - target, axis=1)
  least = [nnls(filters.T.astype(np.float64), each)[1] for each in target]
  size = np.linalg.norm(target, axis=1)
  assert (residual / size).max() < 0.02 + (least / size).max()


@pytest.mark.parametrize('power', [1.0, 2.0])
def test_a_sound_of_a_spectrogram_sounds_alike(power):
  mel = Mel(rate=8000, window=256, hop=64, bins=40, low=60, power=power, floor=1e-4)
  log_mel = spectra.log_mel(chirp(), mel)
  made = griffin_lim.sound_of(log_mel, mel, KEY)
  assert made.shape == (1, 4096)
  again = spectra.log_mel(made, mel)
  loud = np.asarray(log_mel) > np.asarray(log_mel).max() - 2 * power
  assert np.abs(np.asarray(again - log_mel))[loud].mean() < 0.15 * power


def test_silence_and_what_cannot_be_inverted():
  log_mel = jnp.full((1, 5, 40), np.log(MEL.floor))
  assert np.abs(griffin_lim.sound_of(log_mel, MEL, KEY)).max() < 1e-3
  with pytest.raises(ValueError, match='preemphasis: must be 0 for Griffin-Lim, got'):
    griffin_lim.griffin_lim(jnp.ones((1, 5, 129)), Mel(
      rate=8000, window=256, hop=64, bins=40, preemphasis=0.97), KEY)
