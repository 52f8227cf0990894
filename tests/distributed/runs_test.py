"""Runs of run.py over several devices and processes: the same curve in all cases."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from bigmodels.distributed.cluster import free_port
from tests.processes import of_devices

TOLERANCE = 1e-5  # relative: float32 adds up in another order
STEPS = 40
FLAGS = ('--config.train.batch_size=48', f'--config.steps={STEPS}',
         '--config.log_every.steps=1', '--config.evaluate_every.epochs=1')


@pytest.fixture
def start(command, tiny, tmp_path):
  """(workdir, flags, devices, experiment, settings) -> a process of run.py."""
  started = []

  def start(workdir, *flags, devices=1, experiment=tiny, settings=FLAGS):
    process = subprocess.Popen(
      command(f'--experiment={experiment}', f'--workdir={workdir}', *settings, *flags),
      cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      env=of_devices(devices))
    started.append(process)
    return process

  yield start
  for process in started:
    if process.poll() is None:
      process.kill()
    process.communicate()


@pytest.fixture
def pair(start):
  """(workdir, flags of both, flags of process 1) -> two processes of four devices."""

  def pair(workdir, *flags, second=()):
    port = free_port()
    shared = (f'--coordinator=127.0.0.1:{port}', '--num_processes=2', *flags)
    return [start(workdir, *shared, f'--process_id={rank}', *(second * rank), devices=4)
            for rank in range(2)]

  return pair


@pytest.fixture(scope='module')
def whole(tmp_path_factory, cache_dir):
  """The workdir of an uninterrupted run on one device."""
  from bigmodels.cli.request import Request
  from bigmodels.hardware import devices
  from bigmodels.modes import train

  devices.configure_jax(cache_dir / 'xla')
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  tiny = pathlib.Path(__file__).resolve().parents[1] / 'forks' / 'tiny.py'
  overrides = dict(f.removeprefix('--config.').split('=') for f in FLAGS)
  train.run(Request(str(tiny), overrides, str(workdir), None, cache_dir, 'cpu'))
  return workdir


def records(workdir) -> list[dict]:
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.is_file() else []
  return [json.loads(line) for line in lines if line.endswith('}')]


def until(workdir, step, *processes):
  """Waits for a step to be in the log."""
  end = time.monotonic() + 120
  while (not any(r['step'] >= step for r in records(workdir))
         and all(p.poll() is None for p in processes) and time.monotonic() < end):
    time.sleep(0.01)


def ended(*processes) -> list[tuple[int, str, str]]:
  """(exit code, stdout, stderr) of processes, after they have ended."""
  return [(p.wait(timeout=120), *p.communicate()) for p in processes]


def same_curve(workdir, whole):
  ours, theirs = records(workdir), records(whole)
  assert [r['step'] for r in ours] == [r['step'] for r in theirs]
  for one, two in zip(ours, theirs, strict=True):
    assert one.keys() == two.keys()
    np.testing.assert_allclose(
      list(one.values()), list(two.values()), rtol=TOLERANCE, err_msg=str(one['step']))


@pytest.mark.slow('run several processes')
def test_two_processes_of_four_devices(
  start, pair, whole, tmp_path):
  first = tmp_path / 'first'
  both = pair(first, '--mesh=data:2,fsdp:4', '--config.resident=False')
  (code, out, err), (code1, out1, err1) = ended(*both)
  assert code == code1 == 0, err + err1
  assert 'process 0 of 2 on' in out and 'process 1 of 2 on' in out1
  # Gloo's threads print lines of their own, which may be mixed.
  printed = [line for line in out1.splitlines() if 'peer ranks' not in line]
  assert 'report:' in out and len(printed) == 1, ('one process prints', printed)
  same_curve(first, whole)


@pytest.mark.slow('run several processes')
def test_killed_on_eight_devices_and_resumed_on_one_and_on_two_processes(
  start, pair, whole, tmp_path):
  workdir, copy = tmp_path / 'run', tmp_path / 'copy'
  flags = ('--config.checkpoint=8',)
  killed = start(workdir, *flags, '--mesh=fsdp:8', devices=8)
  until(workdir, 20, killed)
  killed.kill()
  assert killed.wait() == -signal.SIGKILL, killed.communicate()[1]
  shutil.copytree(workdir, copy)
  (code, out, err), = ended(start(workdir, *flags, devices=1))
  assert code == 0 and 'resuming from step' in out, err
  same_curve(workdir, whole)
  (code, out, err), (code1, _, err1) = ended(*pair(copy, *flags, '--parallel=pmap'))
  assert code == code1 == 0 and 'resuming from step' in out, err + err1
  same_curve(copy, whole)


@pytest.mark.slow('run several processes')
@pytest.mark.parametrize('lost, number', [
  (1, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGKILL)])
def test_a_lost_process_is_named_and_the_run_can_be_resumed(
  start, pair, whole, tmp_path, lost, number):
  workdir = tmp_path / 'run'
  flags = ('--config.checkpoint=5', '--hang_timeout=8')
  both = pair(workdir, *flags)
  until(workdir, 12, *both)
  both[lost].send_signal(number)
  began = time.monotonic()
  (code, _, err), = ended(both[1 - lost])
  assert code != 0 and time.monotonic() - began < 8 + 15
  assert f'process {lost} of 2' in err, err
  assert 'Traceback' not in err and len(err.splitlines()) == 1, err
  both[lost].kill()
  (code, out, err), = ended(start(workdir, '--config.checkpoint=5'))
  assert code == 0 and 'resuming from step' in out, err
  same_curve(workdir, whole)


@pytest.mark.slow('run several processes')
def test_sigterm_to_one_process_saves_and_ends_all(start, pair, whole, tmp_path):
  workdir = tmp_path / 'run'
  both = pair(workdir, '--config.checkpoint=1000')
  until(workdir, 8, *both)
  both[1].send_signal(signal.SIGTERM)
  (code, out, err), (code1, _, err1) = ended(*both)
  assert code == code1 == 0, err + err1
  if 'saved step' not in out:
    pytest.skip('the run was over before the signal came')
  (code, out, err), = ended(start(workdir, '--config.checkpoint=1000'))
  assert code == 0 and 'resuming from step' in out, err
  same_curve(workdir, whole)


def test_processes_with_different_experiments_are_refused(pair, tmp_path):
  both = pair(tmp_path / 'run', second=('--config.learning_rate=0.1',))
  for code, _, err in ended(*both):
    assert code == 2
    assert 'process 1 of 2' in err and 'learning_rate' in err, err
  assert not (tmp_path / 'run' / 'config.txt').exists()


@pytest.mark.slow('run several processes')
def test_processes_with_different_workdirs_are_refused(start, tmp_path):
  port = free_port()
  both = [start(tmp_path / f'run{rank}', f'--coordinator=127.0.0.1:{port}',
                '--num_processes=2', f'--process_id={rank}', '--hang_timeout=12')
          for rank in range(2)]
  assert_no_common_secret(ended(*both), tmp_path / 'run1')


def assert_no_common_secret(found, workdir):
  """Process 1 looks for the secret in another folder, and process 0 waits for it."""
  (code, _, err), (code1, _, err1) = found
  assert code == code1 == 2
  assert re.fullmatch(
    r'error: of 2 processes, 1 did not connect within 12 s; what connected as 1 '
    r'from 127\.0\.0\.1 does not know the secret of this run\n', err), err
  assert re.fullmatch(
    r'error: process 0 has the secret of the run in \.secret-\w+ of its workdir, but '
    rf'{workdir}/\.secret-\w+ cannot be read here \(No such file or directory\): .*\n',
    err1), err1


@pytest.mark.slow('run several processes')
def test_a_common_secret_with_different_workdirs(start, tmp_path, monkeypatch):
  monkeypatch.setenv('BIGMODELS_SECRET', 'the same for both of them')
  port = free_port()
  both = [start(tmp_path / f'run{rank}', f'--coordinator=127.0.0.1:{port}',
                '--num_processes=2', f'--process_id={rank}') for rank in range(2)]
  for code, _, err in ended(*both):
    assert code == 2 and 'the workdir is not the same in all processes' in err, err


@pytest.mark.slow('run several processes')
def test_without_a_workdir_they_use_one_under_runs(command, tiny, tmp_path):
  port = free_port()
  both = [subprocess.Popen(
    command(f'--experiment={tiny}', *FLAGS, f'--coordinator=127.0.0.1:{port}',
            '--num_processes=2', f'--process_id={rank}'),
    cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    env=of_devices(1)) for rank in range(2)]
  for code, _, err in ended(*both):
    assert code == 0, err
  run, = (tmp_path / 'runs').iterdir()  # and no secret remains
  assert (run / 'result.json').is_file() and not list(run.glob('.secret*'))


@pytest.mark.slow('run several processes')
def test_evaluating_different_workdirs_is_refused(command, whole, tmp_path):
  other = tmp_path / 'other'
  shutil.copytree(whole, other, copy_function=shutil.copy)  # with times of its own
  port = free_port()
  both = [subprocess.Popen(
    command('--mode=eval', f'--workdir={workdir}', f'--coordinator=127.0.0.1:{port}',
            '--num_processes=2', f'--process_id={rank}', '--hang_timeout=12'),
    cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    env=of_devices(1))
    for rank, workdir in enumerate((whole, other))]
  assert_no_common_secret(ended(*both), other)


@pytest.mark.slow('run several processes')
def test_a_learner_that_does_not_average_gradients_is_refused_under_pmap(
  start, tmp_path, tiny):
  fork = tmp_path / 'alone.py'
  fork.write_text(
    'import importlib.util, dataclasses\n'
    f'spec = importlib.util.spec_from_file_location("tiny_base", {str(tiny)!r})\n'
    'base = importlib.util.module_from_spec(spec); spec.loader.exec_module(base)\n'
    'from bigmodels import learners\n'
    'def alone(task, optimizer, gradient):\n'
    '  return learners.supervised(task, optimizer)\n'
    'def config(*, steps: int = 10):\n'
    '  return dataclasses.replace(base.config(steps=steps), learner=alone)\n')
  process = start(tmp_path / 'run', '--parallel=pmap', devices=8, experiment=fork,
                  settings=('--config.train.batch_size=48',))
  (code, _, err), = ended(process)
  assert code == 2 and 'the devices hold different parameters' in err, err
