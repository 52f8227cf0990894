"""Tests of plots.language."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots.rendering import render


def test_the_loss_of_each_text_and_its_mean_over_tokens():
  nats, tokens = np.array([2.0, 30, 9, 5, np.nan]), np.array([1, 10, 6, 0, 3])
  drawn = render(plots.language({'nats': nats, 'tokens': tokens}, None, None))
  axes, = drawn['Loss of each text'].axes
  # Those of 2, 3 and 1.5 nats a token; a text of none, or of no number, has no bar.
  edges = np.array([[bar.get_x(), bar.get_x() + bar.get_width()]
                    for bar in axes.patches if bar.get_height()])
  assert sum(bar.get_height() for bar in axes.patches) == 3
  for value in (1.5, 2, 3):
    assert ((edges[:, 0] <= value + 1e-9) & (value - 1e-9 <= edges[:, 1])).any()
  assert axes.lines[0].get_xdata() == [pytest.approx(41 / 17)] * 2
  assert '2.412, the mean over all tokens' in axes.get_title(loc='left')
  assert '3 of 5' in axes.get_title(loc='left')


@pytest.mark.parametrize(('nats', 'tokens'), [
  ([], []), ([0.0, 0.0], [0, 0]), ([np.nan], [4]), ([np.inf, np.nan], [1, 1])])
def test_texts_without_a_loss_have_no_figure(nats, tokens):
  outputs = {'nats': np.array(nats), 'tokens': np.array(tokens)}
  assert plots.language(outputs, None, None) == {}


def test_one_text_has_a_figure():
  render(plots.language({'nats': np.float32([3]), 'tokens': np.float32([2])}, None,
                           None))
