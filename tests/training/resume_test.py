"""A run that is stopped anywhere and goes on ends with the same bits."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import train
from bigmodels.storage.checkpoint import (
  Checkpoints,
  Damaged,
  fingerprint,
)
from bigmodels.storage.workdir import Workdir
from tests.conftest import ROOT
from tests.data.folders import captioned, people
from tests.data.folders import written as images
from tests.data.recordings import digits
from tests.data.recordings import written as recordings
from tests.environments import libraries
from tests.training.checkpoints import arrays_of


def _same_bits(a: pathlib.Path, b: pathlib.Path, arrays: int = 20):
  assert (a / 'metrics.jsonl').read_bytes() == (b / 'metrics.jsonl').read_bytes()
  results = [json.loads((x / 'result.json').read_text()) for x in (a, b)]
  for key in ('metrics', 'step', 'best_step', 'parameters', 'status'):
    assert results[0][key] == results[1][key], key
  one, two = (arrays_of(x, results[0]['step']) for x in (a, b))
  assert one.keys() == two.keys() and len(one) > arrays
  for name in one:
    assert one[name].tobytes() == two[name].tobytes(), name


def _steps(workdir: pathlib.Path) -> list[int]:
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.is_file() else []
  return [json.loads(line)['step'] for line in lines if line.endswith('}')]


@pytest.fixture
def start(command, tiny, tmp_path):
  """(workdir, flags, experiment) -> a process of run.py under way."""
  return lambda workdir, *flags, experiment=tiny: subprocess.Popen(
    command(f'--experiment={experiment}', f'--workdir={workdir}', *flags), cwd=tmp_path,
    text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'})


def _flags(overrides: dict) -> list[str]:
  return [f'--config.{k.replace("__", ".")}={v}' for k, v in overrides.items()]


def _until(process, workdir: pathlib.Path, step: int):
  while process.poll() is None and max(_steps(workdir), default=0) < step:
    time.sleep(0.002)


def _kill(start, workdir: pathlib.Path, targets: tuple[int, ...], *flags: str, **given):
  """Begins a run, or goes on with it, and kills it a little after each of the steps."""
  rng, kills = random.Random(0), 0
  for target in targets:
    process = start(workdir, *flags, **given)
    _until(process, workdir, target)
    time.sleep(rng.random() * 0.05)
    process.kill()
    process.communicate()
    kills += process.returncode == -signal.SIGKILL
  assert kills >= 2, 'the runs were over before they could be killed'


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize('resident', [True, False])
def test_killed_at_random_moments_and_resumed_is_uninterrupted(
  start, request_for, tiny, tmp_path, capsys, resident):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  few = {'resident': resident, 'steps': 400, 'checkpoint': 30,
         'evaluate_every__epochs': 2}
  train.run(request_for(tiny, whole, **few))
  _kill(start, cut, (14, 100, 200), *_flags(few))
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut)


@pytest.mark.slow('kill runs')
def test_recordings_in_batches_of_several_lengths_resume_exactly(
  start, request_for, tmp_path, capsys):
  pytest.importorskip('jiwer', reason='jiwer is not installed: pip install -r '
                                      'requirements-audio.txt')
  rng = np.random.default_rng(0)
  for split in ('train', 'test'):
    recordings.features(tmp_path / 'an4', rng.integers(20, 60, 80),
                        rng.choice(['AB', 'B A', 'BAB'], 80), split)
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  few = {'width': 8, 'depth': 2, 'epochs': 60, 'beams': 2, 'log_every__steps': 5,
         'checkpoint_every__steps': 20, 'checkpoint_every__minutes': None}
  train.run(request_for('an4_ctc', whole, data_dir=tmp_path, **few))
  _kill(start, cut, (20, 90, 180), f'--data_dir={tmp_path}', *_flags(few),
        experiment='an4_ctc')
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut)


FORKS = pathlib.Path(__file__).resolve().parents[1] / 'forks'
GYMNASIUM = str(FORKS / 'gymnasium_cartpole.py')
WALK = str(FORKS / 'walk.py')


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize(('name', 'settings', 'needed'), [
  ('cartpole_dqn', {'learner__min_replay_size': 500}, ('gymnax', 'rlax')),
  ('cartpole_a2c', {}, ('gymnax', 'rlax')), (GYMNASIUM, {}, ('gymnasium', 'rlax')),
  ('digits_dcgan', {'model__width': 8}, ()),
  ('digits_ddpm', {'width': 8, 'steps': 2}, ()),
  ('digits_unet', {'width': 4, 'halvings': 1, 'batch_size': 4,
                   'train__source__counts': {'train': 64},
                   'evals__test__source__counts': {'test': 16}}, ()),
  ('digits_yolo', {'width': 4, 'canvases': 40, 'batch_size': 4,
                   'model__strides': '(8, 32)'}, ()), (WALK, {}, ())],
  ids=['cartpole_dqn', 'cartpole_a2c', 'gymnasium', 'digits_dcgan', 'digits_ddpm',
       'digits_unet', 'digits_yolo', 'walk'])
def test_other_experiments_killed_and_resumed_are_uninterrupted(
  start, request_for, tmp_path, capsys, name, settings, needed):
  """Episodes under way and what is remembered of them are among the bits."""
  libraries.require(*needed)
  if name == 'digits_yolo':
    pytest.importorskip('pycocotools', reason='pycocotools is not installed: pip '
                                              'install -r requirements-detection.txt')
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  often = {'duration__steps': 600, 'duration__epochs': None,
           'checkpoint_every__minutes': None, 'checkpoint_every__steps': 50,
           'log_every__steps': 10,
           'evaluate_every__steps': 300, 'evaluate_every__epochs': None, **settings}
  train.run(request_for(name, whole, **often))
  _kill(start, cut, (60, 250, 450), *_flags(often), experiment=name)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut)


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize(('name', 'settings'), [
  ('digits_wavenet', {'length': 64, 'width': 4, 'skip': 4, 'depth': 3, 'stacks': 1}),
  ('digits_tacotron', {'width': 8, 'decoder': 8, 'model__prenet': 8,
                       'task__seconds': 0.1, 'task__iterations': 2})])
def test_models_of_sounds_killed_and_resumed_are_uninterrupted(
  start, request_for, tmp_path, capsys, name, settings):
  digits.write(tmp_path, 7)
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  often = {'batch_size': 4, 'duration__steps': 120, 'log_every__steps': 5,
           'checkpoint_every__minutes': None, 'checkpoint_every__steps': 10,
           'evaluate_every__steps': 60, 'evaluate_every__epochs': None, **settings}
  train.run(request_for(name, whole, data_dir=tmp_path, **often))
  _kill(start, cut, (10, 50, 80), f'--data_dir={tmp_path}', *_flags(often),
        experiment=name)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut)


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize('name, settings', [
  ('espcn_x3', {'model__widths': '(4,)'}),
  ('srgan_x4', {'width': 4, 'depth': 1, 'model__discriminator__width': 2,
                'model__discriminator__hidden': 4})])
def test_windows_of_images_resume_exactly(
  start, request_for, tmp_path, capsys, name, settings):
  """Where the windows lie is a function of the step, and the average is kept."""
  for index, split in enumerate(('t91', 'bsd_train', 'set5', 'set14')):
    images.write(tmp_path / 'sr' / split, [f'{i}.png' for i in range(6)], 6 * index,
                 shape=(40, 36))
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  often = {'batch_size': 4, 'patch': 8, 'steps': 400, 'log_every__steps': 5,
           'checkpoint_every__minutes': None, 'checkpoint_every__steps': 20, **settings}
  train.run(request_for(name, whole, data_dir=tmp_path, **often))
  _kill(start, cut, (20, 100, 200), f'--data_dir={tmp_path}', *_flags(often),
        experiment=name)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut, arrays=10)


@pytest.mark.slow('kill runs')
def test_batches_of_people_resume_exactly(start, request_for, tmp_path, capsys):
  """The mean embeddings of people are among the bits."""
  people.write(tmp_path / 'people')
  fork = ROOT / 'tests' / 'forks' / 'people.py'
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  often = {'path': tmp_path / 'people' / 'index.csv', 'steps': 900, 'checkpoint': 20,
           'log_every__steps': 5, 'evaluate_every__steps': 300}
  train.run(request_for(fork, whole, **often))
  _kill(start, cut, (60, 300, 600), *_flags(often), experiment=fork)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut, arrays=10)


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize(('name', 'settings'), [
  ('flickr8k_caption', {'channels': 4, 'vocabulary': 270, 'beams': 2}),
  ('flickr8k_siglip', {'image': 'vit', 'vocabulary': 270})])
def test_captions_that_are_drawn_resume_exactly(
  start, request_for, tmp_path, capsys, name, settings):
  """Which caption of an image a step takes, and what dropout drops, go on alike."""
  captioned.write(tmp_path / 'flickr8k', {'train': 20, 'validation': 12, 'test': 12})
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  often = {'batch_size': 4, 'width': 16, 'depth': 1, 'size': 32, 'length': 8,
           'evals__validation__batch_size': 8, 'evals__test__batch_size': 8,
           'duration__steps': 200, 'duration__epochs': None, 'log_every__steps': 5,
           'checkpoint_every__minutes': None, 'checkpoint_every__steps': 20,
           'evaluate_every__steps': 100, 'evaluate_every__epochs': None, **settings}
  train.run(request_for(name, whole, data_dir=tmp_path, **often))
  _kill(start, cut, (10, 70, 130), f'--data_dir={tmp_path}', *_flags(often),
        experiment=name)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut)


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize(('name', 'settings'), [
  ('style_gatys', {}),  # its parameters are pictures
  ('style_fast', {'patch': 32, 'width': 4, 'depth': 1, 'batch_size': 2})])
def test_styles_killed_and_resumed_are_uninterrupted(
  start, request_for, tmp_path, capsys, name, settings):
  images.write(tmp_path / 'photographs', ['a.png', 'b.png'], shape=(40, 36))
  if name == 'style_fast':
    images.write(tmp_path / 'sr/set14', ['c.png'], 3, shape=(40, 36))
  images.write(tmp_path, ['style.png'], 7, shape=(36, 36))
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  often = {'photographs': 'photographs', 'style': 'style.png', 'size': 36, 'steps': 300,
           'style_size': 32, 'model__features__width': 2, 'log_every__steps': 5,
           'checkpoint_every__minutes': None, 'checkpoint_every__steps': 20, **settings}
  train.run(request_for(name, whole, data_dir=tmp_path, **often))
  _kill(start, cut, (20, 100, 200), f'--data_dir={tmp_path}', *_flags(often),
        experiment=name)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut)


@pytest.mark.slow('kill runs')
def test_a_memory_killed_in_its_linear_start_is_uninterrupted(
  start, request_for, tmp_path, capsys):
  """The steps that are counted in the model's state are among the bits."""
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  rng = np.random.default_rng(0)
  (tmp_path / 'stories').mkdir()
  for split in ('train', 'test'):
    stories = [f'1 Mary went to the {place}.\n2 John left.\n3 Where is Mary?\t{place}\n'
               for place in rng.choice(['hall', 'garden', 'kitchen'], 200)]
    (tmp_path / f'stories/a_{split}.txt').write_text(''.join(stories))
  often = {'folder': tmp_path / 'stories', 'linear': 300, 'batch_size': 16,
           'duration__steps': 600, 'duration__epochs': None, 'width': 8,
           'checkpoint_every__minutes': None, 'checkpoint_every__steps': 50,
           'log_every__steps': 10, 'evaluate_every__steps': 300,
           'evaluate_every__epochs': None}
  train.run(request_for('babi_memory', whole, **often))
  _kill(start, cut, (60, 250, 450), *_flags(often), experiment='babi_memory')
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  _same_bits(whole, cut, arrays=10)


def test_sigterm_saves_says_where_and_goes_on(
  start, request_for, tiny, tmp_path, capsys):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  # Checkpoints so rare that only the signal can have saved one.
  rare = {'steps': 700, 'checkpoint': 10000, 'evaluate_every__epochs': 25}
  process = start(cut, *_flags(rare))
  _until(process, cut, 100)
  process.send_signal(signal.SIGTERM)
  out, err = process.communicate(timeout=120)
  assert process.returncode == 0, err
  assert 'SIGTERM: saved step' in out and f'--workdir={cut}' in out
  stopped = json.loads((cut / 'result.json').read_text())
  assert stopped['status'] == 'stopped' and 100 <= stopped['step'] < 700
  train.run(request_for(tiny, cut, **rare))
  assert f'resuming from step {stopped["step"]:,}' in capsys.readouterr().out
  train.run(request_for(tiny, whole, **rare))
  _same_bits(whole, cut)


def test_a_finished_run_says_so_and_eval_gives_the_same_numbers(
  request_for, tiny, tmp_path, capsys):
  workdir = tmp_path / 'run'
  train.run(request_for(tiny, workdir, steps=60))
  before = (workdir / 'metrics.jsonl').read_bytes()
  train.run(request_for(tiny, workdir, steps=60))
  assert 'is finished' in capsys.readouterr().out
  assert (workdir / 'metrics.jsonl').read_bytes() == before
  result = json.loads((workdir / 'result.json').read_text())
  eval_mode.run(request_for(None, workdir))
  out = capsys.readouterr().out
  assert 'the same numbers as in result.json' in out
  assert f'test/accuracy: {result["metrics"]["test/accuracy"]!r}' in out


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(
  request_for, tiny, tmp_path, capsys):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  train.run(request_for(tiny, whole, steps=60))
  shutil.copytree(whole, cut)
  (cut / 'result.json').unlink()  # as if killed between the last save and the result
  files = [p for p in (cut / 'checkpoints' / '60').rglob('*') if p.is_file()]
  largest = max(files, key=lambda p: p.stat().st_size)
  largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
  before = max(int(p.name) for p in (cut / 'checkpoints').iterdir() if p.name != '60')
  train.run(request_for(None, cut))
  out = capsys.readouterr().out
  assert 'the checkpoint of step 60 is damaged' in out
  assert f'resuming from step {before}' in out
  assert (cut / 'checkpoints' / '60.damaged').is_dir()
  _same_bits(whole, cut)
  # Every one damaged: nothing is begun afresh, nothing is removed.
  (cut / 'result.json').unlink()
  for path in (cut / 'checkpoints').glob('*/carry/**/*'):
    if path.is_file():
      path.write_bytes(b'')
  kept = sorted(str(p) for p in cut.rglob('*'))
  with pytest.raises(UserError, match=r'every checkpoint in .* is damaged'):
    train.run(request_for(None, cut))
  assert sorted(str(p) for p in cut.rglob('*')) == kept


def test_one_flipped_bit_is_noticed(request_for, tiny, tmp_path, capsys):
  workdir = tmp_path / 'run'
  train.run(request_for(tiny, workdir, steps=30))
  checkpoints = Checkpoints(workdir / 'checkpoints', 2, Workdir(workdir).seal())
  carry, _ = checkpoints.restore(30)
  kernel = carry['state']['params']['Conv_0']['kernel']
  carry['state']['params']['Conv_0']['kernel'] = jax.lax.bitcast_convert_type(
    jax.lax.bitcast_convert_type(kernel, jnp.uint32).at[0, 0, 0, 0].add(1), jnp.float32)
  assert int(fingerprint(carry)) != int(fingerprint(carry | {'state': {
    **carry['state'], 'params': {**carry['state']['params'], 'Conv_0': {
      **carry['state']['params']['Conv_0'], 'kernel': kernel}}}}))
  # What is written is whole for Orbax, but it is not what the record was made of.
  shutil.rmtree(workdir / 'checkpoints' / '30' / 'carry')
  shutil.copytree(workdir / 'checkpoints' / '22' / 'carry',
                  workdir / 'checkpoints' / '30' / 'carry')
  with pytest.raises(Damaged, match='its bits are not those that were saved'):
    checkpoints.restore(30)
  checkpoints.release()


def test_early_stopping_restores_the_best(request_for, tiny, tmp_path, capsys):
  workdir = tmp_path / 'run'
  train.run(request_for(tiny, workdir, patience=2, steps=3000, learning_rate=0.05,
                        checkpoint=10000))
  result = json.loads((workdir / 'result.json').read_text())
  records = [json.loads(line) for line in
             (workdir / 'metrics.jsonl').read_text().splitlines()]
  losses = {r['step']: r['validation/loss'] for r in records if 'validation/loss' in r}
  assert result['stopped_by'] == 'patience' and result['step'] < 3000
  assert result['best_step'] == min(losses, key=losses.get)
  assert result['metrics']['validation/loss'] == min(losses.values())
  later = [step for step in losses if step > result['best_step']]
  assert len(later) == 2
  capsys.readouterr()
  eval_mode.run(request_for(None, workdir))
  out = capsys.readouterr().out
  assert f'step {result["best_step"]:,} of' in out and 'the same numbers' in out


def test_an_init_from_that_is_nowhere_is_refused_before_anything_is_read(
  request_for, tiny, tmp_path, monkeypatch):
  monkeypatch.setattr(train.opening, 'build_run', None)
  with pytest.raises(UserError, match='there is no such file or folder'):
    train.run(request_for(tiny, tmp_path / 'run', init_from=tmp_path / 'gone'))


def test_init_from_takes_the_best_parameters_and_refuses_what_does_not_fit(
  request_for, tiny, tmp_path):
  first, second = tmp_path / 'first', tmp_path / 'second'
  train.run(request_for(tiny, first, steps=90))
  best = json.loads((first / 'result.json').read_text())['best_step']
  train.run(request_for(tiny, second, init_from=first, steps=1, learning_rate=1e-12))
  theirs, ours = arrays_of(first, best), arrays_of(second, 1)
  kernels = [k for k in ours if "'params'" in k and 'kernel' in k]
  assert len(kernels) == 3
  for name in kernels:
    np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9)
  with pytest.raises(UserError) as error:
    train.run(request_for(tiny, tmp_path / 'third', init_from=first, width=6, steps=1))
  assert 'Conv_0/kernel: shape must be (3, 3, 1, 6), got (3, 3, 1, 4)' in str(
    error.value)


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize('settings', [
  {}, {'patience': 2, 'learning_rate': 0.03, 'steps': 400}],
  ids=['to the end', 'stopped early'])
def test_seeds_killed_and_resumed_are_uninterrupted(
  start, request_for, tiny, tmp_path, capsys, settings):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  train.run(request_for(tiny, whole, **settings), seeds=3)
  _kill(start, cut, (20, 50, 100), '--seeds=3', *_flags(settings), experiment=tiny)
  capsys.readouterr()
  train.run(request_for(None, cut))
  assert 'resuming from step' in capsys.readouterr().out
  for seed in range(3, 6):
    _same_bits(whole / f'seed_{seed}', cut / f'seed_{seed}')
  assert (whole / 'metrics.jsonl').read_bytes() == (cut / 'metrics.jsonl').read_bytes()
