"""Tests of what a stored run may execute: every road into one, and hostile configs."""

import json
import os
import pathlib
import re
import shutil
import sys

import pytest

from bigmodels.config import config_file, resolving, trust
from bigmodels.config.literals import EMPTY
from bigmodels.config.trust import Trust
from bigmodels.core import config_text, digests
from bigmodels.core.errors import UserError
from bigmodels.modes import download, eval, plan, print, sample, shapes, train
from bigmodels.storage.workdir import Workdir
from bigmodels.training import opening

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'golden'
FORK = '''
from collections.abc import Callable
from functools import partial

import jax
import optax
from helper import STEPS, pooled

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def mine(x):
  return jax.nn.relu(x)

def config(*, activation: Callable = mine, steps: int = STEPS) -> Experiment:
  digits = data.Digits()
  return Experiment(
    model=partial(models.Mlp, widths=(8,), activation=activation),
    task=tasks.classification, optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(source=digits.split('train'), batch_size=32),
    evals={'test': data.Batches(source=digits.split('test'), batch_size=360)},
    duration=Duration(steps=steps))
'''
HELPER = 'STEPS = 3\n\ndef pooled(x):\n  return x.mean(1)\n'
NONE = Trust()


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
  """A user who has run nothing yet."""
  monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
  return tmp_path / 'state'


@pytest.fixture
def canary(tmp_path, monkeypatch):
  """Modules that leave a file behind when they are imported, and where it would be."""
  found = tmp_path / 'canary'
  text = (f'import pathlib\npathlib.Path({str(found)!r}).touch()\n'
          'def f(x=None, *args, **kwargs): return x\nclass Net: pass\n'
          'def config(**knobs): return None\n')
  folder = tmp_path / 'evil'
  (folder / 'evilpkg').mkdir(parents=True)
  for name in ('evilmod.py', 'evilpkg/__init__.py', 'evilpkg/sub.py', 'evil.py'):
    (folder / name).write_text(text)
  monkeypatch.syspath_prepend(folder)
  for name in ('evilmod', 'evilpkg', 'evilpkg.sub'):
    monkeypatch.delitem(sys.modules, name, raising=False)
  yield found
  for name in ('evilmod', 'evilpkg', 'evilpkg.sub'):
    sys.modules.pop(name, None)


# --- names ----------------------------------------------------------------------

HOSTILE = [  # what stands for the optimizer, or what else is set
  'posix.system', 'os.system', 'subprocess.run', 'subprocess.Popen', 'eval', 'exec',
  'open', 'builtins.exec', 'builtins.__import__', 'builtins.open', 'breakpoint',
  'evilmod.f', 'evilmod.Net', 'evilpkg.f', 'evilpkg.sub.f', 'importlib.import_module',
  'functools.partial', 'pickle.loads', 'cloudpickle.loads', 'numpy.load',
  'runpy.run_path',
  'shutil.rmtree', 'jax._src.compiler.os.system', 'bigmodels.storage.workdir.os.system',
  'bigmodels.storage.workdir.shutil.rmtree', 'bigmodels.config.literals.imported',
  'bigmodels.config.literals.importlib.import_module',
  'bigmodels.training.opening.load',
  'bigmodels.config.load', 'bigmodels.config.execution.execute',
  'bigmodels.modes.train.run',
  'bigmodels.core.files.download', 'bigmodels.data.tfds.builders.of_class',
  'bigmodels.data.texts.os.system', 'bigmodels.layers.recurrent.importlib',
  'bigmodels.evilmod.f', 'optax.sys.modules', 'optax.evilmod', 'jax.numpy.load',
  'jax.numpy.save', 'jax.numpy.fromfile', 'jax.pure_callback', 'jax.debug.callback',
  'jax.experimental.io_callback', 'jax.profiler.start_trace', 'jax.nn.relu.__globals__',
  'jax.nn.gelu.__init__', 'flax.serialization.from_bytes', 'flax.linen.tabulate',
  'flax.io.rmtree', 'experiments.digits_cnn.partial', 'experiments.digits_cnn.models',
  'experiments.evil.f', 'experiments.cifar_speedrun.muon_and_sgd',
  'run.command.main', 'bigmodels.cli.command.main',
  {'model.activation': 'evilmod.f'}, {'task': 'evilmod.f'}, {'learner': 'evilmod.f'},
  {'model': 'evilmod.Net'}, {'train.source': 'evilmod.Net'}, {'evals.test': 'os.kill'},
  {'train.transforms.1': 'evilmod.f'}, {'optimizer.learning_rate': 'evilmod.f'},
  {'train': 'posix.system'}, {'monitor': 'evilmod.Net'}, {'rules': 'evilmod.f'},
]


def _with(text, **lines):
  for path, value in lines.items():
    text, found = re.subn(rf'^{re.escape(path)} = .*$', lambda _, p=path, v=value:
                          f'{p} = {v}', text, flags=re.MULTILINE)
    assert found == 1
  return text


def _hostile(lines):
  return _with((GOLDEN / 'digits_cnn.txt').read_text(),
               **(lines if isinstance(lines, dict) else {'optimizer': lines}))


@pytest.fixture
def received(tmp_path):
  """(text of config.txt) -> a folder as somebody else has sent it."""
  def make(text):
    folder = tmp_path / 'received'
    (folder / 'checkpoints' / '3').mkdir(parents=True, exist_ok=True)
    (folder / 'config.txt').write_text(text)
    return folder
  return make


ROADS = {
  'train': lambda make, at: train.run(make(None, at)),
  'eval': lambda make, at: eval.run(make(None, at)),
  'sample': lambda make, at: sample.run(make(None, at)),
  'shapes': lambda make, at: shapes.run(make(None, at)),
  'plan': lambda make, at: plan.run(make(None, at)),
  'print': lambda make, at: print.run(make(None, at)),
  'download': lambda make, at: download.run(make(None, at)),
  'config.txt, print': lambda make, at: print.run(make(at / 'config.txt')),
  'config.txt, shapes': lambda make, at: shapes.run(make(at / 'config.txt')),
  'config.txt, train': lambda make, at: train.run(make(at / 'config.txt',
                                                       at.parent / 'new')),
  'another run': lambda make, at: opening.load(
    at, cache_dir=at.parent, say=lambda line: None),
}


@pytest.mark.parametrize('road', ROADS)
def test_no_road_executes_what_a_stored_config_names(
    road, received, request_for, canary, tmp_path, monkeypatch):
  for module in ('os', 'posix'):
    monkeypatch.setattr(sys.modules[module], 'system', lambda *_: canary.touch())
  # All by one road, a share of them by each of the others.
  first = [*ROADS].index(road)
  for lines in HOSTILE if road == 'print' else HOSTILE[first::len(ROADS)]:
    folder = received(_hostile(lines))
    before = {*sys.modules}
    with pytest.raises(UserError) as caught:
      ROADS[road](request_for, folder)
    said, ((path, name),) = str(caught.value), (
      lines if isinstance(lines, dict) else {'optimizer': lines}).items()
    assert not canary.exists(), lines
    assert '\n' not in said and said.startswith(f'{folder}/config.txt: '), lines
    assert (f'{path}: {name} is not one of' in said and '--trust' in said) or (
      'must be' in said), (lines, said)  # some fields take no name at all
    assert not {m for m in {*sys.modules} - before if m.startswith('evil')}
  assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('road', ROADS)
def test_no_road_executes_the_code_of_a_stored_run(
    road, received, request_for, canary, tmp_path):
  text = (GOLDEN / 'digits_cnn.txt').read_text()
  evil = tmp_path / 'evil' / 'evil.py'
  sent = {
    'elsewhere': (_with(text, experiment=str(evil)), {}),
    'copied': (_with(text, experiment=str(evil)), {'evil.py': evil.read_text()}),
    'gone': (_with(text, experiment='/nowhere/evil.py'), {'evil.py': evil.read_text()}),
    'changed': (text, {'digits_cnn.py': evil.read_text()}),
    'beside': (text, {
      'digits_cnn.py': 'import evil\n' + (resolving.EXPERIMENTS / 'digits_cnn.py'
                                          ).read_text(), 'evil.py': evil.read_text()}),
    'shadowing': (text, {
      'digits_cnn.py': (resolving.EXPERIMENTS / 'digits_cnn.py').read_text(),
      'optax.py': evil.read_text(), 'functools.py': evil.read_text()}),
    'relative': (_with(text, experiment=os.path.relpath(evil)), {}),
    'through a link': (_with(text, experiment=str(tmp_path / 'link.py')), {}),
  }
  (tmp_path / 'link.py').symlink_to(evil)
  for kind, (text, files) in sent.items():
    folder = received(text)
    shutil.rmtree(folder / 'source', ignore_errors=True)
    for name, content in files.items():
      (folder / 'source').mkdir(exist_ok=True)
      (folder / 'source' / name).write_text(content)
    with pytest.raises(UserError) as caught:
      ROADS[road](request_for, folder)
    said = str(caught.value)
    assert not canary.exists(), kind
    assert '\n' not in said and '--trust' in said and 'not been run' in said, kind


@pytest.mark.slow('train')
def test_a_run_that_measures_another_does_not_execute_it(received, request_for, canary):
  folder = received(_hostile({'model.activation': 'evilmod.f'}))
  with pytest.raises(UserError, match=r'model.activation: evilmod.f is not one of'):
    shapes.run(request_for('digits_dcgan', classifier=folder))
  assert not canary.exists()


@pytest.mark.parametrize(('lines', 'made'), [
  ({'model.activation': 'evilmod.f'}, True), ({'task': 'evilmod.f'}, True),
  ({'optimizer': 'optax.sgd'}, False)])
def test_trust_imports_it(lines, made, canary):
  """The canary of these tests would sing."""
  text = _hostile(lines)
  if not made:
    text = re.sub(r'optimizer\..*\n', '', text)
  try:
    config_file.from_text(text, 'config.txt', {}, trusted=Trust(everything=True))
  except UserError as error:  # the arguments of the one before stand there still
    assert 'it was edited' in str(error)
  assert canary.exists() == made


@pytest.mark.parametrize('name', sorted(p.stem for p in GOLDEN.glob('*.txt')))
def test_every_name_of_the_experiments_is_offered(name):
  resolving.load(resolving.source_of(name))
  values = config_text.read((GOLDEN / f'{name}.txt').read_text())
  for path, text in values.items():
    if re.fullmatch(r'[a-z]\w*(\.\w+)+', text):
      assert trust.offered(text, f'experiments.{name}') is not EMPTY, (path, text)


LEGAL = [
  {'model.activation': 'jax.nn.gelu'}, {'model.activation': 'flax.linen.swish'},
  {'model.activation': 'jax.numpy.tanh'}, {'model.activation': 'abs'},
  {'model.kernel_init': 'flax.linen.initializers.lecun_normal'},
  {'model.kernel_init': 'jax.nn.initializers.orthogonal'},
  {'optimizer': 'optax.sgd'}, {'optimizer': 'optax.contrib.muon'},
  {'optimizer': 'optax.lion', 'optimizer.b1': '0.8'},
  {'optimizer.learning_rate': 'optax.cosine_decay_schedule'},
  {'optimizer.learning_rate': 'bigmodels.optim.schedules.warmup_linear'},
  {'model': 'bigmodels.models.Cnn'}, {'model': 'bigmodels.models.Linear'},
  {'train.transforms.0': 'bigmodels.data.transforms.flip'},
  {'train.transforms.0': 'bigmodels.data.transforms.cutout'},
  {'learner': 'bigmodels.learners.supervised'},
  {'monitor.metric': 'test/loss', 'monitor.goal': 'min'}, {'init_from': '/a/b.c'},
  {'train.source': 'bigmodels.data.Digits'},
]


@pytest.mark.parametrize('lines', LEGAL, ids=str)
def test_what_is_offered_goes_on_without_trust(lines):
  resolved = resolving.resolve('digits_cnn', lines)
  again = config_file.from_text(config_file.to_text(resolved), 'config.txt', {},
                              trusted=NONE)
  assert again.values() == resolved.values()


@pytest.mark.parametrize(('name', 'lines'), [
  ('tabular_mlp', {'path': 'a.csv', 'label': 'b', 'train.source.clean.0':
                   'bigmodels.data.cleaning.fill_missing'}),
  ('imagenet_resnet50', {'train.source.fit': 'bigmodels.data.images.centre_crop',
                         'train.source.fit.size': '8'}),
  ('shakespeare_gpt', {'train.source.tokenizer': 'bigmodels.data.tokenizers.Bytes'}),
  ('sst2_lstm', {'model.cell': 'bigmodels.layers.recurrent.Gru'}),
])
def test_configs_of_data_are_resumed_without_trust(name, lines):
  resolved = resolving.resolve(name, lines)
  again = config_file.from_text(config_file.to_text(resolved), 'config.txt', {},
                              trusted=NONE)
  assert again.values() == resolved.values()


@pytest.mark.parametrize(('text', 'found'), [
  ('jax.lax.Precision.HIGHEST', True), ('jax.lax.Precision.mro', False),
  ('jax.lax.Precision.__doc__', False), ('jax.numpy.float32', True),
  ('bigmodels.layers.activations.gelu', True), ('optax', False), ('', False),
  ('.', False), ('optax.', False), ('optax..adam', False), ('jax.nn', False),
  ('bigmodels.layers.recurrent.nn', False), ('bigmodels.data.Table.open', False),
  ('bigmodels.layers.activations.nothing', False), ('bigmodels.layers.no.thing', False),
  ('bigmodels.environments.hosted', False), ('bigmodels.data.texts.UserError', False),
  ('bigmodels.optim.groups.check_patterns', False), ('jax.numpy.fromfile', False),
  ('bigmodels.losses.cross_entropy', True), ('bigmodels.losses.gan.r1', True),
  ('bigmodels.metrics.classification', True), ('bigmodels.optim.l2', True),
  ('bigmodels.losses.gan', False), ('bigmodels.losses.gan.jnp', False),
])
def test_offered(text, found):
  assert (trust.offered(text) is not EMPTY) == found


def test_a_misspelt_name_is_answered_with_the_nearest():
  with pytest.raises(UserError, match=r"optax.sdg is not one of .* mean 'sgd'\?"):
    config_file.from_text(_hostile('optax.sdg'), 'config.txt', {}, trusted=NONE)


def test_no_module_offers_what_reads_writes_or_executes():
  words = re.compile('load|save|file|exec|import|system|pickle|callback|subprocess|'
                     'popen|eval$|spawn', re.IGNORECASE)
  odd = {f'{module}.{name}' for module in trust.MODULES
         for name in trust._names(module, 'x')
         if words.search(name)}
  assert odd == {
    'bigmodels.data.ArrayFiles',  # without pickles
    *(f'bigmodels.data.texts.{name}' for name in (
      'CaptionFile', 'DialogueFile', 'ParallelFiles', 'QuestionFiles',
      'SlotDialogueFile', 'StoryFiles', 'TextFiles')),
    'bigmodels.data.tokenizers.TokenizerFile', 'bigmodels.data.tokenizers.load',
    'bigmodels.metrics.retrieval'}  # a metric; 'eval' is in its name


# --- text that would be an import -----------------------------------------------


def _cartpole(**lines):
  return _with((GOLDEN / 'cartpole_a2c.txt').read_text().replace(
    'bigmodels.environments.Gymnax', 'bigmodels.environments.Gymnasium'), **lines)


@pytest.mark.parametrize(('text', 'line'), [
  (lambda: _cartpole(**{'train.source.environment.name': "'evilmod:Env-v0'"}),
   'train.source.environment.name'),
  (lambda: _cartpole(**{'evals.test.source.environment.name': "'evilpkg.sub:Env'"}),
   'evals.test.source.environment.name'),
  (lambda: _with((GOLDEN / 'cifar_cnn.txt').read_text(), **{
    'train.source.name': "'huggingface:evil/evil'"}), 'train.source.name'),
  (lambda: _with((GOLDEN / 'cifar_cnn.txt').read_text(), **{
    'evals.test.source.name': "'../../evil'"}), 'evals.test.source.name'),
  (lambda: _with((GOLDEN / 'translate_en_de.txt').read_text(), **{
    'train.source.documents.urls': "{'../x': 'http://a/b'}"}),
   'train.source.documents.urls'),
])
def test_text_that_would_be_imported_or_fetched_is_refused(text, line, canary):
  with pytest.raises(UserError) as caught:
    config_file.from_text(text(), 'config.txt', {}, trusted=NONE)
  assert str(caught.value).startswith(f'config.txt: {line}: ')
  assert 'a stored config may not have' in str(caught.value)
  assert not canary.exists()


# --- a fork of one's own --------------------------------------------------------


def _write_fork(folder):
  folder.mkdir(exist_ok=True)
  (folder / 'fork.py').write_text(FORK)
  (folder / 'helper.py').write_text(HELPER)
  return folder / 'fork.py'


@pytest.fixture
def fork(tmp_path):
  return _write_fork(tmp_path / 'forks')


@pytest.fixture
def at(fork, tmp_path, request_for):
  """The folder of a run of it that is about to begin, by a user who has named it."""
  workdir = Workdir(tmp_path / 'run')
  with workdir.lock():
    workdir.store(request_for(fork, workdir.path).resolve(),
                 {'data_dir': None, 'kept': {}})
  return workdir.path


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
  """() -> goes to another machine, where nothing was run."""
  return lambda: monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'nowhere'))


def _said(capsys, mode, request):
  capsys.readouterr()
  mode.run(request)
  shown = capsys.readouterr()
  return shown.out + shown.err


def _refused(mode, request):
  with pytest.raises(UserError) as caught:
    mode.run(request)
  return str(caught.value)


MAX = HELPER.replace('mean', 'max')
DIFFERENCE = ("helper.py, line 4: 'return x.mean(1)' when the run began, now "
              "'return x.max(1)'")


def test_a_run_keeps_its_code(fork, at):
  assert {p.name: p.read_text() for p in (at / 'source').iterdir()} == {
    'fork.py': FORK, 'helper.py': HELPER}


@pytest.mark.parametrize('mode', [shapes, print], ids=['shapes', 'print'])
def test_a_run_means_the_code_it_began_with(mode, fork, at, request_for, capsys):
  (fork.parent / 'helper.py').write_text(MAX)
  said = _said(capsys, mode, request_for(None, at))
  assert f'{DIFFERENCE}: this run is resumed with its own copy' in said


@pytest.mark.slow('train')
def test_a_finished_run_answers_as_it_did(fork, request_for, tmp_path, capsys):
  at = tmp_path / 'run'
  train.run(request_for(fork, at))
  (fork.parent / 'helper.py').write_text(MAX)
  for mode in (train, plan, eval):
    said = _said(capsys, mode, request_for(None, at))
    assert f'{DIFFERENCE}: this run is resumed with its own copy' in said
  assert 'the same numbers as in result.json' in said
  result = json.loads((at / 'result.json').read_text())
  del result['digest']
  result['metrics']['test/accuracy'] = 0.999
  result['versions']['optax'] = '0.0.1'
  (at / 'result.json').write_text(json.dumps(
    {**result, 'digest': digests.of_json(result)}))
  said = _said(capsys, eval, request_for(None, at))
  assert 'test/accuracy was 0.999' in said and 'optax was 0.0.1' in said
  assert said.count(DIFFERENCE) == 2 and 'flax was' not in said


def test_what_means_nothing_is_not_said(fork, at, request_for, capsys):
  fork.write_text('# A comment.\n' + FORK)
  assert _said(capsys, print, request_for(None, at)) == (
    at / 'config.txt').read_text()
  (fork.parent / 'helper.py').write_text(MAX.replace('3', '30'))
  found = request_for(None, at).resolve()
  assert found.knobs['steps'] == 3 and 'and 1 more' not in found.notes[0]
  assert "'STEPS = 3' when the run began, now 'STEPS = 30'" in found.notes[0]


def test_a_changed_file_is_another_run(fork, at, request_for, tmp_path):
  (fork.parent / 'helper.py').write_text(MAX)
  for mode in (train, eval, sample):
    said = _refused(mode, request_for(fork, at))
    assert 'holds another run' in said and DIFFERENCE in said
    assert f'--workdir={at};' in said and 'use another --workdir' in said
  assert request_for(fork, tmp_path / 'other').resolve().source.files['helper.py'] == (
    MAX.encode())


def test_a_file_that_is_gone(fork, at, request_for, capsys):
  fork.unlink()
  assert 'fork.py is gone' in _said(capsys, print, request_for(None, at))
  shutil.rmtree(at / 'source')
  assert 'there is no experiment' in _refused(print, request_for(None, at))


def test_a_copy_that_was_edited_is_not_what_was_run(fork, at, request_for):
  (at / 'source' / 'helper.py').write_text(MAX)
  assert '--trust' in _refused(eval, request_for(None, at))


def test_who_has_not_run_it_says_trust_once(fork, at, request_for, elsewhere, tmp_path):
  elsewhere()
  for mode in (train, eval, print, shapes, sample):
    assert 'has not been run on this machine' in _refused(mode, request_for(None, at))
  print.run(request_for(None, at)._replace(trust=True))
  print.run(request_for(None, at))
  (tmp_path / 'nowhere' / 'bigmodels' / 'trusted').chmod(0o666)
  assert 'has not been run on this machine' in _refused(print, request_for(None, at))


def test_other_names_are_remembered_for_the_run(fork, request_for, tmp_path, elsewhere,
                                                canary):
  text = config_file.to_text(request_for(fork, activation='evilmod.f').resolve())
  assert canary.exists()  # typed by the user
  assert 'knob.activation = evilmod.f' in text
  stored = tmp_path / 'config.txt'
  stored.write_text(text)
  print.run(request_for(stored))
  # Not for another place, nor with other arguments.
  for edit in ({'optimizer': 'evilmod.f'}, {'task': 'evilmod.f'}):
    stored.write_text(_with(text, **edit))
    assert 'evilmod.f is not one of' in _refused(print, request_for(stored))
  stored.write_text(text)
  elsewhere()
  trust.remember([resolving.source_of(str(fork)).digest])  # not what it names
  assert 'knob.activation: evilmod.f is not one of' in _refused(
    print, request_for(stored))
  print.run(request_for(stored)._replace(trust=True))
  print.run(request_for(stored))


def test_a_run_without_its_copy_is_refused(fork, at, request_for):
  shutil.rmtree(at / 'source')
  Workdir(at).claim(request_for(fork, at).resolve())
  with pytest.raises(UserError, match=r'source/\w+\.py is gone'):
    Workdir(at).seal()


def test_a_killed_start_goes_on(fork, request_for, tmp_path):
  workdir = Workdir(tmp_path / 'killed')
  workdir.source.mkdir(parents=True)
  (workdir.source / 'fork.py').write_text('another = 1')
  resolved = request_for(fork, workdir.path).resolve()
  with pytest.raises(UserError, match='other files in'):
    workdir.claim(resolved)
  for name, text in (('fork.py', FORK), ('helper.py', HELPER)):
    (workdir.source / name).write_text(text)
  workdir.claim(resolved)


# --- the list -------------------------------------------------------------------


def _file(state):
  return state / 'bigmodels' / 'trusted'


def test_what_is_remembered_is_known(state):
  one, two = 'a' * 64, 'b' * 64
  trust.remember([one])
  trust.remember([one, two])
  assert trust.of_user().known == {one, two}
  assert _file(state).read_text().count(one) == 1
  assert _file(state).stat().st_mode & 0o077 == 0
  _file(state).write_text(_file(state).read_text()[:-10])  # torn
  assert trust.of_user().known == {one}
  trust.remember([two])
  assert trust.of_user().known == {one, two}


@pytest.mark.parametrize('break_it', [
  lambda state: _file(state).write_bytes(b'\xff\0' * 1000),
  lambda state: _file(state).write_text('a' * 63 + '\n' + 'A' * 64 + '\n' + 'a' * 65),
  lambda state: _file(state).mkdir(),
  lambda state: (_file(state).write_text('a' * 64), _file(state).chmod(0o602)),
  lambda state: (_file(state).write_text('a' * 64), _file(state).chmod(0o620)),
  lambda state: (_file(state).write_text('a' * 64), _file(state).parent.chmod(0o777)),
  lambda state: _file(state).symlink_to('/dev/null'),
  lambda state: _file(state).symlink_to(_file(state)),
  lambda state: _file(state).write_text(''),
  lambda state: _file(state).parent.rmdir(),
  lambda state: (_file(state).parent.rmdir(), state.joinpath('bigmodels').touch()),
], ids=range(11))
def test_a_list_that_is_not_sound_is_none(break_it, state):
  _file(state).parent.mkdir(parents=True)
  break_it(state)
  assert trust.of_user() == Trust(False, frozenset())
  trust.remember(['c' * 64])  # nothing fails
  assert trust.of_user(True).holds('d' * 64)


@pytest.mark.parametrize('home', [None, '', 'relative'])
def test_nobody_without_a_home_fails(home, monkeypatch):
  monkeypatch.setenv('XDG_STATE_HOME', 'not/absolute')
  monkeypatch.delenv('HOME')
  if home is not None:
    monkeypatch.setenv('HOME', home)
  def unknown(*args):
    raise RuntimeError('Could not determine home directory.')
  monkeypatch.setattr(pathlib.Path, 'home', unknown)
  trust.remember(['c' * 64])
  assert trust.of_user() == Trust()
