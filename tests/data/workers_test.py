"""Tests of bigmodels.data.workers and stream: what is read, and what is left of it."""

import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import stream, workers
from bigmodels.data.order import Order

BLOCKS = pathlib.Path('/dev/shm')
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def load(step):
  """Columns of several kinds that tell their step."""
  return {'inputs': np.full((3, 5), step, np.float32), 'labels': np.full(3, step),
          'flags': np.array([True, False, step % 2 == 0]),
          'none': np.zeros((3, 0)), 'turned': np.full((2, 3), step, np.uint8).T,
          'worker': np.array([os.getpid()])}


def left(reader):
  """The blocks of a reader that are still there."""
  return [path.name for path in BLOCKS.glob(f'{reader._prefix}*')]


def check(batch, step):
  worker = int(batch.pop('worker')[0])
  expected = load(step)
  del expected['worker']
  assert batch.keys() == expected.keys()
  for name, array in batch.items():
    assert array.dtype == expected[name].dtype
    np.testing.assert_array_equal(array, expected[name])
  return worker


def test_batches_come_in_order_from_any_step_and_leave_nothing():
  reader = workers.Workers('train', load, 12, 1, 4)
  reader.begin(3)
  first = {check(reader.next(), step) for step in range(3, 6)}
  reader.begin(1)  # what was read ahead is dropped
  assert not left(reader) or len(left(reader)) <= 4
  assert {check(reader.next(), step) for step in range(1, 12)} == first
  assert os.getpid() not in first and len(first) == 1  # the same process
  reader.begin(0)
  reader.close()  # with everything still under way
  assert not left(reader)
  reader.begin(7)  # it starts again
  assert check(reader.next(), 7) not in first
  reader.close()
  assert not left(reader) and not multiprocessing.active_children()


@pytest.mark.slow('run several processes')
def test_a_worker_that_is_killed_is_named_in_a_line():
  reader = workers.Workers('evals.test', load, 10**6, 2, 8)
  reader.begin(0)
  os.kill(check(reader.next(), 0), signal.SIGKILL)
  with pytest.raises(UserError, match=r'evals\.test: a worker process died .* the '
                     r'batch of step \d+: .*--config\.evals\.test\.workers=0'):
    for step in range(1, 1000):
      check(reader.next(), step)
  reader.close()
  assert not left(reader) and not multiprocessing.active_children()


@pytest.mark.slow('run several processes')
def test_a_worker_outlives_a_sigterm_by_what_a_run_needs_to_save():
  reader = workers.Workers('train', load, 100, 1, 2)
  reader.begin(0)
  os.kill(check(reader.next(), 0), signal.SIGTERM)
  for step in range(1, 50):
    check(reader.next(), step)
  reader.close()
  assert not left(reader)


def read(rows, seeds=None):
  """Row 7 cannot be read, nor can 3 and 4 together; the rows of step 9 are refused."""
  if 7 in rows:
    raise ZeroDivisionError(f'no {rows[0]}')
  if 3 in rows and 4 in rows:
    raise ValueError('too many')
  if 9 in rows:
    raise UserError('refused')
  return {'inputs': np.stack([rows, rows], -1), 'labels': rows}


@pytest.mark.parametrize('count', [
  0, pytest.param(1, marks=pytest.mark.slow('run several processes'))])
@pytest.mark.parametrize('size, step, message', [
  (2, 3, r'evals\.a: row 7 cannot be read: ZeroDivisionError: no 7 \(workers_test\.py'),
  (3, 2, r'evals\.a: row 7 cannot be read'), (1, 7, r'evals\.a: row 7 cannot be read'),
  (5, 0, r'evals\.a: rows 0, 1, 2, 3, 4 cannot be read together: too many'),
  (1, 9, '^refused$'),
])
def test_a_row_that_cannot_be_read_is_named(size, step, message, count):
  order = Order(10, size, 0, False)
  reader = stream.Reader('evals.a', order, read, 10, count, np.arange(size))
  with pytest.raises(UserError, match=message):
    reader.batch(step)
  reader.close()


def test_a_source_that_cannot_be_sent():
  reader = workers.Workers('train', threading.Lock().acquire, 3, 1, 2)
  with pytest.raises(UserError, match=r'train: the source cannot be sent to worker '
                     r'processes: TypeError: .*; --config\.train\.workers=0 reads'):
    reader.begin(0)
  reader.close()


def test_where_there_is_no_room_for_a_block_the_batch_itself_is_sent(monkeypatch):
  if not BLOCKS.is_dir():
    pytest.skip('this system does not say how much room there is')
  monkeypatch.setitem(workers._sent, 'load', load)
  usage = shutil.disk_usage(BLOCKS)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=100))
  batch = workers._read(5, 'bm_never_made')
  assert not isinstance(batch, workers._Layout)
  check(batch, 5)
  assert not (BLOCKS / 'bm_never_made').exists()


ORPHANS = '''
import os
from bigmodels.data.workers import Workers
from tests.data.workers_test import load

if __name__ == '__main__':
  reader = Workers('train', load, 100, 2, 4)
  reader.begin(0)
  pids = {int(reader.next()['worker'][0]) for _ in range(20)}
  print(*pids, flush=True)
  os.kill(os.getpid(), 9)
'''


@pytest.mark.slow('run several processes')
def test_workers_end_with_a_run_that_is_killed(tmp_path):
  (tmp_path / 'orphans.py').write_text(ORPHANS)
  done = subprocess.run(
    [sys.executable, 'orphans.py'], cwd=tmp_path, capture_output=True, text=True,
    timeout=120, check=False, env=os.environ | {'PYTHONPATH': str(ROOT)})
  pids = [int(pid) for pid in done.stdout.split()]
  assert pids, done.stderr
  for pid in pids:
    for _ in range(100):
      if not pathlib.Path(f'/proc/{pid}').exists():
        break
      time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
      os.kill(pid, 0)


STREAMED = '''
from functools import partial
import numpy as np
import optax
from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def config(*, steps: int = 30, bad: int = -1) -> Experiment:
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(200, 16, 16)).astype(np.float32)
  labels = (inputs[:, 0, 0] > 0).astype(int)
  if bad >= 0:
    inputs[bad, 3, 2] = np.nan
  source = data.Arrays(inputs, labels)
  def batches(split):
    return data.Batches(source=source.split(split), batch_size=16, workers=2,
                        resident=False)
  return Experiment(
    model=partial(models.Mlp, widths=(8,)), task=tasks.classification,
    optimizer=partial(optax.adam, 1e-2), train=batches('train'),
    evals={'test': batches('test')}, duration=Duration(steps=steps),
    evaluate_every=Duration(steps=10**6))
'''


def children(pid):
  """Processes that were spawned by one, as /proc has them."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    try:
      fields = path.read_text().rpartition(')')[2].split()
      command = (path.parent / 'cmdline').read_bytes()
    except OSError:
      continue
    if int(fields[1]) == pid and b'spawn_main' in command:
      found.append(int(path.parent.name))
  return found


@pytest.mark.slow('run several processes')
@pytest.mark.parametrize('how', ['to the end', 'sigterm', 'worker killed', 'bad row'])
def test_a_streamed_run_leaves_nothing_however_it_ends(command, tmp_path, how):
  if not BLOCKS.is_dir():
    pytest.skip('this system does not show its blocks')
  (tmp_path / 'streamed.py').write_text(STREAMED)
  before = set(BLOCKS.glob('bm*')) | set(BLOCKS.glob('psm_*'))
  endless = () if how in ('to the end', 'bad row') else ('--config.steps=100000',)
  bad = ('--config.bad=70',) if how == 'bad row' else ()
  with subprocess.Popen(
    command('--experiment=streamed.py', '--workdir=run', *endless, *bad), text=True,
    cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'}) as run:
    if endless:
      for line in run.stdout:
        if 'parameters in' in line:
          break
      time.sleep(2)
      os.kill(*((run.pid, signal.SIGTERM) if how == 'sigterm' else
                (children(run.pid)[0], signal.SIGKILL)))
    out, err = run.communicate(timeout=200)
  assert set(BLOCKS.glob('bm*')) | set(BLOCKS.glob('psm_*')) <= before
  assert 'leaked' not in err and 'Traceback' not in err and 'WARNING' not in err, err
  if how == 'worker killed':
    assert run.returncode == 2
    assert err.startswith('error: ') and err.count('\n') == 1, err
    assert 'a worker process died' in err and '.workers=0' in err
  elif how == 'bad row':
    assert run.returncode == 2
    assert err.startswith('error: ') and err.count('\n') == 1, err
    assert '3, 2] is nan (row 70 of the arrays)' in err
  else:
    assert (run.returncode, err) == (0, '')
    assert how != 'sigterm' or 'SIGTERM: saved step' in out
