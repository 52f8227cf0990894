"""Sending a log to trackers: equal to the log at the end, whatever happens between."""

import json
import os
import pathlib
import time

import pytest

from bigmodels.core.errors import UserError
from bigmodels.logs import tracking
from bigmodels.storage.workdir import Workdir

FAKE = str(pathlib.Path(__file__).with_name('fake_tracker.py'))
VERSIONS = {'bigmodels': '0.1.0+abcdef'}


def record(step, value=None):
  return {'step': step, 'train/loss': step / 4 if value is None else value,
          'test/none': None, 'test/each': [1.0, 2.0], 'test/matrix': [[1.0], [2.0]]}


def sent_of(step, value=None):
  return ['log', step, {'train/loss': step / 4 if value is None else value,
                        'test/each/0': 1.0, 'test/each/1': 2.0}]


@pytest.fixture
def run(tmp_path, monkeypatch):
  """(records, status) -> what is printed, of a run whose log becomes these records."""
  workdir = Workdir(tmp_path / 'work')
  workdir.path.mkdir()
  (tmp_path / 'there').mkdir()
  workdir.config.write_text("experiment = tiny\nknob.rate = 0.5\nseed = 3\n")
  workdir.report.write_text('<html>')
  workdir.write_json(workdir.result, {
    'status': 'finished', 'step': 3, 'metrics': {'test/loss': 0.5, 'f1/0/1': 1.0},
    'device': 'cpu', 'digest': 'x', 'best_step': None})
  monkeypatch.setenv('FAKE_TRACKER', str(tmp_path / 'there'))

  def call(*records, status='finished', fault='', patience=20, meanwhile=lambda: None):
    monkeypatch.setenv('FAKE_TRACKER_FAULT', fault)
    lines = []
    with open(workdir.metrics, 'w') as file:
      sending = tracking.Tracking([FAKE], workdir, VERSIONS, lines.append)
      for each in records:
        print(json.dumps(each), file=file, flush=True)
      meanwhile()
    sending.status = status
    sending.close(patience)
    return lines

  return call


def there(tmp_path, name='run0'):
  text = (tmp_path / 'there' / name).read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_config_records_and_result_are_sent(run, tmp_path):
  assert run(record(1), record(2)) == [f'fake_tracker: {tmp_path}/there/run0']
  assert there(tmp_path) == [
    ['start', 'work', {'experiment': 'tiny', 'knob.rate': 0.5, 'seed': 3}, VERSIONS],
    sent_of(1), sent_of(2),
    ['finish', 'finished', {'status': 'finished', 'step': 3.0, 'test/loss': 0.5,
                            'device': 'cpu'}, 'report.html']]


def test_a_resumed_run_sends_only_what_is_new(run, tmp_path):
  run(record(1), record(2), record(3), status='stopped')
  run(record(1), record(2), status='killed')  # went back, and was killed again
  run(record(1), record(2), record(3), record(4))
  assert [e for e in there(tmp_path) if e[0] == 'log'] == [
    sent_of(1), sent_of(2), sent_of(3), sent_of(4)]
  assert os.listdir(tmp_path / 'there') == ['run0']


def test_other_numbers_after_a_resume_make_a_new_run_there(run, tmp_path):
  run(record(1), record(2), record(3), status='killed')
  run(record(1), record(2, 9), record(3))
  assert [e for e in there(tmp_path) if e[0] == 'log'] == [
    sent_of(1), sent_of(2, 9), sent_of(3)]
  assert sorted(os.listdir(tmp_path / 'there')) == ['old-run0', 'run0']


def test_what_the_log_has_no_more_is_not_there(run, tmp_path):
  run(record(1), record(2), record(3), status='killed')
  run(record(1), record(2))
  assert [e[1] for e in there(tmp_path) if e[0] == 'log'] == [1, 2]


def test_a_finished_run_is_sent_once(run, tmp_path):
  run(record(1))
  before = there(tmp_path)
  assert run(record(1)) == [f'fake_tracker: {tmp_path}/there/run0']
  assert there(tmp_path) == before


def test_what_was_lost_on_the_way_is_sent_again(run, tmp_path):
  run(record(1), record(2), status='killed')
  path = tmp_path / 'there' / 'run0'
  lines = path.read_text().splitlines(keepends=True)
  path.write_text(''.join(lines[:2]))
  run(record(1), record(2), record(3))
  assert [e[1] for e in there(tmp_path) if e[0] == 'log'] == [1, 2, 3]


@pytest.mark.parametrize(('fault', 'message'), [
  ('start:raise', 'ConnectionError: no route (more in'),
  ('log:raise', 'ConnectionError: no route (more in'),
  ('finish:raise', 'ConnectionError: no route (more in'),
  ('log:die', 'its process ended with exit code -9'),
  ('finish:hang', 'still sending after'), ('start:hang', 'still sending after')])
def test_a_tracker_that_fails_is_said_once_and_sends_later(fault, message, run,
                                                           tmp_path):
  start = time.monotonic()
  patience = 2 if 'hang' in fault else 6  # a busy machine is slow to start a process
  lines = run(record(1), record(2), fault=fault, patience=patience)
  assert time.monotonic() - start < 8
  lines = [line for line in lines if line.startswith('warning: ')]
  assert len(lines) == 1 and message in lines[0], lines
  assert lines[0].endswith(
    f'To send it later: python run.py --workdir={tmp_path}/work --track={FAKE}')
  run(record(1), record(2))
  kinds = [e[:2] for e in there(tmp_path)]
  assert kinds == [['start', 'work'], ['log', 1], ['log', 2], ['finish', 'finished']]


@pytest.mark.parametrize(('text', 'message'), [
  ('wndb', "no such tracker, nor the path of a .py file; did you mean 'wandb'?"),
  ('gone.py', 'there is no file'),
  (',', '--track=: no such tracker'), (f'{FAKE},{FAKE}', 'fake_tracker is given twice'),
  ('half.py', 'a tracker defines start, log, discard, finish; log is missing'),
  ('wrong.py', r'wrong\.py, line 1: SyntaxError'),
  ('other.py', 'other: no_such_library is not installed; pip install no_such_library')])
def test_trackers_that_are_refused(text, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'half.py').write_text('def start(about, id):\n  pass\n')
  (tmp_path / 'wrong.py').write_text('def start(')
  (tmp_path / 'other.py').write_text("PACKAGE = 'no_such_library'\n" + ''.join(
    f'def {name}(*_):\n  pass\n' for name in tracking.FUNCTIONS))
  with pytest.raises(UserError, match=message):
    tracking.parse(text)


def test_every_tracker_defines_the_functions_and_its_library():
  assert {*tracking.TRACKERS} == {'wandb', 'mlflow', 'trackio'}
  for name in tracking.TRACKERS:
    try:
      assert tracking.parse(name) == (name,)
    except UserError as error:
      assert f'--track={name}: {name} is not installed' in str(error)
  assert tracking.parse(None) == tracking.parse('') == ()
