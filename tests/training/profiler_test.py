"""`--profile`: what it prints, refuses and leaves, and that it changes no result."""

import re

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.hardware import devices
from bigmodels.modes import train
from bigmodels.storage.workdir import Workdir
from bigmodels.training.profiler import (
  StepProfiler,
  check_length,
  names_compiled,
  parse,
)


@pytest.mark.parametrize(('text', 'expected'), [
  (None, None), ('startup', 0), ('steps:10', 10), ('steps:1', 1)])
def test_what_the_flag_says(text, expected):
  assert parse(text) == expected


@pytest.mark.parametrize(('text', 'message'), [
  ('step:10', "must be steps:N, such as steps:10, or startup; did you mean 'steps'"),
  ('start', "or startup; did you mean 'startup'"), ('', 'must be steps:N'),
  ('steps:0', "must be an integer >= 1, got '0'"), ('steps:-1', "got '-1'"),
  ('steps:', "got ''"), ('steps:1e2', "got '1e2'"), ('steps:3.0', "got '3.0'")])
def test_another_value_is_refused(text, message):
  with pytest.raises(UserError, match=re.escape(f'--profile={text}: ')) as error:
    parse(text)
  assert message in str(error.value)


@pytest.mark.parametrize(('steps', 'message'), [
  (24, 'this run has 24 left, enough for steps:9'), (6, 'too few to profile any')])
def test_a_run_that_is_too_short_is_refused(steps, message):
  check_length(9, 23)
  with pytest.raises(UserError, match=message):
    check_length(10, steps)


@pytest.mark.parametrize(('count', 'steps', 'pace', 'evaluate', 'expected'), [
  (10, 10**6, 1, 10**6, (8, 9, 19)),
  # At its pace: four single steps, and then whole dispatches of 64.
  (10, 10**6, 64, 10**6, (4 + 4 * 64, 4 + 5 * 64, 4 + 6 * 64)),
  (100, 10**6, 64, 10**6, (260, 324, 424)),
  # Evaluations end dispatches as they do anyway.
  (10, 10**6, 64, 7, (28, 35, 99)),
  (10, 25, 64, 10**6, (5, 15, 25)),  # no longer than the run
  (9, 23, 1, 4, (5, 6, 15))])
def test_which_steps_are_profiled(count, steps, pace, evaluate, expected, tmp_path):
  seen = []
  profiler = StepProfiler(count, Workdir(tmp_path), '', step=0, steps=steps,
                          record=False, say=print)
  step = 0
  for dispatch in range(10**4):
    most = 1 if dispatch < 4 else pace
    boundary = min(steps, (step // evaluate + 1) * evaluate)
    cut = profiler.cut(step, boundary, most)
    assert step < cut <= boundary
    if len(seen) == 1 and seen[0] == step:
      seen.append(cut)  # the end of the first dispatch
    step = min(cut, step + most)
    if profiler.due(step):
      seen.append(step)
      profiler.reached(step)
    if len(seen) == 3 or step == steps:
      break
  assert tuple(seen) == expected


@pytest.mark.slow('train')
def test_a_profile_changes_no_bit_of_a_run(request_for, tiny, tmp_path, capsys):
  for name, flags in (('plain', {}), ('steps', {'profile': 'steps:20'}),
                      ('start', {'profile': 'startup'})):
    train.run(request_for(tiny, tmp_path / name, steps=60), **flags)
  plain = bigmodels.load(tmp_path / 'plain')
  for name in ('steps', 'start'):
    log = (tmp_path / name / 'metrics.jsonl').read_bytes()
    assert log == (tmp_path / 'plain' / 'metrics.jsonl').read_bytes()
    chex.assert_trees_all_equal(bigmodels.load(tmp_path / name).params, plain.params)
  out = capsys.readouterr().out
  folder = tmp_path / 'steps' / 'profile'
  trace = re.search(r'trace: (\S+) \(open it in https://ui.perfetto.dev\)', out)[1]
  assert trace.startswith(str(folder)) and trace.endswith('perfetto_trace.json.gz')
  assert f'all operations: {folder}/operations.txt' in out
  rows = (folder / 'operations.txt').read_text().splitlines()
  ms = float(re.search(r'profile of steps .*: ([\d.]+) ms a step', out)[1])
  shares = [float(row.split()[0]) for row in rows[1:-1]]
  kinds = [float(n) for n in re.findall(r'([\d.]+) ms \(', rows[-1])]
  assert sum(kinds) == pytest.approx(ms, abs=0.02) and 0 < sum(shares) <= ms + 0.1
  for words in ('product ', ' forward ', ' backward ', 'Cnn/head/Dense_0: f32[50,64] x '
                'f32[64,8] -> f32[50,8]', 'optimizer: ', 'data: '):
    assert any(words in row for row in rows), words
  assert not (tmp_path / 'start' / 'profile').exists()
  found = out[out.index(' s from the start of the process'):]
  whole = float(re.search(r'([\d.]+) s from the start of the process', out)[1])
  phases = {phase: float(seconds) for seconds, phase in re.findall(
    r'^ *([\d.]+) +[\d.]+%  ([^:\n]+)', found, re.MULTILINE)}
  assert [*phases] == [
    'Python and imports', 'config and workdir', 'starting JAX', 'opening the data',
    'building', 'loading the data', 'tracing', 'initializing', 'lowering', 'compiling',
    'first step']
  assert sum(phases.values()) == pytest.approx(whole, abs=0.01)
  assert re.search(r'compiling: \d+ of \d+ programs from the cache', found)
  with pytest.raises(UserError, match='--profile=startup: this run is finished; --ext'):
    train.run(request_for(None, tmp_path / 'start'), profile='startup')


def test_a_short_run_is_refused_before_it_compiles(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='this run has 20 left, enough for steps:7'):
    train.run(request_for(tiny, tmp_path / 'run', steps=20), profile='steps:8')
  assert not (tmp_path / 'run' / 'config.txt').exists()


def test_a_run_that_stops_early_says_so(tmp_path, monkeypatch, capsys):
  calls = []
  for name in ('start', 'stop'):
    monkeypatch.setattr(f'bigmodels.hardware.profile.{name}',
                        lambda folder, name=name: calls.append((name, folder)))
  profiler = StepProfiler(3, Workdir(tmp_path), '', step=90, steps=101, record=True,
                          say=print)
  profiler.close()  # before the trace
  assert not calls
  assert profiler.cut(90, 100, 64) == 95 and profiler.due(95) and not profiler.due(94)
  profiler.reached(95)
  profiler.close()
  assert calls == [(name, tmp_path / 'profile') for name in ('start', 'stop')]
  assert capsys.readouterr().out == (
    '--profile: the run stopped before 3 steps were profiled\n')


@pytest.fixture
def empty_cache(tmp_path):
  """A compilation cache of its own."""
  before = jax.config.jax_compilation_cache_dir
  devices.configure_jax(tmp_path)
  compilation_cache.reset_cache()
  yield
  jax.config.update('jax_compilation_cache_dir', before)
  compilation_cache.reset_cache()


@pytest.mark.usefixtures('empty_cache')
def test_the_names_are_not_those_of_an_older_program_in_the_cache():
  def names(scope):
    @jax.jit
    def f(x):
      with jax.named_scope(scope):
        return jnp.sin(x @ x)

    text = f.lower(jnp.ones((3, 3))).compile().as_text()
    return {name for name in ('older', 'newer') if f'/{name}/sin' in text}

  assert names('older') == {'older'}
  assert names('newer') == {'older'}  # what is to be avoided
  with names_compiled(10):
    assert names('newer') == {'newer'}
  with names_compiled(None):
    assert names('newer') == {'older'}
