"""Tests of `import bigmodels` and `bigmodels.train`, as a library has them."""

import json
import os
import pathlib
import subprocess
import sys
import threading
from functools import partial

import jax
import numpy as np
import optax
import pytest

import bigmodels
from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, code
from bigmodels.core.errors import UserError
from bigmodels.data import transforms

ROOT = pathlib.Path(__file__).resolve().parent.parent
ONE_STEP = {'duration.steps': 1, 'duration.epochs': None}


def small(**fields):
  digits = data.Digits()

  def batches(split, size):
    return data.Batches(source=digits.split(split), batch_size=size,
                        transforms=(transforms.standardize,))

  return Experiment(**{
    'model': models.Mlp(10, (4,)), 'task': tasks.classification,
    'optimizer': partial(optax.adam, learning_rate=1e-2),
    'train': batches('train', 32), 'evals': {'test': batches('test', 100)},
    'duration': Duration(steps=3), 'log_every': Duration(steps=1), **fields})


def test_an_import_is_quiet_and_light():
  """No JAX, no output, no files, no signal handlers, no environment variables."""
  found = subprocess.run(
    [sys.executable, '-c', 'import os, signal, sys\n'
     'env = dict(os.environ); before = [signal.getsignal(n) for n in (2, 15)]\n'
     'import bigmodels\n'
     'assert before == [signal.getsignal(n) for n in (2, 15)]\n'
     'assert env == dict(os.environ)\n'
     'assert not {"jax", "numpy", "absl", "flax"} & {*sys.modules}\n'
     'print(bigmodels.__version__)'], capture_output=True, text=True, check=False,
    cwd=ROOT)
  assert (found.stdout, found.stderr) == (f'{bigmodels.__version__}\n', '')


@pytest.mark.slow('train')
def test_the_bits_are_those_of_the_command_line(tiny, run_py, tmp_path, cache_dir):
  flags = ['--config.steps=12', '--config.width=3', '--config.model.dropout=0.1']
  assert run_py(f'--experiment={tiny}', f'--workdir={tmp_path}/a',
                *flags).returncode == 0
  lines = []
  run = bigmodels.train(tiny, steps=12, config={'width': 3, 'model.dropout': 0.1},
                        workdir=tmp_path / 'b', cache_dir=cache_dir, say=lines.append)
  a, b = (tmp_path / name for name in 'ab')
  for name in ('metrics.jsonl', 'config.txt'):
    assert (a / name).read_bytes() == (b / name).read_bytes()
  results = [json.loads((x / 'result.json').read_text())['metrics'] for x in (a, b)]
  assert results[0] == results[1]
  other = bigmodels.load(a, cache_dir=cache_dir, say=lines.append)
  for one, two in zip(*(jax.tree.leaves(x.state) for x in (run, other)), strict=True):
    np.testing.assert_array_equal(one, two)
  assert lines[0] == f'workdir: {b}' and any(x.startswith('step 12/12') for x in lines)


def test_an_experiment_that_is_an_object(tmp_path, cache_dir, capfd):
  lines, workdir = [], tmp_path / 'a'
  settings = {'workdir': workdir, 'cache_dir': cache_dir, 'say': lines.append}
  run = bigmodels.train(small(), **settings, config={'seed': 5})
  assert run.step == 3 and run.experiment.seed == 5
  again = bigmodels.load(workdir, cache_dir=cache_dir, say=lines.append)
  np.testing.assert_array_equal(*(jax.tree.leaves(x.params)[0] for x in (run, again)))
  assert 'test/loss' in run.evaluate('test')
  text = (workdir / 'source' / 'experiment.py').read_text()
  assert 'model=bigmodels.models.Mlp(num_outputs=10, widths=(4,))' in text
  bigmodels.train(small(), **settings, config={'seed': 5})
  assert f'this run is finished: {workdir}/report.html' in lines
  with pytest.raises(UserError, match=r'a holds another run: seed: 5 -> 6'):
    bigmodels.train(small(), **settings, config={'seed': 6})
  with pytest.raises(UserError, match=r'holds another run: model.widths: \(4,\) -> '):
    bigmodels.train(small(model=models.Mlp(10, (5,))), **settings, config={'seed': 5})
  resumed = bigmodels.train(**settings)
  assert resumed.step == 3
  assert capfd.readouterr().out == ''


def test_a_thread_trains(tmp_path, cache_dir):
  found = []

  def work():
    found.append(bigmodels.train(
      small(), workdir=tmp_path / 'a', cache_dir=cache_dir, say=lambda line: None))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join(120)
  assert found[0].step == 3


@pytest.mark.slow('train agents')
def test_an_agent(tmp_path, cache_dir):
  """Its state is that of a whole batch of environments, also without its data."""
  pytest.importorskip('gymnax', reason='gymnax is not installed')
  lines = []
  run = bigmodels.train('cartpole_a2c', steps=4, workdir=tmp_path / 'a',
                        cache_dir=cache_dir, say=lines.append)
  assert run.step == 4 and not any('damaged' in line for line in lines)


def test_no_library_prints(tmp_path):
  """Not even a warning of Grain, in a process of its own."""
  found = subprocess.run(
    [sys.executable, '-c', 'import sys\nimport bigmodels\n'
     'from tests.library_test import small\n'
     f"bigmodels.train(small(), workdir={str(tmp_path / 'a')!r}, say=[].append)"],
    capture_output=True, text=True, check=False, cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
  assert (found.returncode, found.stdout, found.stderr) == (0, '', '')


@pytest.mark.parametrize('arguments, words', [
  (('digits_cn',), "there is no experiment 'digits_cn'; did you mean 'digits_cnn'?"),
  (('digits_cnn', {'epoch': 3}), "--config.epoch: no knob or field 'epoch'; did you"),
  (('digits_cnn', {'epochs': 'many'}), '--config.epochs: must be int or float'),
  (('digits_cnn', {'model.dropou': 0.1}), "has no field 'dropou'; did you mean"),
  (('digits_cnn', {'model': models.Mlp(3)}), 'model: must be a number, a text, None'),
  (('digits_cnn', {'optimizer': partial(optax.sgd, 1)}), 'optimizer: must be a number'),
  ((3,), 'experiment: must be a str or a Path, got 3'),
  ((None,), 'name an --experiment, or a --workdir to resume'),
  (('nothing.py',), 'there is no experiment'),
])
def test_errors_are_those_of_the_command_line(tmp_path, monkeypatch, arguments, words):
  monkeypatch.chdir(tmp_path)
  experiment, config = (*arguments, {})[:2]
  with pytest.raises(UserError) as error:
    bigmodels.train(experiment, config=config, say=lambda line: None)
  assert words in str(error.value)
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('config', ['seed', ['seed'], {3: 4}, None])
def test_a_config_that_is_no_map_of_paths(config):
  with pytest.raises(UserError, match=r'^config: must be a map \{path: value\}, '):
    bigmodels.train('digits_cnn', config=config)


def test_what_is_given_twice(tmp_path):
  with pytest.raises(UserError, match='epochs: given twice, as a keyword and in '):
    bigmodels.train('digits_cnn', epochs=3, config={'epochs': 4})


@pytest.mark.parametrize('fields, words', [
  ({'task': lambda model: tasks.classification(model)}, 'task: the function <lambda>'),
  ({'optimizer': partial(optax.adam, np.arange(3.0))}, r'optimizer.0: a ndarray can'),
  ({'optimizer': partial(optax.adam, float('inf'))}, r'optimizer.0: inf has no li'),
])
def test_objects_that_no_code_makes(tmp_path, fields, words):
  with pytest.raises(UserError, match=words):
    code.resolved(small(**fields), tmp_path)


@pytest.mark.parametrize('name', sorted(
  path.stem for path in (ROOT / 'experiments').glob('[!_]*.py')))
def test_every_experiment_can_be_written_as_code(name, tmp_path):
  from bigmodels.config import resolving, tree

  needed = {'tabular_mlp': {'path': 'x.csv', 'label': 'y'}}.get(name, {})
  try:
    experiment = resolving.resolve(name, needed).experiment
  except UserError as error:
    pytest.skip(str(error))
  if name == 'cifar_speedrun':  # a function of its file
    with pytest.raises(UserError, match=r'is defined in experiments\.cifar_spe'):
      code.resolved(experiment, tmp_path)
    return
  found = code.resolved(experiment, tmp_path)
  assert dict(tree.describe_fields(found.experiment)) == dict(
    tree.describe_fields(experiment))
