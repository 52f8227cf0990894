"""A run that is stopped anywhere and goes on ends with the same bits."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

TINY = str(pathlib.Path(__file__).parent / 'forks' / 'tiny.py')


def _carry(workdir: pathlib.Path, step: int):
  """The arrays of a checkpoint, read by Orbax alone."""
  with ocp.StandardCheckpointer() as checkpointer:
    tree = checkpointer.restore((workdir / 'checkpoints' / str(step) / 'carry').resolve())
  return {jax.tree_util.keystr(k): np.asarray(v)
          for k, v in jax.tree.leaves_with_path(tree)}


def _same_bits(a: pathlib.Path, b: pathlib.Path):
  assert (a / 'metrics.jsonl').read_bytes() == (b / 'metrics.jsonl').read_bytes()
  results = [json.loads((x / 'result.json').read_text()) for x in (a, b)]
  for key in ('metrics', 'step', 'best_step', 'parameters', 'status'):
    assert results[0][key] == results[1][key], key
  one, two = (_carry(x, results[0]['step']) for x in (a, b))
  assert one.keys() == two.keys() and len(one) > 20
  for name in one:
    assert one[name].tobytes() == two[name].tobytes(), name


@pytest.fixture(scope='module', params=['resident', 'streamed'])
def road(request):
  return f'--config.resident={request.param == "resident"}'


def _steps(workdir: pathlib.Path) -> list[int]:
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.is_file() else []
  return [json.loads(line)['step'] for line in lines if line.endswith('}')]


def test_killed_at_random_moments_and_resumed_is_uninterrupted(
  command, run_py, tmp_path, road):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  flags = [f'--experiment={TINY}', road, '--config.steps=600']
  done = run_py(*flags, f'--workdir={whole}')
  assert done.returncode == 0, done.stderr
  flags.append(f'--workdir={cut}')
  chance, kills = random.Random(0), 0
  for target in (14, 150, 300):
    process = subprocess.Popen(
      command(*flags), cwd=tmp_path, stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
    while process.poll() is None and max(_steps(cut), default=0) < target:
      time.sleep(0.002)
    time.sleep(chance.random() * 0.05)
    process.kill()
    kills += process.wait() == -signal.SIGKILL
  assert kills >= 2, 'the runs were over before they could be killed'
  done = run_py(f'--workdir={cut}')
  assert done.returncode == 0, done.stderr
  assert 'going on from step' in done.stdout
  _same_bits(whole, cut)


def test_sigterm_saves_says_where_and_goes_on(command, run_py, tmp_path):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  # Checkpoints so rare that only the signal can have saved one.
  flags = [f'--experiment={TINY}', '--config.steps=2000', '--config.checkpoint=10000',
           '--config.evaluate.epochs=50']
  process = subprocess.Popen(
    command(*flags, f'--workdir={cut}'), cwd=tmp_path, text=True,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  while process.poll() is None and max(_steps(cut), default=0) < 100:
    time.sleep(0.002)
  process.send_signal(signal.SIGTERM)
  out, err = process.communicate(timeout=120)
  assert process.returncode == 0, err
  assert 'SIGTERM: saved step' in out and f'--workdir={cut}' in out
  stopped = json.loads((cut / 'result.json').read_text())
  assert stopped['status'] == 'stopped' and 100 <= stopped['step'] < 2000
  again = run_py(*flags, f'--workdir={cut}')
  assert again.returncode == 0, again.stderr
  assert f'going on from step {stopped["step"]:,}' in again.stdout
  assert run_py(*flags, f'--workdir={whole}').returncode == 0
  _same_bits(whole, cut)


def test_a_finished_run_says_so_and_eval_gives_the_same_numbers(run_py, tmp_path):
  workdir = tmp_path / 'run'
  flags = [f'--experiment={TINY}', f'--workdir={workdir}', '--config.steps=60']
  assert run_py(*flags).returncode == 0
  before = (workdir / 'metrics.jsonl').read_bytes()
  again = run_py(*flags)
  assert again.returncode == 0 and 'is finished' in again.stdout
  assert (workdir / 'metrics.jsonl').read_bytes() == before
  result = json.loads((workdir / 'result.json').read_text())
  evaluated = run_py(f'--workdir={workdir}', '--mode=eval')
  assert evaluated.returncode == 0, evaluated.stderr
  assert 'the same numbers as in result.json' in evaluated.stdout
  assert f'test/accuracy: {result["metrics"]["test/accuracy"]!r}' in evaluated.stdout


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(run_py, tmp_path):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  flags = [f'--experiment={TINY}', '--config.steps=60']
  assert run_py(*flags, f'--workdir={whole}').returncode == 0
  assert run_py(*flags, f'--workdir={cut}').returncode == 0
  (cut / 'result.json').unlink()  # as if killed between the last save and the result
  damaged = cut / 'checkpoints' / '60'
  largest = max(damaged.rglob('*'), key=lambda p: p.stat().st_size if p.is_file() else 0)
  largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
  again = run_py(f'--workdir={cut}')
  assert again.returncode == 0, again.stderr
  assert 'the checkpoint of step 60 is damaged' in again.stdout
  before = max(int(p.name) for p in (cut / 'checkpoints').iterdir()
               if p.name.isdigit() and int(p.name) < 60)
  assert f'going on from step {before}' in again.stdout
  assert (cut / 'checkpoints' / '60.damaged').is_dir()
  _same_bits(whole, cut)
  # Every one damaged: nothing is begun afresh, nothing is removed.
  (cut / 'result.json').unlink()
  for path in (cut / 'checkpoints').glob('*/carry/**/*'):
    if path.is_file():
      path.write_bytes(b'')
  kept = sorted(str(p) for p in cut.rglob('*'))
  lost = run_py(f'--workdir={cut}')
  assert lost.returncode == 2 and 'every checkpoint' in lost.stderr
  assert 'Traceback' not in lost.stderr
  assert sorted(str(p) for p in cut.rglob('*')) == kept


def test_early_stopping_restores_the_best(run_py, tmp_path):
  workdir = tmp_path / 'run'
  done = run_py(f'--experiment={TINY}', f'--workdir={workdir}', '--config.patience=2',
                '--config.steps=3000', '--config.learning_rate=0.05')
  assert done.returncode == 0, done.stderr
  result = json.loads((workdir / 'result.json').read_text())
  records = [json.loads(line) for line in
             (workdir / 'metrics.jsonl').read_text().splitlines()]
  losses = {r['step']: r['validation/loss'] for r in records if 'validation/loss' in r}
  assert result['stopped_by'] == 'patience' and result['step'] < 3000
  assert result['best_step'] == min(losses, key=losses.get)
  assert result['metrics']['validation/loss'] == min(losses.values())
  later = [step for step in losses if step > result['best_step']]
  assert len(later) == 2
  evaluated = run_py(f'--workdir={workdir}', '--mode=eval')
  assert f'step {result["best_step"]:,} of' in evaluated.stdout
  assert 'the same numbers' in evaluated.stdout


def test_init_from_takes_the_best_parameters_and_refuses_what_does_not_fit(
  run_py, tmp_path):
  first, second = tmp_path / 'first', tmp_path / 'second'
  flags = [f'--experiment={TINY}', '--config.learning_rate=1e-12', '--config.steps=1']
  trained = run_py(f'--experiment={TINY}', f'--workdir={first}', '--config.steps=90')
  assert trained.returncode == 0, trained.stderr
  best = json.loads((first / 'result.json').read_text())['best_step']
  done = run_py(*flags, f'--workdir={second}', f'--init_from={first}')
  assert done.returncode == 0, done.stderr
  theirs, ours = _carry(first, best), _carry(second, 1)
  kernels = [k for k in ours if "'params'" in k and 'kernel' in k]
  assert len(kernels) == 3
  for name in kernels:
    np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9)
  refused = run_py(*flags, f'--init_from={first}', '--config.width=6')
  assert refused.returncode == 2 and "['Conv_0']['kernel']" in refused.stderr
  assert '(3, 3, 1, 4) there, wants (3, 3, 1, 6)' in refused.stderr
