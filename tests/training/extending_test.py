"""A finished run goes on as if it had not ended, or is refused."""

import json
import os
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import train
from bigmodels.storage.workdir import Workdir

# A constant rate, and evaluations where the shorter run ends.
CONSTANT = {'optimizer__0__learning_rate': 0.01, 'duration__steps': None,
            'average': 0.9}


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def trained(path, request):
  run = bigmodels.load(path, cache_dir=request.cache_dir)
  return run.step, run.state


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('extending')


@pytest.fixture
def finished(folder, request_for, tiny):
  """The workdir of a run of two steps, which no test changes."""
  if not (folder / 'run').is_dir():
    train.run(request_for(tiny, folder / 'run', steps=2))
  return folder / 'run'


def same_bits(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow('train')
def test_two_epochs_and_two_more_are_four(request_for, tiny, tmp_path, capsys):
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  request = request_for(tiny, whole, duration__epochs=4, **CONSTANT)
  train.run(request)
  train.run(request_for(tiny, parts, duration__epochs=2, **CONSTANT))
  first = result(parts)
  capsys.readouterr()
  train.run(request_for(None, parts), extend='2epochs')
  out = capsys.readouterr().out
  assert 'extended by 2epochs, to a duration of 4 epochs' in out
  assert 'learning_rate: stays at 0.01' in out
  before = json.loads((parts / 'result_44.json').read_text())
  assert before == first and before['steps'] == 44
  assert '</html>' in (parts / 'report_44.html').read_text()
  assert result(parts)['steps'] == result(whole)['steps'] == 87
  assert result(parts)['metrics'] == pytest.approx(result(whole)['metrics'], abs=0)
  assert 'duration.epochs = 4.0\n' in (parts / 'config.txt').read_text()
  (step, one), (other, two) = (trained(path, request) for path in (whole, parts))
  assert step == other
  same_bits(one, two)
  eval_mode.run(request_for(None, parts))
  assert 'the same numbers as in result.json' in capsys.readouterr().out
  train.run(request_for(None, parts))
  assert 'this run is finished' in capsys.readouterr().out
  train.run(request_for(None, parts), extend='3steps')
  assert result(parts)['steps'] == 90


def test_a_schedule_follows_the_new_length_and_patience_is_counted_anew(
  request_for, tiny, tmp_path, capsys):
  at = tmp_path / 'a'
  # With a rate of almost 0 no loss exceeds that of the first evaluation: the run stops
  # early.
  train.run(request_for(tiny, at, learning_rate=1e-30, patience=2, steps=500,
                        monitor__goal='max'))
  assert result(at)['stopped_by'] == 'patience'
  step = result(at)['step']
  capsys.readouterr()
  train.run(request_for(None, at), extend='40steps')
  out = capsys.readouterr().out
  assert f'extended by 40steps, to a duration of {step + 40} steps' in out
  assert f'schedules are now those of {step + 40} steps, where they were of 500' in out
  assert 'learning_rate: was' in out and 'goes on at' in out
  # Evaluated every 10.78 steps: two evaluations without improvement.
  assert result(at)['stopped_by'] == 'patience'
  assert step + 11 < result(at)['step'] < step + 30


@pytest.mark.parametrize('extend', ['20', '-2epochs', '0steps', '1.5steps', 'epochs',
                                    '3minutes', '', 'nan epochs'])
def test_another_text_is_refused(extend, request_for, finished):
  with pytest.raises(UserError, match=r'--extend=.*: must be a number of epochs or '):
    train.run(request_for(None, finished), extend=extend)
  assert result(finished)['steps'] == 2


def test_a_run_that_is_not_finished_or_not_there_is_refused(
  request_for, tiny, finished, tmp_path):
  shutil.copytree(finished, tmp_path / 'a')
  (tmp_path / 'a' / 'result.json').unlink()
  with pytest.raises(UserError, match=r'not finished; to resume: python run\.py --'):
    train.run(request_for(None, tmp_path / 'a'), extend='2steps')
  with pytest.raises(UserError, match='there is no run in'):
    train.run(request_for(tiny, tmp_path / 'b'), extend='2steps')
  with pytest.raises(UserError, match='holds another run'):
    train.run(request_for(None, tmp_path / 'a', seed=9), extend='2steps')


@pytest.mark.slow('kill runs')
def test_killed_between_two_writes_it_is_the_run_before(
  request_for, tiny, tmp_path, monkeypatch, capsys):
  at = tmp_path / 'a'
  train.run(request_for(tiny, at, steps=20))
  before, write = result(at), Workdir.write

  def killed(self, path, text):
    if path == self.config:
      raise KeyboardInterrupt
    write(self, path, text)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(Workdir, 'write', killed)
    train.run(request_for(None, at), extend='10steps')
  assert not (at / 'result.json').exists()
  train.run(request_for(None, at))
  assert result(at)['metrics'] == before['metrics'] and result(at)['steps'] == 20
  train.run(request_for(None, at), extend='10steps')
  assert result(at)['steps'] == 30


@pytest.mark.slow('kill runs')
def test_killed_while_it_goes_on_it_ends_with_the_same_bits(
  command, request_for, tiny, tmp_path):
  paths = [tmp_path / name for name in ('whole', 'cut')]
  few = {'steps': 40, 'checkpoint': 30}
  for path in paths:
    request = request_for(tiny, path, **few)
    train.run(request)
  train.run(request_for(None, paths[0]), extend='400steps')
  flags = ('--extend=400steps',), ()
  for target, more in zip((60, 200), flags, strict=True):
    process = subprocess.Popen(
      command(f'--workdir={paths[1]}', *more), cwd=tmp_path, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
    log = paths[1] / 'metrics.jsonl'
    while process.poll() is None and max(
      (json.loads(line)['step'] for line in log.read_text().splitlines()
       if line.endswith('}')), default=0) < target:
      time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
  train.run(request_for(None, paths[1]))
  assert result(paths[0])['metrics'] == result(paths[1])['metrics']
  (step, one), (other, two) = (trained(path, request) for path in paths)
  assert step == other
  same_bits(one, two)
