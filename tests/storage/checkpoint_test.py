"""Tests of checkpoints: which are used, which are preserved."""

import pathlib
import re
import shutil

import jax.numpy as jnp
import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import train
from bigmodels.storage.checkpoint import Checkpoints
from bigmodels.storage.manifest import Damaged
from tests.storage.damage import edit


def _swap(one: pathlib.Path, two: pathlib.Path) -> None:
  aside = one.with_name('aside')
  one.rename(aside)
  two.rename(one)
  aside.rename(two)


@pytest.mark.parametrize(('part', 'message'), [
  ('', r'the checkpoint of step 30 is damaged \(.*is of step 22\)'),
  ('carry', r'step 30 is damaged \(its bits are not those that were saved\)'),
  ('progress', r'the checkpoint of step 30 is damaged \(.*is of step 22\)')])
def test_folders_that_changed_places_are_noticed(run, part, message):
  _swap(run.checkpoints / '30' / part, run.checkpoints / '22' / part)
  checkpoints = Checkpoints(run.checkpoints, 2, run.seal(), read_only=True)
  for step in (22, 30):
    with pytest.raises(Damaged):
      checkpoints.restore(step)
  lines = []
  with pytest.raises(UserError, match=r'every checkpoint in .* is damaged'):
    checkpoints.best(lambda step: None, lines.append)
  checkpoints.release()
  assert any(re.search(message, line) for line in lines)


def test_the_name_of_a_folder_is_not_believed(run, request_for, capsys):
  (run.checkpoints / '30').rename(run.checkpoints / '40')
  run.result.unlink()
  train.run(request_for(None, run.path))
  out = capsys.readouterr().out
  assert 'the checkpoint of step 40 is damaged' in out and 'is of step 30' in out
  assert 'resuming from step 22' in out


@pytest.mark.parametrize('make', [
  lambda path: path.write_text(''), lambda path: path.symlink_to('nowhere')])
def test_checkpoints_that_are_no_folder(run, request_for, make):
  shutil.rmtree(run.checkpoints)
  run.result.unlink()
  make(run.checkpoints)
  for mode in (train, eval_mode):
    with pytest.raises(UserError, match='checkpoints'):
      mode.run(request_for(None, run.path))


@pytest.mark.parametrize('like, message', [
  ({'x': {'inner': jnp.arange(10)}}, 'it lacks x/inner and has x; go on with the vers'),
  ({'x': jnp.arange(10), 'y': jnp.arange(3)}, 'it lacks y; go on'),
  ({'y': jnp.arange(10)}, 'it lacks y and has x; ')])
def test_a_state_of_another_structure_is_not_called_damaged(tmp_path, like, message):
  folder = tmp_path / 'checkpoints'
  _save(folder, SCHEDULE[:1])
  checkpoints = Checkpoints(folder, 2, {})
  with pytest.raises(UserError, match=f'step 10 in .* as they are now: {message}'):
    checkpoints.restore_latest(like, print)
  checkpoints.release()
  assert [path.name for path in folder.iterdir() if path.name.isdigit()] == ['10']


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
  {'performance_metrics': []}, {'item_handlers': 1}, {'metrics': 3},
  {'init_timestamp_nsecs': 'x'}])
def test_metadata_of_orbax_that_was_changed(run, change):
  """Refused in a line, with the way on; or they are not needed."""
  path = run.checkpoints / '30' / '_CHECKPOINT_METADATA'
  edit(path, lambda metadata: metadata.update(change))
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
  assert 'different from result.json' in out
  assert 'result.json is of step 30, whose checkpoint is missing' in out


# --- which are preserved --------------------------------------------------------


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


@pytest.mark.parametrize('removed', [
  ['progress'], ['progress/metadata'], ['progress', 'carry'],
  ['progress', '_CHECKPOINT_METADATA', 'commit_success.txt'],
  ['progress', 'carry', '_CHECKPOINT_METADATA', 'commit_success.txt']])
def test_what_a_killed_run_was_removing_goes_at_the_next_start(tmp_path, removed):
  folder = tmp_path / 'a'
  _save(folder, SCHEDULE[:2])
  shutil.copytree(folder / '20', tmp_path / '20')
  assert _save(folder, SCHEDULE[2:]) == [30, 50, 60]
  shutil.copytree(tmp_path / '20', folder / '20')
  for name in removed:
    path = folder / '20' / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  checkpoints = Checkpoints(folder, 2, {})
  checkpoints.restore_latest({'x': jnp.arange(60)}, print)
  checkpoints.wait()
  assert checkpoints.steps == [30, 50, 60]
  checkpoints.release()
  assert not (folder / '20').exists()


@pytest.mark.parametrize('name', ['0', '5', '9', '007'])
def test_a_folder_called_as_a_step_that_is_no_checkpoint_stays(tmp_path, name):
  folder = tmp_path / 'a'
  _save(folder, SCHEDULE[:1])
  (folder / name).mkdir()
  (folder / name / 'notes').write_text('not ours')
  _save(folder, SCHEDULE[1:])
  assert (folder / name / 'notes').read_text() == 'not ours'
  assert {'30', '50', '60', name} == {path.name for path in folder.iterdir()}


# --- the best -------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  """The checkpoints 30 (the best), 50 and 60."""
  assert _save(tmp_path / 'a', SCHEDULE) == [30, 50, 60]
  return tmp_path / 'a'


def _best(folder: pathlib.Path) -> tuple[int, list[str]]:
  """Which checkpoint is taken, and what is said."""
  checkpoints, lines = Checkpoints(folder, 1, {}, read_only=True), []
  try:
    step, carry = checkpoints.best(lambda step: {'x': jnp.arange(step)}, lines.append)
  finally:
    checkpoints.release()
  assert carry['x'].shape == (step,)
  return step, lines


def test_the_best_is_taken_or_the_latest_if_none_is_monitored(folder, tmp_path):
  assert _best(folder) == (30, [])
  unmonitored = [(step, None, True, done) for step, _, _, done in SCHEDULE]
  _save(tmp_path / 'b', unmonitored)
  assert _best(tmp_path / 'b') == (60, [])


def test_a_best_that_is_not_there_is_reported(folder):
  shutil.rmtree(folder / '30')
  assert _best(folder) == (
    60, ['the best checkpoint, of step 30, is not there: step 60 is used'])


def test_a_best_that_is_damaged_is_not_replaced(folder):
  shutil.rmtree(folder / '30' / 'carry')
  with pytest.raises(Damaged, match='of step 30: '):
    _best(folder)


def test_the_best_is_found_beside_a_latest_that_is_damaged(folder):
  (folder / '60' / 'progress' / 'metadata').write_text('{}')
  step, lines = _best(folder)
  assert step == 30 and len(lines) == 1
  assert lines[0].startswith('the checkpoint of step 60 is damaged (')


def test_no_checkpoint_at_all(tmp_path):
  (tmp_path / 'a').mkdir()
  with pytest.raises(UserError, match=r'there is no checkpoint in .*/a'):
    _best(tmp_path / 'a')
