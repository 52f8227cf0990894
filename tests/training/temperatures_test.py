"""The temperature of a run: fitted on validation, kept, and used by whoever opens it.

And a threshold of its probabilities, chosen at a specificity.
"""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as scikit
from sklearn.datasets import load_breast_cancer

from bigmodels import metrics
from bigmodels.cli.request import Request
from bigmodels.core.errors import UserError
from bigmodels.hardware import devices
from bigmodels.models import Linear
from bigmodels.modes import train
from bigmodels.tasks import classification
from bigmodels.training import evaluation, opening, temperatures

INPUTS = load_breast_cancer().data.astype(np.float32)


@pytest.fixture(scope='module')
def finished(cache_dir, tmp_path_factory):
  devices.configure_jax(cache_dir / 'xla')
  workdir = tmp_path_factory.mktemp('temperatures') / 'run'
  overrides = {'epochs': '3', 'model.widths': '(8,)', 'task.temperature': 'fit',
               'task.threshold': 'sensitivity', 'task.specificity': '0.8'}
  train.run(Request(
    experiment='tabular_mlp', overrides=overrides, workdir=str(workdir), data_dir=None,
    cache_dir=cache_dir, require_backend=None))
  return workdir


@pytest.fixture(scope='module')
def run(finished, cache_dir):
  return opening.load(finished, cache_dir=cache_dir, say=lambda line: None)


@pytest.fixture(scope='module')
def raw(run):
  """Outputs of both splits that are not calibrated."""
  whole = run._with_data
  return {name: evaluation.evaluate(whole.built, whole._evaluations, name, run.state)[1]
          for name in ('validation', 'test')}


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def test_it_is_that_of_validation_and_test_metrics_are_at_it(finished, run, raw):
  found = result(finished)
  value = metrics.temperature(
    raw['validation']['labels'], raw['validation']['probabilities'])
  assert found['temperature'] == {
    'value': value, 'by': 'log_loss', 'split': 'validation', 'step': found['best_step']}
  for name in ('validation', 'test'):
    calibrated = metrics.at_temperature(raw[name]['probabilities'], value)
    assert found['metrics'][f'{name}/log_loss'] == pytest.approx(
      scikit.log_loss(raw[name]['labels'], calibrated), rel=1e-5)
  before = -np.log(raw['validation']['probabilities'][
    np.arange(len(raw['validation']['labels'])), raw['validation']['labels']]).mean()
  assert found['metrics']['validation/log_loss'] < before
  assert run.evaluate('test') == {
    name: value for name, value in found['metrics'].items() if name[:5] == 'test/'}
  assert f'{value:.4g}, by log_loss on validation' in (
    finished / 'report.html').read_text()


def test_the_threshold_is_of_calibrated_probabilities(finished, raw):
  found = result(finished)
  value, chosen = found['temperature']['value'], found['threshold']
  labels = raw['validation']['labels']
  scores = metrics.at_temperature(raw['validation']['probabilities'], value)[:, 1]
  above = scores >= chosen['value']
  assert chosen['by'] == 'sensitivity'
  assert np.mean(~above[labels == 0]) >= 0.8
  assert np.mean(above[labels == 1]) == pytest.approx(chosen['score'])
  name = 'validation/sensitivity_at_specificity_0.8'
  assert found['metrics'][name] == pytest.approx(chosen['score'])
  assert found['metrics']['validation/specificity_at_threshold'] >= 0.8


def test_predictions_follow_both(run, raw):
  found = run.predict(INPUTS)
  np.testing.assert_allclose(found['probabilities'].sum(-1), 1, rtol=1e-6)
  np.testing.assert_array_equal(
    found['predictions'], np.float64(found['probabilities'][:, 1]) >= run.threshold)
  one, expected = run.evaluated('test')[1]['test'], metrics.at_temperature(
    raw['test']['probabilities'], run.temperature)
  np.testing.assert_allclose(one['probabilities'], expected, rtol=1e-5)


def test_it_is_never_fitted_on_test(run):
  built = run._with_data.built
  without = dataclasses.replace(built.experiment, monitor=None, evals={
    'test': built.experiment.evals['test']})
  assert temperatures.split_of(built) == 'validation'
  with pytest.raises(UserError, match=(
      'temperature=fit: is chosen on the split of the monitor or on one called '
      'validation, never on rows of training or test; evals has test')):
    temperatures.split_of(built._replace(experiment=without))


@pytest.mark.parametrize('right, line', [
  (0.8, 'temperature 1.585, fitted on validation: probabilities are less sure'),
  (0.1, 'temperature 100, fitted on validation, a limit of the search: probabilities '
        'are less sure'),
  (1.0, 'temperature 0.01, fitted on validation, a limit of the search: probabilities '
        'are more sure')])
def test_a_temperature_at_a_limit_is_said_to_be(monkeypatch, right, line):
  """Of a model that is sure by 0.9; log(9) / log(4) = 1.585."""
  labels = (np.arange(1000) >= 1000 * right).astype(int)
  value, lines = metrics.temperature(labels, np.tile([0.9, 0.1], (1000, 1))), []
  monkeypatch.setattr(temperatures, 'split_of', lambda built: 'validation')
  monkeypatch.setattr(temperatures, 'evaluate', lambda *given: ({}, {}))
  built = SimpleNamespace(task=SimpleNamespace(calibration=SimpleNamespace(
    fit=lambda outputs: value)))
  temperatures.fit(built, None, None, 1, lines.append)
  assert lines == [line]


def test_a_temperature_of_another_checkpoint_or_none_is_not_used(run):
  found, lines = {'status': 'finished', 'temperature': {'value': 2.0, 'step': 3}}, []
  assert temperatures.kept(run.built, found, 3, lines.append) == 2.0 and not lines
  assert temperatures.kept(run.built, found, 4, lines.append) is None
  assert temperatures.kept(run.built, None, 4, lines.append) is None
  assert 'was fitted at step 3, this is step 4: it is not used' in lines[0]
  assert lines[1] == ('temperature=fit: is fitted when the run finishes; probabilities '
                      'are not calibrated')


@pytest.mark.parametrize('settings, message', [
  ({'temperature': 'fitted'}, "temperature: must be > 0 and finite, or 'fit', got"),
  ({'temperature': 0.0}, "temperature: must be > 0 and finite, or 'fit', got 0.0"),
  ({'specificity': 1.0}, 'specificity: must be between 0 and 1, got 1.0'),
  ({'threshold': 'sensitivity'}, "threshold='sensitivity': is the largest at a")])
def test_wrong_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    classification(Linear(2), **settings)
