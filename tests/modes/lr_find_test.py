"""Tests of --mode=lr_find."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import lr_find


def test_it_prints_the_flag_of_two_rates_and_draws(request_for, tiny, tmp_path, capsys):
  lr_find.run(request_for(tiny), steps=60, low=1e-5, high=3.0,
              output=str(tmp_path / 'plot.svg'))
  out = capsys.readouterr().out
  assert 'where the loss falls fastest: --config.learning_rate=' in out
  assert 'a tenth of where it is lowest: --config.learning_rate=' in out
  text = (tmp_path / 'plot.svg').read_text()
  assert '<svg' in text and 'href="http' not in text


def test_the_rules_are_those_of_a_curve_of_known_form():
  rates = np.geomspace(1e-6, 1.0, 301)
  # A logistic fall, which is steepest at 1e-3, and a rise with its lowest point after.
  x = np.log10(rates)
  losses = 1 / (1 + np.exp(4 * (x + 3))) + 0.01 * np.maximum(x + 1, 0)
  found = lr_find.suggestions(rates, losses)
  assert found['where the loss falls fastest'] == pytest.approx(1e-3, rel=0.05)
  lowest = rates[np.argmin(losses)]
  assert found['a tenth of where it is lowest'] == pytest.approx(lowest / 10)
  assert lr_find.suggestions(rates, np.arange(301.0)) == {}


def test_smoothing_is_without_bias():
  np.testing.assert_allclose(lr_find.smoothed([2.0] * 5), 2.0)
  np.testing.assert_allclose(lr_find.smoothed([1.0, 3.0]), [1, (0.09 + 0.3) / 0.19])


@pytest.mark.parametrize(('settings', 'message'), [
  ({'steps': 5}, '--steps=5: must be >= 30'),
  ({'low': 1.0, 'high': 0.1}, '--low=1.0 --high=0.1: must be 0 < low < high'),
  ({'high': float('inf')}, 'must be 0 < low < high'),
  ({'output': 'plot.txt'}, r'--output=plot\.txt: must end in \.svg, \.png or \.pdf'),
  ({'output': 'gone/plot.svg'}, '--output=gone/plot.svg: there is no folder gone'),
  ({'rate': 'optimizer.learning_rate'}, '--rate=optimizer.learning_rate: no such')])
def test_wrong_settings_are_refused(settings, message, request_for, tiny):
  with pytest.raises(UserError, match=message):
    lr_find.run(request_for(tiny), **settings)


def test_an_optimizer_without_a_learning_rate_is_refused(request_for):
  with pytest.raises(UserError, match='cifar_speedrun has no argument learning_rate'):
    lr_find.run(request_for('cifar_speedrun'))


@pytest.mark.parametrize(('experiment', 'settings'), [
  ('gone', {}), ('tests/forks/tiny.py', {'rate': 'gone'}), ('cifar_speedrun', {})])
def test_a_failed_start_leaves_nothing(experiment, settings, request_for, tmp_path):
  with pytest.raises(UserError):
    lr_find.run(request_for(experiment, tmp_path / 'new'), **settings)
  assert not [*tmp_path.iterdir()]
