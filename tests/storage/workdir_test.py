"""Tests of the files of a finished run that are damaged or replaced."""

import fcntl
import json
import shutil
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import train
from bigmodels.storage.workdir import Workdir, best_of_run
from bigmodels.training import results
from tests.storage.damage import edit, manifest_of


@pytest.mark.parametrize('change', [
  lambda r: r['metrics'].update({'test/accuracy': 1.0}),
  lambda r: r.pop('metrics') and None, lambda r: r.update(status='stopped'),
  lambda r: r.update(step='x'),
  lambda r: r.pop('digest') and None, lambda r: [r], lambda r: 'finished', lambda r: {},
  lambda r: {'status': 'finished'}, lambda r: r.update(best_step=None)])
def test_a_changed_result_is_not_used(run, change):
  lines = []
  assert results.finished(run, lines.append)['step'] == 30 and not lines
  edit(run.result, change)
  assert results.finished(run, lines.append) is None
  assert lines == [f'{run.result} is not as a run wrote it, and is not used']


@pytest.mark.parametrize('data', [b'\xff\xfe', b'', b'[' * 100_000, b'{}{}'])
def test_a_result_that_cannot_be_read_is_not_used(run, data):
  run.result.write_bytes(data)
  assert results.finished(run, lambda line: None) is None


def test_a_result_that_is_not_used_is_made_anew(run, request_for, capsys):
  before = json.loads(run.result.read_text())
  run.result.write_bytes(b'')
  train.run(request_for(None, run.path))
  assert 'is not as a run wrote it' in capsys.readouterr().out
  assert json.loads(run.result.read_text())['metrics'] == before['metrics']


@pytest.mark.parametrize('name', [
  'metrics', 'utilization', 'data',
  pytest.param('report', marks=pytest.mark.slow('damaged runs')),
  pytest.param('result', marks=pytest.mark.slow('damaged runs'))])
def test_a_folder_in_place_of_a_file_is_named(run, request_for, name):
  path = getattr(run, name)
  path.unlink()
  path.mkdir()
  if name != 'result':
    run.result.unlink()
  with pytest.raises(UserError, match=str(run.path)):
    train.run(request_for(None, run.path))


def test_the_best_checkpoint_of_a_run(run):
  best = json.loads(run.result.read_text())['best_step']
  step, carry = best_of_run(run, None, print)
  assert step == best and carry['state']['params']
  lines = []
  manifest_of(run, 30).write_text('{}')
  assert best_of_run(run, None, lines.append)[0] == 22 and len(lines) == 1
  manifest_of(run, 22).write_text('{}')
  with pytest.raises(UserError, match=r'every checkpoint in .* is damaged'):
    best_of_run(run, None, lines.append)
  shutil.rmtree(run.checkpoints)
  with pytest.raises(UserError, match='there is no checkpoint in '):
    best_of_run(run, None, lines.append)


def test_a_listing_does_not_keep_a_run_from_starting(tmp_path):
  (tmp_path / '.lock').touch()
  with open(tmp_path / '.lock', 'rb') as file:
    fcntl.flock(file, fcntl.LOCK_SH)  # as `listing` does, for a moment
    threading.Timer(0.2, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
    with Workdir(tmp_path).lock() as text:
      assert text == (tmp_path / '.lock').read_text() != ''
