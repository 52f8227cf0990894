"""The threshold of a run: chosen on validation, kept, and used by whoever opens it."""

import json
import shutil

import numpy as np
import pytest
from sklearn import metrics as scikit
from sklearn.datasets import load_breast_cancer

from bigmodels.core.errors import UserError
from bigmodels.hardware import devices
from bigmodels.modes import train
from bigmodels.tasks import imbalance
from bigmodels.training import evaluation, opening

SETTINGS = {'epochs': 3, 'model__widths': '(8,)', 'task__class_weights': 'balanced'}


@pytest.fixture(scope='module')
def finished(cache_dir, tmp_path_factory):
  from bigmodels.cli.request import Request

  devices.configure_jax(cache_dir / 'xla')
  workdir = tmp_path_factory.mktemp('thresholds') / 'run'
  overrides = {k.replace('__', '.'): str(v) for k, v in SETTINGS.items()}
  train.run(Request(
    experiment='tabular_mlp', overrides={**overrides, 'task.threshold': 'f1'},
    workdir=str(workdir), data_dir=None, cache_dir=cache_dir, require_backend=None))
  return workdir


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def load(workdir, cache_dir):
  lines = []
  return opening.load(workdir, cache_dir=cache_dir, say=lines.append), lines


def test_it_is_the_best_on_validation_and_test_metrics_are_given_at_it(
    finished, cache_dir):
  run, _ = load(finished, cache_dir)
  found = result(finished)
  whole = run._with_data
  outputs = {name: evaluation.evaluate(whole.built, whole._evaluations, name,
                                       run.state)[1] for name in ('validation', 'test')}
  value, score = imbalance.best_threshold(outputs['validation'], by='f1')
  assert found['threshold'] == {'value': value, 'by': 'f1', 'split': 'validation',
                                'score': score, 'step': found['best_step']}
  above = outputs['test']['probabilities'][:, 1] >= np.float64(value)
  assert found['metrics']['test/f1_at_threshold'] == pytest.approx(
    scikit.f1_score(outputs['test']['labels'], above))
  assert found['metrics']['validation/f1_at_threshold'] == pytest.approx(score)
  assert run.evaluate('test') == {
    name: value for name, value in found['metrics'].items() if name[:5] == 'test/'}
  report = (finished / 'report.html').read_text()
  assert f'{value:.4g}, by f1 on validation' in report
  assert 'Confusion matrix at the threshold' in report


def test_predictions_follow_it(finished, cache_dir):
  run, _ = load(finished, cache_dir)
  assert run.threshold == result(finished)['threshold']['value']
  inputs = load_breast_cancer().data.astype(np.float32)
  found = run.predict(inputs)
  above = np.float64(found['probabilities'][:, 1]) >= run.threshold
  np.testing.assert_array_equal(found['predictions'], above)
  assert (above != found['probabilities'].argmax(1)).any()


def test_a_run_that_is_killed_before_its_result_finds_the_same(
    finished, tmp_path, request_for):
  copy = tmp_path / 'run'
  shutil.copytree(finished, copy)
  (copy / 'result.json').unlink()
  (copy / 'report.html').unlink()
  train.run(request_for(None, copy))
  for name in ('threshold', 'metrics', 'best_step'):
    assert result(copy)[name] == result(finished)[name]


def test_a_result_that_is_gone_or_edited_gives_no_threshold(
    finished, tmp_path, cache_dir):
  copy = tmp_path / 'run'
  shutil.copytree(finished, copy)
  text = (copy / 'result.json').read_text()
  (copy / 'result.json').write_text(text.replace('"by": "f1"', '"by": "f2"'))
  run, lines = load(copy, cache_dir)
  assert run.threshold is None
  assert 'result.json is not as a run wrote it' in '\n'.join(lines)
  assert 'not finished' not in '\n'.join(lines)  # nobody knows
  assert lines[-1] == ('threshold=f1: is chosen when the run finishes; the more likely '
                       'class is predicted')
  inputs = load_breast_cancer().data.astype(np.float32)
  found = run.predict(inputs)
  np.testing.assert_array_equal(found['predictions'], found['probabilities'].argmax(1))


def test_it_is_never_chosen_on_test(tmp_path, request_for):
  with pytest.raises(UserError, match=(
      'threshold=f1: is chosen on the split of the monitor or on one called '
      'validation, never on rows of training or test; evals has test')):
    train.run(request_for('cancer_logistic', tmp_path / 'run', task__threshold='f1'))
  assert not (tmp_path / 'run' / 'checkpoints').exists()


@pytest.mark.parametrize('settings, message', [
  ({'task__threshold': 'youden'}, 'threshold: must be'),
  ({'task__threshold': 1.5}, 'threshold: must be between 0 and 1, got 1.5'),
  ({'task__class_weights': "{'malignan': 2}"},
   "class_weights: no class 'malignan'; did you mean .?malignant"),
  ({'class_weights': 'balanced', 'task': 'regression'},
   "class_weights: needs task='classification'"),
])
def test_wrong_settings_are_refused_in_a_line(settings, message, tmp_path, request_for):
  with pytest.raises(UserError, match=message):
    train.run(request_for('tabular_mlp', tmp_path / 'run', **settings))


def test_counts_are_fitted_once_and_kept(finished):
  kept = json.loads((finished / 'data.json').read_text())['kept']['class counts']
  labels = load_breast_cancer().target
  assert kept.keys() == {'malignant', 'benign'} and sum(kept.values()) == 455
  assert abs(kept['malignant'] / 455 - np.mean(labels == 0)) < 0.05
