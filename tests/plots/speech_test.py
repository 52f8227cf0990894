"""Tests of plots.speech: the worst first, rates by hand, and both kinds of inputs."""

import numpy as np
import pytest

from bigmodels import plots
from bigmodels.plots import Inputs
from tests.plots.rendering import render

ERRORS, WORDS = np.array([0, 3, 1, 2]), np.array([2, 4, 4, 2])
TEXTS, REFERENCES = ['a', 'b', 'c', 'd'], ['A', 'B', 'C', 'D']


def drawn(values, words=True, errors=ERRORS):
  def say(rows):
    return [{'recording': f'r{row}', 'seconds': '0.50'} for row in rows.tolist()]

  return plots.speech(errors, WORDS, TEXTS, REFERENCES, np.array([1.0, 0.5, 1, 1]),
                      Inputs(lambda rows: values[rows], say if words else None))


def test_the_worst_transcripts_come_first():
  sounds = np.random.default_rng(0).normal(size=(4, 4000))
  found = drawn(sounds)
  table = found.pop('Worst transcripts')
  assert table.rows[0] == ('r1', 'B', 'b', '3 of 4')
  assert [row[0] for row in table.rows] == ['r1', 'r3', 'r2', 'r0']
  axes, = found['Errors by length'].axes
  assert [bar.get_height() for bar in axes.patches] == pytest.approx([2 / 4, 4 / 8])
  assert axes.lines[0].get_ydata()[0] == pytest.approx(6 / 12)
  render(found)
  panels = found['Spectrograms'].axes
  assert len(panels) == 3
  # r1 is half padding: 0.5 s are 2,000 samples, so that half the rate is 2,000 Hz.
  image, = panels[1].images
  assert image.get_extent() == [0, 0.5, 0, 2000]


@pytest.mark.parametrize('words', [True, False])
def test_features_and_silence_are_drawn(words):
  values = np.zeros((4, 30, 5), np.float16)
  found = drawn(values, words, np.zeros(4, int))
  assert found['Worst transcripts'].rows[0][1] == 'A'
  del found['Worst transcripts']
  render(found)
