"""Tests of config.txt: what is written reads back, and what is refused."""

import pathlib

import pytest

from bigmodels import models
from bigmodels.config import config_file, resolving
from bigmodels.config.trust import Trust
from bigmodels.core import config_text
from bigmodels.core.errors import UserError
from tests.config.forks import FORK, reread, write


@pytest.fixture
def fork(tmp_path):
  return write(tmp_path / 'fork.py', FORK.replace('WIDTH', '8'))


EDITS = [
  {'model.dropout': '0.1'}, {'optimizer.learning_rate': '0.1'},
  {'optimizer': 'optax.sgd'}, {'optimizer': 'optax.sgd', 'optimizer.momentum': '0.9'},
  {'optimizer.learning_rate': 'bigmodels.optim.schedules.warmup_linear'},
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
  assert reread(first).values() == first.values()
  more = reread(first, {'batch_size': '7', 'keep': '3'})
  assert more.values() == resolving.resolve(
    'digits_cnn', {**edits, 'batch_size': '7', 'keep': '3'}).values()


def test_a_knob_is_newer_than_the_text():
  first = resolving.resolve('digits_cnn', {'optimizer.learning_rate.peak': '0.5'})
  assert reread(first, {'learning_rate': '0.25'}).values()[
    'optimizer.learning_rate.peak'] == '0.25'


def test_text_edited_by_hand_wins():
  text = config_file.to_text(resolving.resolve('digits_cnn', {}))
  text = text.replace('\nseed = 0', '\nseed=5').replace(
    'model.widths = (32, 64)', '  model.widths  =  (8, 16)  ')
  resolved = config_file.from_text(text, 'config.txt', {})
  assert resolved.experiment.seed == 5
  assert resolved.experiment.model == models.Cnn(
    num_outputs=10, widths=(8, 16), pool=(1, 2), hidden=(64,), dropout=0.3)


@pytest.mark.parametrize(('old', 'new', 'message'), [
  ('model.dropout = 0.3', 'model.dropout = much', 'model.dropout: must be float'),
  ('model.dropout = 0.3', 'model.dropout = 3', 'model.dropout: '),
  ('model.dropout = 0.3', 'model.droput = 0.3', "did you mean 'dropout'"),
  ('model.dropout = 0.3', '', 'model.dropout: (absent) -> 0.3'),
  ('model.dropout = 0.3', 'model.dropout', 'is not `path = value`'),
  ('model.dropout = 0.3', 'keep = 3', 'keep is there twice'),
  ('knob.seed = 0', 'knob.sed = 0', "sed: no such knob; did you mean 'seed'"),
  ('knob.seed = 0', 'knob.seed = x', 'knob.seed: must be int'),
  ('experiment = digits_cnn', 'experiment = digit_cnn', "did you mean 'digits_cnn'"),
  ('experiment = digits_cnn', '', 'not a config.txt'),
  ('\nkeep = 2', '\nkep = 2', "did you mean 'keep'"),
])
def test_text_edited_to_something_illegal(old, new, message):
  text = config_file.to_text(resolving.resolve('digits_cnn', {}))
  assert text.count(old) == 1
  with pytest.raises(UserError) as caught:
    config_file.from_text(text.replace(old, new), 'runs/a/config.txt', {})
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
  path, resolved = (tmp_path / 'config.txt',
                    resolving.resolve('digits_cnn', {'seed': '3'}))
  path.write_bytes(change(config_file.to_text(resolved).encode()))
  again = config_file.from_file(path, {}, copy=None)
  assert again.values() == resolved.values() and again.experiment.seed == 3


@pytest.mark.parametrize(('change', 'message'), [
  (lambda data: data.decode().encode('utf-16'), 'is UTF-16 or UTF-32; save it'),
  (lambda data: b'\xfe\xff' + data.decode().encode('utf-16-be'), 'is UTF-16'),
  (lambda data: data.decode().encode('utf-16-le'), 'line 1: has a zero byte'),
  (lambda data: data.decode().encode('utf-32'), 'is UTF-16 or UTF-32'),
  (lambda data: data + b'\xff', 'is not UTF-8'),
  (lambda data: b'a = \xe4\n' + data, 'line 1: byte 0xe4 is not UTF-8'),
  (lambda data: data + b'keep = \0\n', 'has a zero byte'),
  (lambda data: bytes(range(256)) * 9, 'cannot be read: line'),
  (lambda data: b'\x89PNG\r\n\x1a\n' + bytes(range(256)), 'cannot be read: line 1: '),
  (lambda data: b'', 'no line `experiment = NAME`'),
  (lambda data: b'\xef\xbb\xbf', 'no line `experiment = NAME`'),
  (lambda data: b'\n \n# a\n', 'no line `experiment = NAME`'),
  (lambda data: data + b'keep = 2\n', 'keep is there twice'),
  (lambda data: data * 2, 'experiment is there twice'),
  (lambda data: data + b'keep\n', 'is not `path = value`'),
  (lambda data: data.replace(b'experiment = digits_cnn', b'experiment = \xef\xbb\xbf'),
   'there is no experiment'),
  (lambda data: data.replace(b'digits_cnn', b'a' * 300 + b'.py'), 'File name too long'),
  (lambda data: data.replace(b'digits_cnn', b'~nobody/mine.py'), 'no experiment'),
], ids=range(18))
def test_a_file_that_cannot_be_read_is_refused_in_a_line(change, message, tmp_path):
  path = tmp_path / 'config.txt'
  path.write_bytes(change(config_file.to_text(resolving.resolve('digits_cnn',
                                                              {})).encode()))
  with pytest.raises(UserError) as caught:
    config_file.from_file(path, {}, copy=None)
  assert message in str(caught.value) and str(caught.value).startswith(str(path))
  assert '\n' not in str(caught.value)


def test_a_folder_is_refused(tmp_path):
  with pytest.raises(UserError, match='cannot be read: Is a directory'):
    config_file.from_file(tmp_path, {}, copy=None)


def test_truncated_text_is_refused():
  text = config_file.to_text(resolving.resolve('digits_cnn', {}))
  for end in range(0, len(text) - 1, 97):
    with pytest.raises(UserError):
      config_file.from_text(text[:end], 'config.txt', {})


def test_text_older_than_a_setting_has_its_default():
  resolved = resolving.resolve('digits_ddpm', {'average': '0.9'})
  text = config_file.to_text(resolved)
  for line in ('seeds = 1\n', 'mesh.population = 1\n', 'model.patch = 1\n',
               'folding = bigmodels.data.folds.shuffled\n', 'knob.guidance = 1.0\n'):
    assert line in text
    text = text.replace(line, '')
  found = config_file.from_text(text, 'config.txt', {})
  assert found.values() == resolved.values()
  assert found.notes == ('config.txt has no knob.guidance, model.patch, seeds, '
                         'folding, mesh.population; the defaults are used',)
  # What the experiment sets is not guessed.
  with pytest.raises(UserError, match=r'average: \(absent\) -> 0\.99'):
    config_file.from_text(text.replace('average = 0.9\n', ''), 'config.txt', {})


def test_text_whose_experiment_is_gone(fork):
  text = config_file.to_text(resolving.resolve(fork, {}))
  pathlib.Path(fork).unlink()
  with pytest.raises(UserError, match=f'config.txt: there is no experiment {fork}'):
    config_file.from_text(text, 'config.txt', {})


def test_text_whose_experiment_has_changed(fork):
  text = config_file.to_text(resolving.resolve(fork, {}))
  write(pathlib.Path(fork), FORK.replace('WIDTH', '8').replace(
    'evals={', "keep=5, evals={'more': data.Batches(source=arrays, batch_size=2), "))
  with pytest.raises(UserError, match=r'changed since(.|\n)*evals.more: \(absent\)'):
    config_file.from_text(text, 'config.txt', {}, trusted=Trust(everything=True))


def test_differences_name_the_path():
  assert config_text.differences({'a': '1', 'b': '2', 'c': '3'},
                               {'a': '1', 'b': '4'}) == (
    'b: 2 -> 4; c: 3 -> (absent)')


def test_arrays_differ_readably(fork):
  one, two = (resolving.resolve(fork, {'width': w}).values() for w in '12')
  lines = config_text.differences(one, two).split('; ')
  assert sorted(line.strip().partition(':')[0] for line in lines) == [
    'knob.width', 'model.width', 'train.source.inputs']
  assert 'float64 array of shape (4, 2), crc32' in one['train.source.inputs']
