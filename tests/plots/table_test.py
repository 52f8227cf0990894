"""Tests of bigmodels.plots.table: examples in words."""

import numpy as np

from bigmodels import plots


def test_rows_are_spread_evenly():
  assert plots.spread(3, 5).tolist() == [0, 1, 2]
  assert plots.spread(101, 3).tolist() == [0, 50, 100]


def test_the_end_of_a_text_begins_with_a_whole_word():
  assert plots.ending('one two', 7) == 'one two'
  assert plots.ending('one two three', 8) == '… three'
  assert plots.ending('onetwothree', 5) == '… three'


def test_mistakes_are_shown_in_words():
  texts = ['good', 'bad', 'so so', 'fine']
  inputs = plots.Inputs(np.arange(4).__getitem__, lambda rows: [
    {'text': texts[row]} for row in rows])
  found = plots.classification({
    'labels': np.array([1, 0, 0, 1]), 'predictions': np.array([1, 1, 1, 0]),
    'probabilities': np.array([[.1, .9], [.4, .6], [.2, .8], [.7, .3]])},
    inputs, ('no', 'yes'))['Most confident mistakes']
  assert found.columns == ('true', 'predicted', 'confidence', 'text')
  assert found.rows == [('no', 'yes', '0.800', 'so so'), ('yes', 'no', '0.700', 'fine'),
                        ('no', 'yes', '0.600', 'bad')]
