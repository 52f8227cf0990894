"""`--profile`: what it prints, refuses and leaves, and that it changes no result."""

import json
import re

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import train
from bigmodels.storage.workdir import Workdir
from bigmodels.training.profiler import StepProfiler, check_length, parse


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
  (10, 10**6, 64, 7, (18, 21, 85)),  # evaluations end dispatches as they do anyway
  (10, 25, 64, 10**6, (5, 15, 25)),  # no longer than the run
  (9, 23, 1, 4, (5, 6, 15))])
def test_which_steps_are_profiled(count, steps, pace, evaluate, expected, tmp_path,
                                  monkeypatch):
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


def test_a_profile_changes_no_bit_of_a_run(request_for, tiny, tmp_path, capsys):
  for name, flags in (('plain', {}), ('steps', {'profile': 'steps:20'}),
                      ('start', {'profile': 'startup'})):
    train.run(request_for(tiny, tmp_path / name, steps=60), **flags)
  for name in ('steps', 'start'):
    for file in ('metrics.jsonl', 'checkpoints/60/digests.json'):
      path = tmp_path / 'plain' / file
      if path.is_file() or file == 'metrics.jsonl':
        assert (tmp_path / name / file).read_bytes() == path.read_bytes()
  out = capsys.readouterr().out
  folder = tmp_path / 'steps' / 'profile'
  trace = re.search(r'trace: (\S+) \(open it in https://ui.perfetto.dev\)', out)[1]
  assert trace.startswith(str(folder)) and trace.endswith('perfetto_trace.json.gz')
  assert f'all operations: {folder}/operations.txt' in out
  rows = (folder / 'operations.txt').read_text().splitlines()
  ms = float(re.search(r'profile of steps [\d,]+ to [\d,]+: ([\d.]+) ms a step', out)[1])
  shares = [float(row.split()[0]) for row in rows[1:-1]]
  kinds = [float(n) for n in re.findall(r'([\d.]+) ms \(', rows[-1])]
  assert sum(kinds) == pytest.approx(ms, abs=0.02) and 0 < sum(shares) <= ms + 0.1
  for words in ('product ', ' forward ', ' backward ', 'Cnn/head/Dense_0: f32[50,64] x '
                'f32[64,8] -> f32[50,8]', 'optimizer: ', 'data: '):
    assert any(words in row for row in rows), words
  assert not (tmp_path / 'start' / 'profile').exists()
  whole = float(re.search(r'([\d.]+) s from the start of the process', out)[1])
  phases = dict((row[1], float(row[0])) for row in re.findall(
    r'^ *([\d.]+) +[\d.]+%  ([^:\n]+)', out, re.MULTILINE) if not row[1][0].isdigit())
  assert {'Python and imports', 'starting JAX', 'opening the data', 'building',
          'tracing', 'lowering', 'compiling', 'initializing', 'first step'
          } <= phases.keys()
  assert whole > 0


def test_a_finished_run_cannot_be_profiled(request_for, tiny, tmp_path):
  train.run(request_for(tiny, tmp_path / 'run', steps=2))
  with pytest.raises(UserError, match='--profile=startup: this run is finished; --ext'):
    train.run(request_for(None, tmp_path / 'run'), profile='startup')


def test_a_short_run_is_refused_before_it_compiles(request_for, tiny, tmp_path):
  with pytest.raises(UserError, match='this run has 20 left, enough for steps:7'):
    train.run(request_for(tiny, tmp_path / 'run', steps=20), profile='steps:8')
  assert not (tmp_path / 'run' / 'config.txt').exists()


def test_a_streamed_run_that_stops_early_says_so(request_for, tiny, tmp_path, capsys,
                                                 parsed_flags, monkeypatch):
  monkeypatch.setattr('bigmodels.training.profiler.StepProfiler.due',
                      lambda self, step: step == 12 and not self._running)
  train.run(request_for(tiny, tmp_path / 'run', steps=30, resident=False),
            profile='steps:5')
  assert 'the run stopped before 5 steps were profiled' in capsys.readouterr().out
  assert json.loads((tmp_path / 'run/result.json').read_text())['step'] == 30
