"""Tests of resolving an experiment: its file, its knobs, and fields set by path."""

import subprocess
import sys

import cloudpickle
import pytest

from bigmodels.config import resolving
from bigmodels.core import experiment_files
from bigmodels.core.errors import UserError
from tests.config.forks import FORK, reread, write


@pytest.fixture
def fork(tmp_path):
  return write(tmp_path / 'fork.py', FORK.replace('WIDTH', '8'))


def _refused(*args):
  with pytest.raises(UserError) as caught:
    resolving.resolve(*args)
  return str(caught.value)


# --- finding --------------------------------------------------------------------


def test_a_file_in_the_folder_has_a_short_name():
  path = str(resolving.EXPERIMENTS / 'digits_cnn.py')
  assert resolving.resolve(path, {}).values() == resolving.resolve('digits_cnn',
                                                                   {}).values()


def test_paths_are_relative_or_of_home(fork, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path))
  names = {resolving.resolve(n, {}).name for n in ('fork.py', '~/fork.py', fork)}
  assert names == {fork}


def test_summaries_outlive_a_broken_file(tmp_path, monkeypatch):
  write(tmp_path / 'good.py', '"""Good."""')
  write(tmp_path / 'bad.py', 'def (')
  (tmp_path / 'nul.py').write_bytes(b'\0')
  monkeypatch.setattr(experiment_files, 'EXPERIMENTS', tmp_path)
  found = resolving.summaries()
  assert list(found) == ['bad', 'good', 'nul'] and found['good'] == 'Good.'
  assert 'cannot be read' in found['bad']


@pytest.mark.parametrize('name', ['digit_cnn', 'Digits_CNN', 'digits-cnn'])
def test_a_misspelt_name_is_answered_with_the_nearest(name):
  assert f"{name!r}; did you mean 'digits_cnn'?" in _refused(name, {})


@pytest.mark.parametrize('name', ['', '/', '../run', 'a b', 'nothing.py', '.py'])
def test_no_such_experiment(name):
  assert 'there is no experiment' in _refused(name, {})


@pytest.mark.parametrize(('text', 'message'), [
  ('def config(:', 'bad.py, line 1: SyntaxError'),
  ('x = 1', 'an experiment defines config'),
  ('config = 3', 'an experiment defines config'),
  ('import no_such_thing', "line 1: ModuleNotFoundError: No module named 'no_such"),
  ('\ndef config(*, a=1):\n  return 1 / 0', 'bad.py, line 3: ZeroDivisionError'),
  ('def config(*, a=1): return None', 'must return an Experiment, got a NoneType'),
  ('def config(*, a): return None', 'set --config.a=..., it has no default'),
  ('def config(*, a: "Missing" = 1): return None', "NameError: name 'Missing'"),
  ('def config(a, /): return None', 'it has no default'),
  ('def config(**kw): return 3', 'got a int'),
  ('from bigmodels import models\ndef config():\n'
   '  models.Cnn(num_outputs=1, dropout=2)',
   'bad.py, line 3: ValueError: dropout: '),
])
def test_a_bad_file_is_reported_with_its_line(tmp_path, text, message):
  said = _refused(write(tmp_path / 'bad.py', text), {})
  assert message in said and '\n' not in said


def test_a_value_error_about_a_knob_names_the_flag(tmp_path):
  path = write(tmp_path / 'mine.py', "def config(*, bins=1, other=2):\n"
               "  raise ValueError('bins: must be > 1, got 1')")
  assert _refused(path, {}) == '--config.bins: must be > 1, got 1'
  # Of a field of a model, which is no knob, the line of the file is named.
  path = write(tmp_path / 'other.py',
               "def config(*, other=2):\n  raise ValueError('bins: too few')")
  assert 'other.py, line 2: ValueError: bins: too few' in _refused(path, {})


def test_an_error_in_config_names_the_knobs_that_were_set(tmp_path):
  path = write(tmp_path / 'mine.py', "def config(*, rows=1, name='a', seed=0):\n"
               "  raise ValueError(f'counts: must be >= 1, got {rows}')")
  assert _refused(path, {'rows': '0'}).endswith(
    'mine.py, line 2: ValueError: counts: must be >= 1, got 0 (with --config.rows=0)')
  assert _refused(path, {'rows': '1', 'name': 'b', 'seed': '2'}).endswith(
    'got 1 (with --config.name=b, --config.seed=2)')
  assert _refused(path, {}).endswith('got 1')


def test_a_syntax_error_of_an_imported_file_names_that_file(tmp_path, monkeypatch):
  write(tmp_path / 'half_module.py', 'a = 1\nb = (')
  monkeypatch.syspath_prepend(tmp_path)
  said = _refused(write(tmp_path / 'bad.py', 'import half_module'), {})
  assert 'half_module.py, line 2' in said


# --- forks ----------------------------------------------------------------------


def test_a_fork_names_its_own_and_reads_back(fork):
  first = resolving.resolve(fork, {'optimizer.1.learning_rate.peak': '0.5'})
  values = first.values()
  assert values['model'] == 'experiments.fork.MyModel'
  assert values['model.activation'] == 'experiments.fork.my_relu'
  assert values['knob.function'] == 'experiments.fork.my_relu'
  assert values['optimizer.1.learning_rate'] == 'experiments.fork.my_rate'
  assert values['evals.test.source.folder'] == repr('a = "b"\n#')
  assert reread(first).values() == values
  other = resolving.resolve(fork, {'function': 'abs'})
  assert other.values()['model.activation'] == 'abs'
  back = reread(other, {'model.activation': 'experiments.fork.my_relu'})
  assert back.values()['model.activation'] == 'experiments.fork.my_relu'
  assert reread(reread(first, {'seed': '2'})).values() == values | {
    'seed': '2', 'knob.seed': '2'}


def test_forks_of_one_name_do_not_mix(fork, tmp_path):
  other = write(tmp_path / 'b' / 'fork.py', FORK.replace('WIDTH', '16'))
  for _ in range(2):
    assert resolving.resolve(fork, {}).values()['model.width'] == '8'
    second = resolving.resolve(other, {'function': 'experiments.fork.my_relu'})
    assert second.values()['model.width'] == '16'
    assert reread(second).values() == second.values()


def test_a_fork_shadows_no_library(tmp_path):
  before = sys.modules['json']
  for name in ('json', 'wave'):  # the second is not imported yet
    sys.modules.pop('wave', None)
    resolving.resolve(write(tmp_path / f'{name}.py', FORK.replace('WIDTH', '1')), {})
  assert sys.modules['json'] is before and 'wave' not in sys.modules


def test_odd_file_names_read_back(tmp_path):
  path = write(tmp_path / '2-a.b é.py', FORK.replace('WIDTH', '1'))
  resolved = resolving.resolve(path, {'model.activation': 'jax.nn.gelu'})
  mine = 'experiments._2_a_b_é.my_relu'
  back = reread(resolved, {'model.activation': mine})
  assert back.values()['model.activation'] == mine


# --- overriding -----------------------------------------------------------------


def test_a_knob_calls_config_again():
  resolved = resolving.resolve('digits_cnn', {'learning_rate': '0.5', 'seed': '3'})
  assert resolved.knobs['learning_rate'] == 0.5 and resolved.experiment.seed == 3
  assert resolved.values()['optimizer.learning_rate.peak'] == '0.5'


def test_units_of_a_duration_are_changed_together():
  resolved = resolving.resolve(
    'digits_cnn', {'duration.steps': '7', 'duration.epochs': 'none'})
  assert resolved.experiment.duration.steps == 7
  assert reread(resolved).experiment.duration == resolved.experiment.duration


@pytest.mark.parametrize(('path', 'text', 'message'), [
  ('learnin_rate', '1', "--config.learnin_rate: no knob or field 'learnin_rate'; "
   "did you mean 'learning_rate'?"),
  ('learning_rate', 'fast', '--config.learning_rate: must be float (now 0.006)'),
  ('model.droput', '0', "--config.model (bigmodels.models.Cnn) has no field 'droput'; "
   "did you mean 'dropout'?"),
  ('model.dropout', '2', '--config.model.dropout: '),
  ('train.batch_size', '0', '--config.train.batch_size: must be >= 1, got 0'),
  ('keep', '0', '--config.keep: must be >= 1, got 0'),
  ('epochs', 'nan', 'epochs: must be finite and > 0, got nan'),
  ('knob.seed', '1', "no knob or field 'knob'"), ('', '1', 'no knob or field'),
  ('model.', '1', "no field ''"),
])
def test_a_wrong_override_is_refused(path, text, message):
  said = _refused('digits_cnn', {path: text})
  assert message in said and '\n' not in said


def test_functions_of_an_experiment_go_to_processes_that_cannot_import_it(tmp_path):
  fork = tmp_path / 'pets.py'
  fork.write_text('def fit(image, rng): return image + 1\ndef config(): pass\n')
  function = resolving.load(resolving.source_of(str(fork)))
  sent = cloudpickle.dumps(sys.modules[function.__module__].fit)
  there = subprocess.run(
    [sys.executable, '-c', 'import pickle, sys; '
     'print(pickle.load(sys.stdin.buffer)(2, None))'],
    input=sent, capture_output=True, check=True)
  assert there.stdout == b'3\n'
