"""Tests of plots.synthesis: players of the texts, spectrograms and alignments."""

import numpy as np
import pytest

from bigmodels import plots
from bigmodels.layers.spectra import Mel
from bigmodels.plots import Inputs, Sound
from tests.plots.rendering import render

MEL = Mel(rate=1000, window=40, hop=20, bins=6, fft=64)
LENGTHS, TRUE_LENGTHS = np.array([8, 4, 6, 2]), np.array([7, 5, 6, 3])


def drawn(dtype, hop=20):
  rng = np.random.default_rng(0)
  outputs = {
    'made': rng.normal(size=(4, 8, 6)), 'true': rng.normal(size=(4, 7, 6)),
    'lengths': LENGTHS, 'true_lengths': TRUE_LENGTHS,
    'alignment': rng.dirichlet(np.ones(5), (4, 4)),
    'tokens': np.array([[1, 2, 3, 4, 5], [1, 2, 0, 0, 0], [1, 1, 1, 0, 0],
                        [2, 0, 0, 0, 0]])}
  samples = rng.uniform(-1, 1, (4, 160))
  raw = samples if dtype is float else np.round(samples * 2**15 - 0.5).astype(dtype)

  def to_sounds(frames, lengths):
    return [Sound(np.full(int(n), each[0, 0]), 1000) for each, n in zip(
      frames, lengths, strict=True)]

  mel = Mel(rate=1000, window=40, hop=hop, bins=6, fft=64)
  found = plots.synthesis(outputs, Inputs(lambda rows: raw[rows]), ['abcde', 'ab',
                          'aaa', 'b'], mel, to_sounds, 2)
  return found, samples, outputs


@pytest.mark.parametrize('dtype', [float, np.int16])
def test_players_of_recordings_copies_and_speech(dtype):
  found, samples, outputs = drawn(dtype)
  rows = found['Spoken texts'].rows
  assert [row[0] for row in rows] == ['abcde', 'ab', 'aaa', 'b']
  for index, (_, recorded, copy, made) in enumerate(rows):
    np.testing.assert_allclose(
      recorded.samples, samples[index, : 20 * TRUE_LENGTHS[index]], atol=1e-4)
    assert len(copy.samples) == TRUE_LENGTHS[index]
    assert copy.samples[0] == outputs['true'][index, 0, 0]
    assert len(made.samples) == LENGTHS[index]
  render({name: found[name] for name in ('Spectrograms', 'Attention')})


def test_long_sounds_are_few():
  rows = drawn(float, hop=15_000)[0]['Spoken texts'].rows
  assert len(rows) == 1  # of 7 frames; two would be 540,000 samples


def test_pictures_show_no_padding():
  found, _, outputs = drawn(float)
  panels = found['Attention'].axes
  shown = [axes.images[0].get_array().shape for axes in panels]
  assert shown == [(5, 4), (3, 3), (1, 1)]  # of the first, third and last text
  np.testing.assert_allclose(panels[1].images[0].get_array(),
                             outputs['alignment'][2, :3, :3].T)
  sizes = [axes.images[0].get_array().shape[1] for axes in found['Spectrograms'].axes]
  assert sizes == [7, 8, 6, 6, 3, 2]
