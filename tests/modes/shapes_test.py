"""--mode=shapes and --mode=plan of TFDS data: the same numbers with it and without."""

import json

import jax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.tfds import builders, tfds_cache, tfds_examples
from bigmodels.modes import plan, shapes, train
from tests.conftest import ROOT
from tests.data.tfds.prepared import flat, record, write

CIFAR = ROOT / 'experiments' / 'cifar_cnn.py'
# By hand: 3 x 3 of 3 and of 64 channels, then dense layers on 8 x 8 x 128.
PARAMETERS = (9 * 3 * 64 + 64) + (9 * 64 * 128 + 128) + (8192 * 1024 + 1024) + (
  1024 * 10 + 10)
SMALL = '''
from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.data import transforms
from bigmodels.config import Duration, Experiment


def config() -> Experiment:
  return Experiment(
    model=partial(models.Mlp, widths=(8,)), task=tasks.classification,
    optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(source=data.Tfds('cifar10'), batch_size=8,
                       transforms=(transforms.standardize,)),
    evals={}, duration=Duration(epochs=1))
'''


@pytest.fixture
def prepared(tmp_path):
  """CIFAR-10 as on disk, of which no example can be read: its files are not there."""
  builders.from_files.cache_clear()
  root = write(
    tmp_path / 'prepared', {name: [record(flat(0, (32, 32)), 0, 'a')]
                            for name in ('train', 'test')},
    name='cifar10', shape=('32', '32', '3'), classes=tuple('abcdefghij'))
  info = root / 'cifar10' / '1.0.0' / 'dataset_info.json'
  content = json.loads(info.read_text())
  for split, length in zip(content['splits'], (50_000, 10_000), strict=True):
    split['shardLengths'] = [str(length)]
  info.write_text(json.dumps(content))
  for path in info.parent.glob('*array_record*'):
    path.unlink()
  return root


@pytest.fixture
def undecoded(monkeypatch):
  def fail(*args):
    raise AssertionError('an example is read')

  monkeypatch.setattr(tfds_cache, 'Load', fail)
  for name in ('read', 'data_source'):
    monkeypatch.setattr(tfds_examples, name, fail)


@pytest.mark.usefixtures('undecoded')
def test_shapes_with_data_and_without(request_for, prepared, tmp_path, capsys):
  before = sum(x.nbytes for x in jax.live_arrays())
  shapes.run(request_for(CIFAR, data_dir=tmp_path / 'nothing'))
  assumed, lines = [], []
  for line in capsys.readouterr().out.splitlines():
    (assumed if line.startswith('assumed: ') else lines).append(line)
  assert [line.split()[2] for line in assumed] == ['train', 'test']
  assert lines[-1].split() == ['parameters', f'{PARAMETERS:,}']
  shapes.run(request_for(CIFAR, data_dir=prepared))
  assert capsys.readouterr().out.splitlines() == lines
  assert sum(x.nbytes for x in jax.live_arrays()) - before < 4096


@pytest.mark.usefixtures('undecoded')
def test_plans_with_data_and_without(request_for, prepared, tmp_path, capsys):
  path = tmp_path / 'small.py'
  path.write_text(SMALL)
  found = []
  for data_dir in (tmp_path / 'nothing', prepared):
    plan.run(request_for(path, tmp_path / 'plan', data_dir=data_dir))
    found.append(json.loads((tmp_path / 'plan' / 'plan.json').read_text()))
    said = capsys.readouterr().out
    assert said.count('assumed: cifar10/3.0.2 train is not prepared in') == (
      data_dir != prepared)
    del found[-1]['compile_seconds']
  assert found[0] == found[1]
  assert found[0]['data_bytes'] == 50_000 * (32 * 32 * 3 + 4)


def test_real_data_changes_nothing(request_for, shared_tfds, capsys):
  builders.from_files.cache_clear()
  shapes.run(request_for(CIFAR, data_dir=shared_tfds))
  assert capsys.readouterr().out.splitlines()[-1].split()[1] == f'{PARAMETERS:,}'


def test_a_typo_is_one_line(run_py, tmp_path):
  text = CIFAR.read_text().replace("'cifar10'", "'cifra10'")
  (tmp_path / 'mine.py').write_text(text)
  done = run_py('--experiment=mine.py', '--mode=plan', f'--data_dir={tmp_path}')
  assert done.returncode == 2 and done.stderr.count('\n') == 1
  assert done.stderr.endswith("; did you mean 'cifar10'?\n")


def test_training_needs_the_data(request_for, tmp_path):
  with pytest.raises(UserError, match=r"looked for 'cifar10' in .*nothing, which is"):
    train.run(request_for(CIFAR, tmp_path / 'run', data_dir=tmp_path / 'nothing'))
