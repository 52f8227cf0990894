"""What a run leaves behind, and what it refuses, in this process."""

import json
import pathlib

import numpy as np
import pytest

from bigmodels.config import config_file
from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import train


def test_a_run_leaves_what_it_promises(plots, request_for, tiny, tmp_path, capsys):
  workdir = tmp_path / 'run'
  train.run(request_for(tiny, workdir, steps=30))
  out = capsys.readouterr().out
  first, second, *_ = (  # beside what is known of this jaxlib
    line for line in out.splitlines() if not line.startswith('warning: jaxlib '))
  assert first == f'workdir: {workdir}'
  assert second.startswith('device: cpu')
  result = json.loads((workdir / 'result.json').read_text())
  assert {'experiment', 'step', 'metrics', 'train_seconds', 'examples_per_second',
          'compile_seconds', 'parameters', 'device', 'versions'} <= result.keys()
  assert {'jax', 'flax', 'optax', 'bigmodels'} == result['versions'].keys()
  assert result['step'] == 30 and result['status'] == 'finished'
  # conv 3*3*1*4, norm 2*4, dense (4*4*4)*8, norm 2*8, dense 8*10 and its bias
  assert result['parameters'] == 36 + 8 + 64 * 8 + 16 + (8 * 10 + 10)
  assert 0 <= result['metrics']['test/accuracy'] <= 1
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  trained = [r['step'] for r in records if 'train/loss' in r]
  # 1,078 training examples in batches of 50: half an epoch is 10.78 steps
  evaluated = [r['step'] for r in records if 'test/loss' in r]
  assert trained == [7, 14, 21, 28, 30] and evaluated == [11, 22, 30]
  assert list((workdir / 'tensorboard').glob('events.out.tfevents.*'))
  page = (workdir / 'report.html').read_text()
  assert '</html>' in page and 'Confusion matrix' in page
  assert (workdir / 'checkpoints' / '30').is_dir()
  text = (workdir / 'config.txt').read_text()
  assert 'knob.steps = 30' in text
  assert config_file.from_text(text, 'config.txt', {}).knobs['steps'] == 30


def test_a_tracker_is_sent_the_log_and_one_that_hangs_changes_nothing(
    request_for, tiny, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr('bigmodels.logs.tracking.PATIENCE', 1.0)
  monkeypatch.setenv('FAKE_TRACKER', str(tmp_path))
  fake = str(pathlib.Path(__file__).parents[1] / 'logs' / 'fake_tracker.py')
  request = request_for(tiny, tmp_path / 'work', steps=14)
  monkeypatch.setenv('FAKE_TRACKER_FAULT', 'start:hang')
  train.run(request, track=fake)
  assert 'warning: fake_tracker: still sending' in capsys.readouterr().out
  monkeypatch.setenv('FAKE_TRACKER_FAULT', '')
  monkeypatch.setattr('bigmodels.logs.tracking.PATIENCE', 20.0)
  train.run(request, track=fake)  # it is finished: only sends
  sent = [json.loads(line) for line in (tmp_path / 'run0').read_text().splitlines()]
  lines = (tmp_path / 'work' / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  assert [e[1:] for e in sent if e[0] == 'log'] == [
    [record.pop('step'), record] for record in records]
  assert sent[0][2]['knob.steps'] == 14 and sent[0][3].keys() >= {'jax', 'bigmodels'}
  assert sent[-1][:2] == ['finish', 'finished'] and sent[-1][3] == 'report.html'


def test_a_start_that_fails_leaves_no_folder(request_for, tiny, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for workdir in (None, tmp_path / 'a' / 'b'):
    with pytest.raises(UserError, match='batch'):
      train.run(request_for(tiny, workdir, train__batch_size=10**6))
  assert not [*tmp_path.rglob('.lock')] and not any((tmp_path / 'runs').iterdir())
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'notes').write_text('')
  with pytest.raises(UserError, match='batch'):
    train.run(request_for(tiny, tmp_path / 'mine', train__batch_size=10**6))
  assert (tmp_path / 'mine' / 'notes').is_file()


def test_evaluation_counts_every_example_once(request_for, tiny, tmp_path):
  workdir = tmp_path / 'run'
  # 359 test examples in batches of 77: the last batch has 51
  train.run(request_for(tiny, workdir, steps=20))
  accuracy = json.loads((workdir / 'result.json').read_text())['metrics']
  right = accuracy['test/accuracy'] * 359
  assert abs(right - round(right)) < 1e-6
  other = tmp_path / 'other'
  train.run(request_for(tiny, other, steps=20, evals__test__batch_size=359))
  again = json.loads((other / 'result.json').read_text())['metrics']
  for name, value in accuracy.items():
    np.testing.assert_allclose(value, again[name], rtol=1e-5, err_msg=name)


def test_resident_and_streamed_give_the_same_curve(request_for, tiny, tmp_path):
  files = []
  for resident in (True, False):
    workdir = tmp_path / str(resident)
    train.run(request_for(tiny, workdir, steps=30, resident=resident))
    files.append((workdir / 'metrics.jsonl').read_text())
  one, two = ([json.loads(x) for x in f.splitlines()] for f in files)
  assert len(one) == len(two)
  for a, b in zip(one, two, strict=True):
    assert a.keys() == b.keys()
    np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4)


def test_the_step_is_traced_before_training_and_never_again(
  tmp_path, tiny, request_for):
  fork = tmp_path / 'counted.py'
  fork.write_text(
    'import importlib.util, dataclasses\n'
    f'spec = importlib.util.spec_from_file_location("tiny_base", {str(tiny)!r})\n'
    'base = importlib.util.module_from_spec(spec); spec.loader.exec_module(base)\n'
    'from bigmodels import learners\n'
    'TRACES = []\n'
    'def counted(task, optimizer, gradient):\n'
    '  learner = learners.supervised(task, optimizer, gradient)\n'
    '  def step(state, batch):\n'
    '    TRACES.append(1)\n'
    '    return learner.step(state, batch)\n'
    '  return learner._replace(step=step)\n'
    'def config(*, steps: int = 40):\n'
    '  return dataclasses.replace(base.config(steps=steps), learner=counted)\n')
  train.run(request_for(fork, tmp_path / 'run'))
  import sys

  module = next(m for n, m in sys.modules.items() if n.endswith('counted'))
  assert len(module.TRACES) == 1


@pytest.mark.parametrize('drawn, why', [
  ('1 / 0', 'ZeroDivisionError: division by zero'), *(
    pytest.param(*each, marks=pytest.mark.slow('train')) for each in (
      ('{"errors": 3}',
       "plots: must be title -> figure or plots.Table, got 'errors': 3"),
      ('None', "AttributeError: 'NoneType' object has no attribute 'items'")))])
def test_plots_that_cannot_be_drawn_cost_no_numbers(
  drawn, why, plots, request_for, tiny, tmp_path, capsys):
  fork = tmp_path / 'undrawn.py'
  fork.write_text(
    'import importlib.util, dataclasses\n'
    f'spec = importlib.util.spec_from_file_location("tiny_base", {str(tiny)!r})\n'
    'base = importlib.util.module_from_spec(spec); spec.loader.exec_module(base)\n'
    'def config(*, steps: int = 20):\n'
    '  plain = base.config(steps=steps)\n'
    '  def task(model):\n'
    f'    return plain.task(model)._replace(plots=lambda *arrays: {drawn})\n'
    '  return dataclasses.replace(plain, task=task)\n')
  train.run(request_for(fork, tmp_path / 'run'))
  assert f'warning: test: the report has no plots: {why}' in capsys.readouterr().out
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['status'] == 'finished' and result['metrics']['test/loss'] > 0
  assert (tmp_path / 'run' / 'report.html').is_file()


def test_a_nan_stops_at_that_step_and_keeps_the_last_good_checkpoint(
  request_for, tiny, tmp_path):
  fork = tmp_path / 'exploding.py'
  fork.write_text(
    'import importlib.util, dataclasses\n'
    'import jax.numpy as jnp\n'
    f'spec = importlib.util.spec_from_file_location("tiny_base", {str(tiny)!r})\n'
    'base = importlib.util.module_from_spec(spec); spec.loader.exec_module(base)\n'
    'from bigmodels import learners\n'
    'def exploding(task, optimizer, gradient):\n'
    '  learner = learners.supervised(task, optimizer, gradient)\n'
    '  def step(state, batch):\n'
    '    new, sums = learner.step(state, batch)\n'
    '    total = sums["loss"].total + jnp.where(state.step == 36, jnp.nan, 0.0)\n'
    '    return new, sums | {"loss": sums["loss"]._replace(total=total)}\n'
    '  return learner._replace(step=step)\n'
    'def config(*, steps: int = 80):\n'
    '  return dataclasses.replace(base.config(steps=steps), learner=exploding)\n')
  workdir = tmp_path / 'run'
  for _ in range(2):  # and again when it is started again
    with pytest.raises(UserError, match=r'train/loss is not finite at step 37: .*'
                       'last good checkpoint is of step 3[0-6]'):
      train.run(request_for(fork, workdir))
  kept = sorted(int(p.name) for p in (workdir / 'checkpoints').iterdir())
  assert kept and max(kept) < 37
  assert 'NaN' not in (workdir / 'metrics.jsonl').read_text()


def test_another_experiment_or_config_in_the_workdir(request_for, tiny, tmp_path):
  workdir = tmp_path / 'run'
  train.run(request_for(tiny, workdir, steps=5))
  before = {p: p.read_bytes() for p in workdir.rglob('*')
            if p.is_file() and p.name != '.lock'}
  with pytest.raises(UserError) as error:
    train.run(request_for(tiny, workdir, steps=6))
  assert 'knob.steps: 5 -> 6' in str(error.value)
  assert f'python run.py --workdir={workdir}' in str(error.value)
  with pytest.raises(UserError, match=r'experiment: .* -> digits_cnn'):
    train.run(request_for('digits_cnn', workdir))
  with pytest.raises(UserError, match=r'learning_rate: 0\.005 -> 0\.1'):
    train.run(request_for(None, workdir, learning_rate=0.1))
  assert {p: p.read_bytes() for p in workdir.rglob('*')
            if p.is_file() and p.name != '.lock'} == before


def test_a_workdir_with_nothing_to_resume(request_for, tmp_path):
  with pytest.raises(UserError, match='does not exist: no run to resume or open'):
    train.run(request_for(None, tmp_path / 'none'))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='is empty: no run to resume or open'):
    train.run(request_for(None, tmp_path / 'empty'))
  with pytest.raises(UserError, match='set the --workdir'):
    eval_mode.run(request_for(None))
  with pytest.raises(UserError, match='name an --experiment'):
    train.run(request_for(None))


def test_two_runs_cannot_share_a_workdir(request_for, tiny, tmp_path):
  from bigmodels.storage.workdir import Workdir

  with Workdir(tmp_path / 'run').lock(), pytest.raises(
    UserError, match='another run is writing there'):
    train.run(request_for(tiny, tmp_path / 'run'))


def test_a_monitor_of_nothing_is_refused_before_training(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match="no metric 'validation/los'; did you mean "
                     "'validation/loss'"):
    train.run(request_for(tiny, tmp_path / 'a', monitor__metric='validation/los'))
  with pytest.raises(UserError, match='reduce_on_plateau follows an evaluation'):
    train.run(request_for(tiny, tmp_path / 'b', monitor=None))


def test_a_batch_larger_than_the_split(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match=r'train\.batch_size=5000.*only 1078 examples'):
    train.run(request_for(tiny, tmp_path / 'a', train__batch_size=5000))


def test_require_backend(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='--require_backend=tpu: JAX uses cpu'):
    train.run(request_for(tiny, tmp_path / 'a', require_backend='tpu'))


def test_data_that_changed_under_a_run(request_for, tmp_path):
  table = tmp_path / 'table.csv'
  rows = '\n'.join(f'{i % 7},{i % 5},{int(i % 7 > i % 5)}' for i in range(200))
  table.write_text(f'a,b,label\n{rows}\n')
  request = request_for('tabular_mlp', tmp_path / 'run', path=table, label='label',
                        epochs=1, batch_size=20)
  train.run(request)
  (tmp_path / 'run' / 'result.json').unlink()
  table.write_text(f'a,b,label\n{rows}\n9,9,1\n')
  with pytest.raises(UserError, match='has changed since this run began'):
    train.run(request)


def test_a_model_of_other_classes_or_shapes_is_refused(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='has 5 outputs, the data has 10 classes: set '
                     r'--config\.model\.num_outputs=10'):
    train.run(request_for(tiny, tmp_path / 'a', model__num_outputs=5))
  with pytest.raises(UserError, match=r'reduced to \(8, 8\) before a pooling by 9'):
    train.run(request_for(tiny, tmp_path / 'b', model__pool=9))
  with pytest.raises(UserError, match='needs numeric labels, this data has'):
    train.run(request_for(tiny, tmp_path / 'c', task='bigmodels.tasks.regression'))


def test_a_mistake_that_is_mended_may_use_the_same_workdir(
  request_for, tiny, tmp_path):
  with pytest.raises(UserError):
    train.run(request_for(tiny, tmp_path / 'run', train__batch_size=5000))
  train.run(request_for(tiny, tmp_path / 'run', steps=2))


def test_parameters_that_are_not_finite_are_never_saved(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='not finite'):
    train.run(request_for(tiny, tmp_path / 'run', learning_rate='1e38', checkpoint=1,
                          optimizer__0='optax.sgd'))
  for path in (tmp_path / 'run' / 'checkpoints').iterdir():
    from bigmodels.storage.checkpoint import Checkpoints
    from bigmodels.storage.workdir import Workdir

    run = Workdir(tmp_path / 'run')
    checkpoints = Checkpoints(run.checkpoints, 1, run.seal(), read_only=True)
    params = checkpoints.restore(int(path.name))[0]['state']['params']
    checkpoints.release()
    assert all(np.all(np.isfinite(x)) for d in params.values() for x in d.values()
               if not isinstance(x, dict))


@pytest.mark.slow('damaged runs')
def test_a_full_disk_is_one_line_and_what_is_saved_stays(
  command, tiny, tmp_path, request_for):
  import os
  import shutil
  import subprocess

  disk = tmp_path / 'disk'
  disk.mkdir()
  mounted = os.geteuid() == 0 and shutil.which('mount') and subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(disk)],
    capture_output=True, check=False).returncode == 0
  if not mounted:
    pytest.skip('a small disk can only be made by root')
  try:
    done = subprocess.run(
      command(f'--experiment={tiny}', f'--workdir={disk / "run"}', '--config.keep=99'),
      capture_output=True, text=True, timeout=300, check=False,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'})
    assert done.returncode == 2
    assert 'No space left on device' in done.stderr
    assert 'Traceback' not in done.stderr and len(done.stderr.splitlines()) == 1
    kept = [p for p in (disk / 'run' / 'checkpoints').iterdir() if p.name.isdigit()]
    assert kept, 'the disk was full before anything was saved'
    bigger = tmp_path / 'bigger'
    shutil.copytree(disk / 'run', bigger)
  finally:
    subprocess.run(['umount', '-l', str(disk)], check=False)
  train.run(request_for(None, bigger))


def test_a_pattern_of_no_parameter_names_the_optimizer(
  request_for, tiny, tmp_path):
  fork = tmp_path / 'fork.py'
  fork.write_text('''
import dataclasses
from functools import partial
import optax
from bigmodels import optim
from experiments import digits_cnn
def config():
  frozen = partial(optax.chain, partial(optax.sgd, 0.1), partial(optim.freeze, 'x/.*'))
  return dataclasses.replace(digits_cnn.config(), optimizer=frozen)
''')
  with pytest.raises(UserError, match="optimizer and the model do not fit: patterns: "
                     r"'x/\.\*' matches the whole name of no parameter"):
    train.run(request_for(str(fork), tmp_path / 'run'))


def test_classes_in_another_order_are_refused(request_for, tmp_path):
  fork = tmp_path / 'fork.py'
  fork.write_text('''
import dataclasses
from bigmodels import data
from experiments import digits_cnn
def config(*, classes: tuple[str, ...]):
  before = digits_cnn.config()
  def of(batches, names):
    return dataclasses.replace(batches, source=data.Subset(batches.source, names))
  return dataclasses.replace(before, train=of(before.train, ('3', '5')),
                             evals={'test': of(before.evals['test'], classes)})
''')
  with pytest.raises(UserError, match="test: class 0 is '5' in its data, and '3' in "
                     'that of train'):
    train.run(request_for(str(fork), tmp_path / 'a', classes=('5', '3')))
  with pytest.raises(UserError, match='test: its data has 1 classes, that of train 2'):
    train.run(request_for(str(fork), tmp_path / 'b', classes=('3',)))


def test_steps_that_cannot_be_counted(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='steps are more than can be counted'):
    train.run(request_for(tiny, tmp_path / 'run', steps=10**12))
