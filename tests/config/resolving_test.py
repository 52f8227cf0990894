"""Tests of resolving an experiment, and of config.txt, by files in a scratch folder."""

import pathlib
import subprocess
import sys
import textwrap

import cloudpickle
import pytest

from bigmodels import models
from bigmodels.config import resolving
from bigmodels.config.trust import Trust
from bigmodels.core.errors import UserError

FORK = '''
"""A fork."""
import dataclasses
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def my_relu(x):
  return jax.nn.relu(x)

def my_rate(steps, *, peak):
  return peak

class MyModel(nn.Module):
  num_outputs: int
  activation: Callable = my_relu
  width: int = 8

@dataclasses.dataclass(frozen=True)
class MySource:
  folder: str = 'a = "b"\\n#'

def config(*, width: int = WIDTH, rate: float = 0.1, name='x', seed: int = 0,
           function: Callable = my_relu):
  arrays = data.Arrays(inputs=np.full((4, 2), float(width)), labels=np.arange(4))
  return Experiment(
    model=MyModel(num_outputs=2, activation=function, width=width),
    task=tasks.classification,
    optimizer=partial(optax.chain, optax.identity, partial(
      optax.sgd, learning_rate=partial(my_rate, peak=rate))),
    train=data.Batches(source=arrays, batch_size=2),
    evals={'test': data.Batches(source=MySource(), batch_size=2)},
    duration=Duration(epochs=1), seed=seed)
'''


@pytest.fixture
def fork(tmp_path):
  return _write(tmp_path / 'fork.py', FORK.replace('WIDTH', '8'))


def _write(path, text):
  path.parent.mkdir(exist_ok=True, parents=True)
  path.write_text(textwrap.dedent(text))
  return str(path)


def _refused(*args):
  with pytest.raises(UserError) as caught:
    resolving.resolve(*args)
  return str(caught.value)


def _reread(resolved, overrides=None):
  return resolving.from_text(resolving.to_text(resolved), 'config.txt', overrides or {},
                          trusted=Trust(everything=True))


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
  _write(tmp_path / 'good.py', '"""Good."""')
  _write(tmp_path / 'bad.py', 'def (')
  (tmp_path / 'nul.py').write_bytes(b'\0')
  monkeypatch.setattr(resolving, 'EXPERIMENTS', tmp_path)
  found = resolving.summaries()
  assert list(found) == ['bad', 'good', 'nul'] and found['good'] == 'Good.'
  assert 'cannot be read' in found['bad']


@pytest.mark.parametrize('name', ['digit_cnn', 'Digits_CNN', 'digits-cnn'])
def test_a_misspelt_name_is_told_the_nearest(name):
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
  ('def config(*, a=1): return None', 'returned a NoneType, wants an Experiment'),
  ('def config(*, a): return None', 'set --config.a=..., it has no default'),
  ('def config(*, a: "Missing" = 1): return None', "NameError: name 'Missing'"),
  ('def config(a, /): return None', 'it has no default'),
  ('def config(**kw): return 3', 'returned a int'),
  ('from bigmodels import models\ndef config():\n'
   '  models.Cnn(num_outputs=1, dropout=2)',
   'bad.py, line 3: ValueError: dropout: wants'),
])
def test_a_bad_file_is_told_by_its_line(tmp_path, text, message):
  said = _refused(_write(tmp_path / 'bad.py', text), {})
  assert message in said and '\n' not in said


def test_a_syntax_error_elsewhere_is_told_there(tmp_path, monkeypatch):
  _write(tmp_path / 'half_module.py', 'a = 1\nb = (')
  monkeypatch.syspath_prepend(tmp_path)
  said = _refused(_write(tmp_path / 'bad.py', 'import half_module'), {})
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
  assert _reread(first).values() == values
  other = resolving.resolve(fork, {'function': 'abs'})
  assert other.values()['model.activation'] == 'abs'
  back = _reread(other, {'model.activation': 'experiments.fork.my_relu'})
  assert back.values()['model.activation'] == 'experiments.fork.my_relu'
  assert _reread(_reread(first, {'seed': '2'})).values() == values | {
    'seed': '2', 'knob.seed': '2'}


def test_forks_of_one_name_do_not_mix(fork, tmp_path):
  other = _write(tmp_path / 'b' / 'fork.py', FORK.replace('WIDTH', '16'))
  for _ in range(2):
    assert resolving.resolve(fork, {}).values()['model.width'] == '8'
    second = resolving.resolve(other, {'function': 'experiments.fork.my_relu'})
    assert second.values()['model.width'] == '16'
    assert _reread(second).values() == second.values()


def test_a_fork_shadows_no_library(tmp_path):
  before = sys.modules['json']
  for name in ('json', 'wave'):  # the second is not imported yet
    sys.modules.pop('wave', None)
    resolving.resolve(_write(tmp_path / f'{name}.py', FORK.replace('WIDTH', '1')), {})
  assert sys.modules['json'] is before and 'wave' not in sys.modules


def test_odd_file_names_read_back(tmp_path):
  path = _write(tmp_path / '2-a.b é.py', FORK.replace('WIDTH', '1'))
  resolved = resolving.resolve(path, {'model.activation': 'jax.nn.gelu'})
  mine = 'experiments._2_a_b_é.my_relu'
  back = _reread(resolved, {'model.activation': mine})
  assert back.values()['model.activation'] == mine


def test_arrays_differ_readably(fork):
  one, two = (resolving.resolve(fork, {'width': w}).values() for w in '12')
  lines = resolving.differences(one, two).split('; ')
  assert sorted(line.strip().partition(':')[0] for line in lines) == [
    'knob.width', 'model.width', 'train.source.inputs']
  assert 'float64 array of shape (4, 2), crc32' in one['train.source.inputs']


# --- overriding -----------------------------------------------------------------


def test_a_knob_calls_config_again():
  resolved = resolving.resolve('digits_cnn', {'learning_rate': '0.5', 'seed': '3'})
  assert resolved.knobs['learning_rate'] == 0.5 and resolved.experiment.seed == 3
  assert resolved.values()['optimizer.learning_rate.peak'] == '0.5'


def test_units_of_a_span_are_changed_together():
  resolved = resolving.resolve(
    'digits_cnn', {'duration.steps': '7', 'duration.epochs': 'none'})
  assert resolved.experiment.duration.steps == 7
  assert _reread(resolved).experiment.duration == resolved.experiment.duration


@pytest.mark.parametrize(('path', 'text', 'message'), [
  ('learnin_rate', '1', "--config.learnin_rate: no knob or field 'learnin_rate'; "
   "did you mean 'learning_rate'?"),
  ('learning_rate', 'fast', '--config.learning_rate: wants float (now 0.006)'),
  ('model.droput', '0', "--config.model (bigmodels.models.Cnn) has no field 'droput'; "
   "did you mean 'dropout'?"),
  ('model.dropout', '2', '--config.model.dropout: wants 0 or more'),
  ('train.batch_size', '0', '--config.train.batch_size: must be >= 1, got 0'),
  ('keep', '0', '--config.keep: wants at least 1'),
  ('epochs', 'nan', 'epochs: wants more than 0, got nan'),
  ('knob.seed', '1', "no knob or field 'knob'"), ('', '1', 'no knob or field'),
  ('model.', '1', "no field ''"),
])
def test_a_wrong_override_is_refused(path, text, message):
  said = _refused('digits_cnn', {path: text})
  assert message in said and '\n' not in said


# --- config.txt -----------------------------------------------------------------

EDITS = [
  {'model.dropout': '0.1'}, {'optimizer.learning_rate': '0.1'},
  {'optimizer': 'optax.sgd'}, {'optimizer': 'optax.sgd', 'optimizer.momentum': '0.9'},
  {'optimizer.learning_rate': 'bigmodels.optim.schedules.cosine'},
  {'monitor.metric': 'test/loss', 'monitor.goal': 'min'}, {'train.transforms': '()'},
  {'model': 'bigmodels.models.Mlp'}, {'init_from': 'it\'s = #a "b"\n\u2028é'},
  {'model.widths': '8,', 'model.pool': '2'}, {'optimizer.eps': 'inf'},
  {'train.source.splits': "{'train': 0.5, 'test': 0.25, 'x = y': 0.25}"},
  {'duration.steps': '5', 'duration.epochs': 'none'}, {'evals': '{}'},
  {'train.transforms.1': 'bigmodels.data.transforms.standardize'},
]


@pytest.mark.parametrize('edits', EDITS, ids=str)
def test_edits_read_back_and_take_more(edits):
  first = resolving.resolve('digits_cnn', edits)
  assert first.values() != resolving.resolve('digits_cnn', {}).values()
  assert _reread(first).values() == first.values()
  more = _reread(first, {'batch_size': '7', 'keep': '3'})
  assert more.values() == resolving.resolve(
    'digits_cnn', {**edits, 'batch_size': '7', 'keep': '3'}).values()


def test_a_knob_is_newer_than_the_text():
  first = resolving.resolve('digits_cnn', {'optimizer.learning_rate.peak': '0.5'})
  assert _reread(first, {'learning_rate': '0.25'}).values()[
    'optimizer.learning_rate.peak'] == '0.25'


def test_text_edited_by_hand_wins():
  text = resolving.to_text(resolving.resolve('digits_cnn', {}))
  text = text.replace('\nseed = 0', '\nseed=5').replace(
    'model.widths = (32, 64)', '  model.widths  =  (8, 16)  ')
  resolved = resolving.from_text(text, 'config.txt', {})
  assert resolved.experiment.seed == 5
  assert resolved.experiment.model == models.Cnn(
    num_outputs=10, widths=(8, 16), pool=(1, 2), hidden=(64,), dropout=0.3)


@pytest.mark.parametrize(('old', 'new', 'message'), [
  ('model.dropout = 0.3', 'model.dropout = much', 'model.dropout: wants float'),
  ('model.dropout = 0.3', 'model.dropout = 3', 'model.dropout: wants 0 or more'),
  ('model.dropout = 0.3', 'model.droput = 0.3', "did you mean 'dropout'"),
  ('model.dropout = 0.3', '', 'model.dropout: (absent) -> 0.3'),
  ('model.dropout = 0.3', 'model.dropout', 'is no `path = value`'),
  ('model.dropout = 0.3', 'keep = 3', 'keep is there twice'),
  ('knob.seed = 0', 'knob.sed = 0', "sed: no such knob; did you mean 'seed'"),
  ('knob.seed = 0', 'knob.seed = x', 'knob.seed: wants int'),
  ('experiment = digits_cnn', 'experiment = digit_cnn', "did you mean 'digits_cnn'"),
  ('experiment = digits_cnn', '', 'not a config.txt'),
  ('\nkeep = 2', '\nkep = 2', "did you mean 'keep'"),
])
def test_text_edited_to_something_illegal(old, new, message):
  text = resolving.to_text(resolving.resolve('digits_cnn', {}))
  assert text.count(old) == 1
  with pytest.raises(UserError) as caught:
    resolving.from_text(text.replace(old, new), 'runs/a/config.txt', {})
  assert str(caught.value).startswith('runs/a/config.txt: ')
  assert message in str(caught.value)


@pytest.mark.parametrize('change', [
  lambda data: b'\xef\xbb\xbf' + data,
  lambda data: data.replace(b'\n', b'\r\n'),
  lambda data: b'\xef\xbb\xbf' + data.replace(b'\n', b'\r\n'),
  lambda data: data.replace(b'\n', b'\r'),
  lambda data: data.replace(b'\n', b' \t \n'),
  lambda data: data.replace(b'\n', b'\xc2\xa0\n'),
  lambda data: data.replace(b'\n', b'\n\n'),
  lambda data: data.replace(b' = ', b'\t=  '),
  lambda data: data.rstrip(b'\n'),
  lambda data: data + b'\n# the end\n   # and more\n\x0c\n',
], ids=range(10))
def test_text_as_editors_save_it(change, tmp_path):
  path, resolved = tmp_path / 'config.txt',
  resolving.resolve('digits_cnn', {'seed': '3'})
  path.write_bytes(change(resolving.to_text(resolved).encode()))
  again = resolving.from_file(path, {}, copy=None)
  assert again.values() == resolved.values() and again.experiment.seed == 3


@pytest.mark.parametrize(('change', 'message'), [
  (lambda data: data.decode().encode('utf-16'), 'UTF-32; save it as UTF-8'),
  (lambda data: b'\xfe\xff' + data.decode().encode('utf-16-be'), 'it is UTF-16'),
  (lambda data: data.decode().encode('utf-16-le'), 'line 1 has a zero byte'),
  (lambda data: data.decode().encode('utf-32'), 'it is UTF-16 or UTF-32'),
  (lambda data: data + b'\xff', 'is not UTF-8'),
  (lambda data: b'a = \xe4\n' + data, 'line 1 is not UTF-8'),
  (lambda data: data + b'keep = \0\n', 'has a zero byte'),
  (lambda data: bytes(range(256)) * 9, 'cannot be read: line'),
  (lambda data: b'\x89PNG\r\n\x1a\n' + bytes(range(256)), 'cannot be read: line 1'),
  (lambda data: b'', 'no line `experiment = NAME`'),
  (lambda data: b'\xef\xbb\xbf', 'no line `experiment = NAME`'),
  (lambda data: b'\n \n# a\n', 'no line `experiment = NAME`'),
  (lambda data: data + b'keep = 2\n', 'keep is there twice'),
  (lambda data: data * 2, 'experiment is there twice'),
  (lambda data: data + b'keep\n', 'is no `path = value`'),
  (lambda data: data.replace(b'experiment = digits_cnn', b'experiment = \xef\xbb\xbf'),
   'there is no experiment'),
  (lambda data: data.replace(b'digits_cnn', b'a' * 300 + b'.py'), 'File name too long'),
  (lambda data: data.replace(b'digits_cnn', b'~nobody/mine.py'), 'no experiment'),
], ids=range(18))
def test_what_is_no_config_is_one_line(change, message, tmp_path):
  path = tmp_path / 'config.txt'
  path.write_bytes(change(resolving.to_text(resolving.resolve('digits_cnn',
                                                              {})).encode()))
  with pytest.raises(UserError) as caught:
    resolving.from_file(path, {}, copy=None)
  assert message in str(caught.value) and str(caught.value).startswith(str(path))
  assert '\n' not in str(caught.value)


def test_a_folder_is_no_config(tmp_path):
  with pytest.raises(UserError, match='cannot be read: Is a directory'):
    resolving.from_file(tmp_path, {}, copy=None)


def test_truncated_text_is_refused():
  text = resolving.to_text(resolving.resolve('digits_cnn', {}))
  for end in range(0, len(text) - 1, 97):
    with pytest.raises(UserError):
      resolving.from_text(text[:end], 'config.txt', {})


def test_text_whose_experiment_is_gone(fork):
  text = resolving.to_text(resolving.resolve(fork, {}))
  pathlib.Path(fork).unlink()
  with pytest.raises(UserError, match=f'config.txt: there is no experiment {fork}'):
    resolving.from_text(text, 'config.txt', {})


def test_text_whose_experiment_has_changed(fork):
  text = resolving.to_text(resolving.resolve(fork, {}))
  _write(pathlib.Path(fork), FORK.replace('WIDTH', '8').replace(
    'evals={', "keep=5, evals={'more': data.Batches(source=arrays, batch_size=2), "))
  with pytest.raises(UserError, match=r'changed since(.|\n)*evals.more: \(absent\)'):
    resolving.from_text(text, 'config.txt', {}, trusted=Trust(everything=True))


def test_differences_name_the_path():
  assert resolving.differences({'a': '1', 'b': '2', 'c': '3'},
                               {'a': '1', 'b': '4'}) == (
    'b: 2 -> 4; c: 3 -> (absent)')


def test_functions_of_an_experiment_go_to_processes_that_cannot_import_it(tmp_path):
  fork = tmp_path / 'pets.py'
  fork.write_text('def fit(image, chance): return image + 1\ndef config(): pass\n')
  _, function = resolving.load(str(fork))
  sent = cloudpickle.dumps(sys.modules[function.__module__].fit)
  there = subprocess.run(
    [sys.executable, '-c', 'import pickle, sys; '
     'print(pickle.load(sys.stdin.buffer)(2, None))'],
    input=sent, capture_output=True, check=True)
  assert there.stdout == b'3\n'
