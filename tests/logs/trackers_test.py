"""The trackers with their real libraries, offline; what they keep is read back."""

import json
import os
import struct

import pytest

from bigmodels.logs import tracking
from bigmodels.storage.workdir import Workdir

pytestmark = pytest.mark.slow('trackers')


@pytest.fixture
def run(tmp_path, monkeypatch):
  """(tracker, records, status) -> what is printed, as in `tracking_test`."""
  workdir = Workdir(tmp_path / 'work')
  workdir.path.mkdir()
  workdir.config.write_text(
    f'experiment = tiny\nknob.rate = 0.5\nlong = {"x" * 7000}\n')
  workdir.report.write_text('<html>')
  workdir.write_json(workdir.result, {
    'status': 'finished', 'step': 3, 'metrics': {'test/top@5': 0.5}, 'device': 'cpu'})
  monkeypatch.chdir(tmp_path)

  def call(tracker, *values, status='finished'):
    lines = []
    workdir.metrics.write_text(''.join(
      json.dumps({'step': step, 'train/loss': value, 'test/top@5': 1.0}) + '\n'
      for step, value in values))
    sending = tracking.Tracking(
      tracking.parse(tracker), workdir, {'bigmodels': '0.1.0+abcdef'}, lines.append)
    sending.status = status
    sending.close(120)
    assert not [line for line in lines if line.startswith('warning')], lines
    return lines

  return call


def resume(run, tracker):
  """A run that is killed, resumed with the same numbers, and then with others."""
  run(tracker, (1, 0.5), (2, 0.25), status='killed')
  run(tracker, (1, 0.5), status='killed')
  run(tracker, (1, 0.5), (2, 0.25), (3, 0.2), status='stopped')
  yield [(1, 0.5), (2, 0.25), (3, 0.2)]
  run(tracker, (1, 0.5), (2, 0.125), (3, 0.1))
  run(tracker, (1, 0.5), (2, 0.125), (3, 0.1))
  yield [(1, 0.5), (2, 0.125), (3, 0.1)]


def test_mlflow(run, tmp_path, monkeypatch):
  mlflow = pytest.importorskip('mlflow')
  uri = f'sqlite:///{tmp_path}/ml.db'
  monkeypatch.setenv('MLFLOW_TRACKING_URI', uri)
  client = mlflow.MlflowClient(uri)
  for expected in resume(run, 'mlflow'):
    experiment = client.get_experiment_by_name('bigmodels').experiment_id
    (found,) = client.search_runs([experiment])
    history = client.get_metric_history(found.info.run_id, 'train/loss')
    assert [(m.step, m.value) for m in history] == expected
  assert found.info.run_name == 'work' and found.info.status == 'FINISHED'
  assert found.data.params['knob.rate'] == '0.5'
  assert found.data.params['long'] == 'x' * 6000
  assert found.data.metrics['result/test/top_5'] == 0.5
  assert found.data.tags['mlflow.source.git.commit'] == 'abcdef'
  assert [f.path for f in client.list_artifacts(found.info.run_id)] == ['report.html']
  client.delete_run(found.info.run_id)
  run('mlflow', (1, 0.5), (2, 0.1), (3, 0.1))
  (again,) = client.search_runs([experiment])
  assert again.info.run_id != found.info.run_id
  assert len(client.get_metric_history(again.info.run_id, 'train/loss')) == 3


def test_trackio(run, tmp_path, monkeypatch):
  monkeypatch.setenv('TRACKIO_DIR', str(tmp_path / 'trackio'))
  trackio = pytest.importorskip('trackio')
  monkeypatch.setattr('trackio.sqlite_storage.TRACKIO_DIR', tmp_path / 'trackio')
  monkeypatch.setattr('trackio.utils.TRACKIO_DIR', tmp_path / 'trackio')
  for expected in resume(run, 'trackio'):
    (found,) = trackio.Api().runs('bigmodels')
    logs = trackio.SQLiteStorage.get_logs('bigmodels', found.name)
    assert [(row['step'], row['train/loss']) for row in logs
            if 'train/loss' in row] == expected
  assert found.name.startswith('work-') and found.config['knob.rate'] == 0.5
  assert logs[-1]['result/status'] == 'finished'
  assert logs[-1]['result/test/top@5'] == 0.5


def test_wandb_offline(run, tmp_path, monkeypatch):
  pytest.importorskip('wandb')
  from wandb.proto import wandb_internal_pb2

  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_CONFIG_DIR', str(tmp_path / 'wandb_config'))

  def records(path):
    # LevelDB's log format after a header of 7 bytes: blocks of 32 KiB with chunks of
    # checksum, length, type (1 whole, 2 first, 3 middle, 4 last) and data.
    data, position, parts = path.read_bytes(), 7, b''
    while position + 7 <= len(data):
      if 32768 - position % 32768 < 7:
        position += 32768 - position % 32768
        continue
      length, kind = struct.unpack_from('<HB', data, position + 4)
      parts += data[position + 7:position + 7 + length]
      position += 7 + length
      if kind in (1, 4):
        yield wandb_internal_pb2.Record.FromString(parts)
        parts = b''

  for expected in resume(run, 'wandb'):
    (path,) = (tmp_path / 'work' / 'wandb').glob('offline-run-*/*.wandb')
    found = [*records(path)]
    rows = [{'/'.join(i.nested_key) or i.key: json.loads(i.value_json)
             for i in r.history.item} for r in found if r.HasField('history')]
    assert [(row['_step'], row['train/loss']) for row in rows] == expected
  (about,) = [r.run for r in found if r.HasField('run')][:1]
  config = {i.key: json.loads(i.value_json) for i in about.config.update}
  assert about.display_name == 'work' and about.project == 'bigmodels'
  assert config['knob.rate'] == 0.5
  assert config['versions'] == {'bigmodels': '0.1.0+abcdef'}
  assert any(r.HasField('artifact') or r.request.HasField('log_artifact')
             for r in found)


def test_not_logged_in_is_a_line(tmp_path, monkeypatch):
  pytest.importorskip('wandb')
  for name in [n for n in os.environ if n.startswith('WANDB_')]:
    monkeypatch.delenv(name)
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.setenv('WANDB_BASE_URL', 'http://127.0.0.1:9')
  workdir = Workdir(tmp_path / 'work')
  workdir.path.mkdir()
  workdir.config.write_text('experiment = tiny\n')
  workdir.metrics.write_text('{"step": 1, "loss": 2}\n')
  lines = []
  sending = tracking.Tracking(('wandb',), workdir, {}, lines.append)
  sending.close(120)
  (line,) = lines
  assert line.startswith('warning: wandb: ') and '--track=wandb' in line
  assert 'API key' in line or 'api_key' in line or 'log' in line, line
