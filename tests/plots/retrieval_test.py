"""Tests of plots.retrieval."""

import numpy as np

from bigmodels import plots
from tests.plots.rendering import render


def test_recall_at_every_k():
  ranks = {'there': np.array([1, 3, 3, 20]), 'back': np.array([2, 2, 2, 2])}
  axes = render(plots.recalls(ranks, 20))['Recall among the k nearest'].axes[0]
  there, back, by_chance = axes.lines
  recall = dict(zip(*there.get_data(), strict=True))
  assert [recall[k] for k in (1, 2, 3, 20)] == [0.25, 0.25, 0.75, 1]
  assert set(back.get_ydata()) == {0, 1}
  np.testing.assert_allclose(by_chance.get_ydata(), by_chance.get_xdata() / 20)


def test_nothing_to_rank():
  assert plots.recalls({'there': np.zeros(0, int)}, 20) == {}
  assert plots.recalls({'there': np.ones(1, int)}, 1) == {}
