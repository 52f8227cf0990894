"""Tests of benchmarks/: the tables of the docs, and what the scripts compare."""

import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys
import time
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'benchmarks'))

import gpu  # noqa: E402
import machine  # noqa: E402
import networks  # noqa: E402
import table  # noqa: E402
import timing  # noqa: E402


@pytest.mark.parametrize('page, made', [
  (page, made) for page, tables in table.TABLES.items() for made in tables])
def test_the_table_is_in_the_docs(page, made):
  rows = made()
  assert len(rows) > 3
  assert '\n'.join(rows) in (ROOT / f'docs/{page}.md').read_text(), (
    f'{rows[0]} is out of date: python benchmarks/table.py prints the tables')


# --- gpu.py -----------------------------------------------------------------------


def test_a_part_that_is_none_is_refused(capsys):
  with pytest.raises(SystemExit) as error:
    gpu.arguments(['--parts=muon,resnet'])
  assert error.value.code == 2
  assert ("--parts: choose from cifar_speedrun, gpt2_124m, gpt_pytorch, resnet50, "
          "vit_s16, generation, population, muon; got 'resnet'"
          ) in capsys.readouterr().err
  assert gpu.arguments(['--parts=muon']).parts == ['muon']
  with pytest.raises(SystemExit):
    gpu.arguments(['--out=gone/found.json'])
  assert '--out: there is no folder gone' in capsys.readouterr().err


def test_all_parts_take_eight_minutes_at_most():
  assert sum(seconds for _, seconds in gpu.PARTS.values()) <= 480


def run_part(code, budget=60):
  found = {}
  gpu.run_part([sys.executable, '-c', code], budget, found.__setitem__)
  return found


def test_a_part_reports_what_it_measured_before_it_failed():
  found = run_part('print(\'["batch_1", {"ms": 2}]\'); exit("no memory")')
  assert found.pop('seconds') < 60
  assert found == {'batch_1': {'ms': 2}, 'error': 'no memory'}
  assert run_part('print("[\\"a\\", 1]")').keys() == {'a', 'seconds'}
  assert run_part('import os; os._exit(3)')['error'] == 'exit code 3'


@pytest.mark.slow('run several processes')
def test_a_part_is_stopped_with_all_that_it_started(tmp_path):
  """A process that it started, and that holds its output open."""
  child = f'import time; time.sleep(6); open({str(tmp_path / "left")!r}, "w")'
  found = run_part(
    'import subprocess, sys\nprint(\'["a", 1]\', flush=True)\n'
    f'subprocess.run([sys.executable, "-c", {child!r}])', budget=4)
  assert 4 <= found.pop('seconds') < 6
  assert found == {'a': 1, 'error': 'stopped after its 4 s'}
  time.sleep(3)
  assert not (tmp_path / 'left').exists()


def test_rates_are_of_the_median_round():
  assert timing.rates([4.0, 1.0, 2.0], 'tokens', 8, 6e12) == {
    'ms': 2000, 'shortest_ms': 1000, 'longest_ms': 4000, 'tokens_per_second': 4,
    'tflops': 3}
  assert timing.utilization(494.5e12, 'NVIDIA H100 80GB HBM3') == {
    'tflops': 494.5, 'mfu': 0.5}


def test_an_error_is_a_result():
  found = {}
  with timing.reporting(found.__setitem__, 'batch_64') as result:
    result['steps'] = 3
    raise ValueError('out of memory\nat once')
  assert found == {'batch_64': {'steps': 3, 'error': 'ValueError: out of memory'}}


def test_the_work_is_timed_in_rounds_of_about_the_given_time():
  calls = []
  found = timing.timed(lambda times: (calls.append(times), time.sleep(0.002 * times)),
                       0.05)
  assert len(found) == timing.ROUNDS and min(found) >= 0.002
  assert calls[:2] == [1, 1] and 1 <= calls[2] <= 25 and len(set(calls[2:])) == 1


def test_the_operations_of_gpt2_are_those_of_nanogpt():
  """6 N + 12 L T W, of the 124,439,808 parameters of GPT-2 with 50,257 tokens."""
  import gpu_models

  from bigmodels import models

  sizes = gpu_models.GPT | {'vocabulary': 50257}
  params = jax.eval_shape(
    partial(models.Gpt(**sizes).init, train=False), jax.random.key(0),
    jnp.zeros((1, 8), jnp.int32))['params']
  assert gpu_models.nanogpt_flops(params, sizes) == (
    6 * (124_439_808 - 1024 * 768) + 12 * 12 * 1024 * 768)


def test_the_runs_of_one_program_have_the_order_of_their_seed():
  import gpu_cifar
  from train_steps import build_quietly

  flags = types.SimpleNamespace(tiny=True, data_dir=None)
  experiment = gpu_cifar.speedrun({}, flags)
  built, other = build_quietly(experiment), build_quietly(
    dataclasses.replace(experiment, seed=3))
  found, expected, first = (each.host_batch(0, 4) for each in (
    gpu_cifar.loader(built, 3), other.train, built.train))
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert (found['rows'] != first['rows']).any()


def measured_on_a_cpu(flag, out):
  """The finished process of gpu.py, and what it saved."""
  done = subprocess.run(
    [sys.executable, str(ROOT / 'benchmarks/gpu.py'), flag, f'--out={out}'],
    capture_output=True, text=True, env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    check=False)
  return done, json.loads(out.read_text())


@pytest.mark.slow('compile')
def test_every_part_measures_small_models(tmp_path):
  """On a machine without a GPU, in processes that print what they like."""
  done, saved = measured_on_a_cpu('--tiny', tmp_path / 'found.json')
  assert done.returncode == 0, done.stdout + done.stderr
  assert saved['command'] == (
    f'python benchmarks/gpu.py --parts={",".join(gpu.PARTS)} --tiny')
  assert saved['machine']['jax'] == jax.__version__
  results = saved['results']
  assert [*results] == [*gpu.PARTS] and 'error' not in str(results)
  for part, found in results.items():
    assert found.pop('seconds') > 0
    if 'skipped' in found:
      assert part == 'gpt_pytorch' and found['skipped'].startswith('no PyTorch in ')
      continue
    for name, values in found.items():
      speeds = [value for key, value in values.items() if key.endswith('_per_second')]
      assert speeds and all(0 < speed < math.inf for speed in speeds), (part, name)
  assert results['cifar_speedrun']['airbench']['seeds'] == 2
  assert {*results['vit_s16']} == {'batch_2', 'batch_2_augmented'}


@pytest.mark.slow('run several processes')
def test_without_a_gpu_a_part_says_so(tmp_path):
  done, saved = measured_on_a_cpu('--parts=muon', tmp_path / 'found.json')
  assert done.returncode == 1
  found = saved['results']['muon']
  assert found['error'].startswith('UserError: --require_backend=gpu: JAX uses cpu')


@pytest.mark.reference
@pytest.mark.parametrize('name', networks.NETWORKS)
def test_the_networks_that_are_compared_have_as_many_parameters(name):
  for package in ('torch', 'transformers'):
    pytest.importorskip(package)
  import networks_pytorch
  import side_ours

  theirs = networks_pytorch.size(networks_pytorch.NETWORKS[name]())
  assert side_ours.parameters(name) == theirs


def test_results_of_another_machine_are_not_added_to(tmp_path):
  path, here = tmp_path / 'results.json', {'cpu': 'one', 'date': '2026-01-01'}
  assert machine.earlier(path, here) == ({}, here)
  path.write_text(json.dumps({'machine': {**here, 'torch': '2'}, 'results': {'a': 1}}))
  later = {**here, 'date': '2026-01-02'}
  assert machine.earlier(path, later) == ({'a': 1}, {**later, 'torch': '2'})
  with pytest.raises(SystemExit, match='cpu one, here other'):
    machine.earlier(path, {**here, 'cpu': 'other'})
