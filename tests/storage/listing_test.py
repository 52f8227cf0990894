"""What the files of a run say of it."""

import fcntl
import os

import pytest

from bigmodels.storage import listing
from tests.logs.runs import make


def states(root, lines=None):
  return {run.name: run.state for run in listing.find(
    root, (lines if lines is not None else []).append)}


def test_states_of_runs(tmp_path):
  make(tmp_path / 'a')
  make(tmp_path / 'deep' / 'er' / 'b', status='stopped')
  make(tmp_path / 'killed', status=None)
  resumed = make(tmp_path / 'resumed', status='stopped')
  with open(resumed / 'metrics.jsonl', 'a') as log:
    log.write('{"step": 9, "train/loss": 0.5}\n{"step": 10, "trai')  # and killed
  busy = make(tmp_path / 'busy', status=None)
  (tmp_path / 'no_run').mkdir()
  with open(busy / '.lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    found = states(tmp_path)
  assert found == {'a': 'finished', 'deep/er/b': 'stopped', 'killed': 'failed',
                   'resumed': 'failed', 'busy': 'running'}
  assert states(busy) == {'busy': 'failed'}  # now it is not locked


def test_numbers_are_of_the_result_or_the_end_of_the_log(tmp_path):
  done = listing.read(make(tmp_path / 'a', rate=0.25), tmp_path)
  assert done.metrics == {'validation/loss': 0.25, 'test/accuracy': 0.9,
                          'test/f1/0': 0.5, 'train/loss': 0.5, 'each': 2.0}
  assert done[2:6] == ('digits_cnn', 'finished', 2, 65.4)
  assert done.monitor == 'validation/loss' and done.config['knob.rate'] == '0.25'
  path = make(tmp_path / 'b', records=range(1, 2001), status=None)
  with open(path / 'metrics.jsonl', 'a') as log:
    log.write('{"step": 2001, "new": 3}\n{"half')
  running = listing.read(path, tmp_path)
  assert running.step == 2001 and running.seconds is None
  assert running.metrics['new'] == 3 and running.metrics['train/loss'] == 1 / 2000
  assert listing.curves(path, {'new', 'train/loss'})['train/loss'][4] == 0.25


@pytest.mark.parametrize(('file', 'text', 'problem'), [
  ('config.txt', 'import os', 'config.txt: line 1 is not `path = value`'),
  ('config.txt', b'\xff', 'config.txt: '),
  ('result.json', '{"status": "finished"}', 'result.json: is not as a run wrote it'),
  ('result.json', '[' * 99999, 'result.json: '),
  ('metrics.jsonl', '{"step": 1}\nx\n', 'metrics.jsonl: '),
  ('metrics.jsonl', '[3]\n', "metrics.jsonl: must have records, got b'[3]'")])
def test_damaged_files_are_named(file, text, problem, tmp_path):
  path = make(tmp_path / 'a')
  (path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
  run = listing.read(path, tmp_path)
  assert run.state == 'damaged' and run.problem.startswith(problem), run.problem


@pytest.mark.parametrize('file', ['config.txt', 'result.json', 'metrics.jsonl'])
def test_a_pipe_or_a_device_is_not_read(file, tmp_path):
  path = make(tmp_path / 'a')
  (path / file).unlink()
  os.mkfifo(path / file)
  os.mkfifo(path / '.lock')
  assert listing.read(path, tmp_path).problem == f'{file}: is not a file'
  assert listing.curves(path, {'train/loss'}).keys() == {'train/loss'}
  (path / file).unlink()
  (path / file).symlink_to('/dev/zero')
  assert listing.read(path, tmp_path).problem == f'{file}: is not a file'


@pytest.mark.skipif(os.getuid() == 0, reason='root may read everything')
def test_a_folder_that_cannot_be_read_is_a_line(tmp_path):
  (tmp_path / 'a').mkdir(mode=0)
  lines = []
  assert states(tmp_path, lines) == {} and 'Permission denied' in lines[0]
