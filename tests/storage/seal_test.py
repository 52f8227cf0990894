"""Tests of seals: any change of what checkpoints depend on is found and named."""

import copy
import functools
import json
import operator
import shutil

import pytest

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import train
from bigmodels.storage import extension, seal
from tests.storage.damage import edit


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


# --- of a run -------------------------------------------------------------------


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
  edit(run.data, change)
  run.result.unlink()
  with pytest.raises(UserError, match=message):
    train.run(request_for(None, run.path))
  with pytest.raises(UserError, match=message):
    eval_mode.run(request_for(None, run.path))


def _parts(value, path=()):
  """The paths of a JSON value and of all that it holds."""
  yield path
  if isinstance(value, dict | list):
    for key in value if isinstance(value, dict) else range(len(value)):
      yield from _parts(value[key], (*path, key))


def test_no_part_of_a_data_json_may_be_of_another_type(run):
  entry = {'step': 20, 'before': {'config.txt: steps': '20'}}
  edit(run.data, lambda d: d['kept'].update({extension.NAME: [entry]}))
  found = json.loads(run.data.read_text())
  found['seal'] = run._seal(found['kept'])
  tried = 0
  for path in _parts(found):
    for other in (None, True, 0, 1.5, 'text', [], ['text'], [[]], {}, {'text': 0}):
      changed = copy.deepcopy(found)
      holder = {'all': changed}
      *above, last = ('all', *path)
      place = functools.reduce(operator.getitem, above, holder)
      if place[last] == other or (path == ('data_dir',) and isinstance(
        other, str | None)):  # no part of the seal: it may be moved
        continue
      place[last] = other
      run.data.write_text(json.dumps(holder['all']))
      tried += 1
      with pytest.raises(UserError, match='is not as'):
        run.stored_data()
  assert tried > 500


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
  assert 'resuming from step 22' in out
  assert (run.checkpoints / '30.damaged').is_dir()


def test_an_edited_config_is_noticed_before_there_is_a_checkpoint(run, request_for):
  shutil.rmtree(run.checkpoints)
  run.result.unlink()
  run.config.write_text(_line(run.config.read_text(), 'seed', '4'))
  with pytest.raises(UserError, match=r'config\.txt: seed was 3, now 4'):
    train.run(request_for(None, run.path))
