"""Tests of bigmodels.plots.sounds: the files of sounds, and their pictures."""

import io
import wave

import numpy as np
import pytest

from bigmodels.plots import Sound, spectrograms
from tests.plots.rendering import render


def opened(sound):
  with wave.open(io.BytesIO(sound.wav())) as file:
    frames = file.readframes(file.getnframes())
    return file.getparams(), np.frombuffer(frames, '<i2')


def test_a_file_of_16_bits():
  samples = np.sin(np.arange(400) / 5) * 0.7
  parameters, found = opened(Sound(samples, 8000))
  assert (parameters.nchannels, parameters.sampwidth, parameters.framerate) == (
    1, 2, 8000)
  np.testing.assert_allclose(found / (2**15 - 1), samples, atol=2**-15)
  assert Sound(samples, 8000).seconds == 0.05


def test_loud_sounds_are_made_quieter_and_not_clipped():
  samples = np.sin(np.arange(400) / 5) * 3
  _, found = opened(Sound(samples, 8000))
  np.testing.assert_allclose(found / (2**15 - 1), samples / np.abs(samples).max(),
                             atol=2**-15)


def test_silence_and_nothing():
  assert not opened(Sound(np.zeros(10), 8000))[1].any()
  assert len(opened(Sound(np.zeros(0), 8000))[1]) == 0


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_samples_that_are_not_finite(value):
  with pytest.raises(ValueError, match='a sound must have finite samples'):
    Sound(np.array([0.0, value]), 8000).wav()


@pytest.mark.parametrize('count', [1, 3])
def test_spectrograms_show_frequencies(count):
  time = np.arange(8000) / 8000
  sounds = {f'{1000 + 500 * i} Hz': Sound(np.sin(
    2 * np.pi * (1000 + 500 * i) * time), 8000) for i in range(count)}
  figure = spectrograms(sounds)
  assert len(figure.axes) == count
  for index, axes in enumerate(figure.axes):
    image, = axes.images
    values = np.asarray(image.get_array())
    top, height = image.get_extent()[3], values.shape[0]
    loudest = (values.mean(1).argmax() + 0.5) / height * top
    assert loudest == pytest.approx(1 + 0.5 * index, abs=0.05)
    assert axes.get_title(loc='left') == f'{1000 + 500 * index} Hz'
  render({'Spectrograms': figure})
