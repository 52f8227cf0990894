"""Tests of run.py as a program: what is refused, how, and with which exit code."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from bigmodels.config import config_file, resolving

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _command(*arguments, cwd, code=None):
  head = ['-c', code] if code else [str(ROOT / 'run.py')]
  return subprocess.run(
    [sys.executable, *head, *arguments], cwd=cwd, capture_output=True, text=True,
    timeout=120, env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)})


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--experiment=digit_cnn'], "'digit_cnn'; did you mean 'digits_cnn'?"),
  (['--experimnt=digits_cnn'], "--experimnt: no such flag; did you mean 'experiment'?"),
  (['--mode=pint', '--experiment=digits_cnn'], "--mode=pint"),
  (['--mode'], '--mode'),
  (['digits_cnn'], "'digits_cnn': must be a flag"),
  (['--require_backend=gpuu'], 'cpu|gpu|tpu'),
  (['--experiment=digits_cnn', '--config.learning_rat=1'],
   "did you mean 'learning_rate'"),
  (['--experiment=digits_cnn', '--config.model.widths=3'], 'must be tuple[int, ...]'),
  (['--experiment=digits_cnn', '--config.seed'], '--config.seed: must have a value'),
  (['--experiment=fork.py'], 'fork.py, line 2: SyntaxError'),
  (['--experiment=gone.txt'], 'gone.txt'),
  (['--workdir=empty', '--mode=print'], 'does not exist'),
  (['--mode=eval'], '--workdir'),
  ([], 'name an --experiment'),
])
def test_mistakes_of_the_user_are_one_line_and_exit_2(arguments, message, tmp_path):
  (tmp_path / 'fork.py').write_text('x = 1\ndef config(:')
  done = _command(*arguments, cwd=tmp_path)
  assert done.returncode == 2, done.stderr
  assert message in done.stderr and done.stderr.startswith('error: ')
  assert done.stderr.count('\n') == 1 and done.stdout == ''
  assert os.listdir(tmp_path) == ['fork.py'], 'nothing is left behind'


def test_list_and_help(tmp_path):
  done = _command('--list', cwd=tmp_path)
  assert done.returncode == 0 and done.stderr == ''
  names = [line.split()[0] for line in done.stdout.splitlines() if line[0] != ' ']
  assert names == list(resolving.summaries())
  assert 'needs CIFAR-10 (TFDS); 7 s on an H100' in done.stdout
  done = _command('--help', cwd=tmp_path)
  assert done.returncode == 0 and '--experiment' in done.stdout


def test_print_runs_again_and_opens_nothing(tmp_path):
  code = f'''
import sys
sys.argv[0] = {str(ROOT / 'run.py')!r}
from bigmodels.cli import command
try:
  command.start(sys.argv)
finally:
  heavy = ('tensorflow_datasets', 'grain', 'sklearn', 'matplotlib', 'orbax', 'PIL',
           'tensorboardX', 'scipy.stats')
  print('loaded:', [name for name in heavy if name in sys.modules], file=sys.stderr)
  from jax._src import xla_bridge
  print('devices:', bool(xla_bridge._backends), file=sys.stderr)
'''
  first = _command('--experiment=cifar_cnn', '--mode=print', '--config.seed=3',
                   '--config.model.dropout=0.25', cwd=tmp_path, code=code)
  assert first.returncode == 0, first.stderr
  assert first.stdout == config_file.to_text(resolving.resolve(
    'cifar_cnn', {'seed': '3', 'model.dropout': '0.25'}))
  assert 'loaded: []' in first.stderr and 'devices: False' in first.stderr
  assert os.listdir(tmp_path) == []
  (tmp_path / 'config.txt').write_text(first.stdout)
  again = _command('--experiment=config.txt', '--mode=print', cwd=tmp_path)
  assert again.stdout == first.stdout


def test_what_a_run_imports_and_compiles_before_its_first_step(tmp_path):
  code = f'''
import json, os, sys
sys.argv[0] = {str(ROOT / 'run.py')!r}
from bigmodels.cli import command
from bigmodels.training import loop
import jax
compiled = []
jax.monitoring.register_event_duration_secs_listener(
  lambda event, seconds, **more: event.endswith('backend_compile_duration')
  and compiled.append(more['fun_name']))
def dispatched(self, *args):
  heavy = ('tensorflow_datasets', 'grain', 'sklearn', 'matplotlib', 'orbax.checkpoint',
           'PIL', 'tensorboardX', 'pandas', 'pyarrow', 'scipy.stats', 'rlax', 'gymnax')
  print(json.dumps([compiled, [name for name in heavy if name in sys.modules]]),
        flush=True)
  os._exit(0)
loop.Pace.dispatched = dispatched
command.start(sys.argv)
'''
  done = _command('--experiment=diabetes_linear', f'--cache_dir={tmp_path}',
                  cwd=tmp_path, code=code)
  compiled, imported = json.loads(done.stdout.splitlines()[-1])
  assert imported == []
  names = [re.sub(r'^jit\((.*)\)$', r'\1', name) for name in compiled]
  assert sorted(n for n in names if n in ('advance', 'evaluate', 'fresh')) == [
    'advance', 'evaluate', 'fresh']
  assert len(names) <= 7, names  # the others make constants, and the seed


@pytest.mark.parametrize(('flags', 'message'), [
  (['--topology=v5e:4x4'], '--topology: is a flag of --mode=plan only'),
  (['--mesh='], "no axis ''"),
  (['--mesh=dta:2'], "no axis 'dta'; did you mean 'data'?"),
  (['--mesh=data:0'], 'data: '),
  (['--mesh=data:-1,fsdp:-1'], 'only one axis can take the remaining devices'),
  (['--mesh=data:3'], ' 3 devices'),
  (['--mode=plan', '--topology=v9:2x2'], "no TPU family 'v9'"),
  (['--num_processes=2'], 'missing: --coordinator, --process_id'),
])
def test_flags_of_meshes_and_processes_are_refused_in_a_line(flags, message, tmp_path):
  done = _command('--experiment=digits_cnn', f'--cache_dir={tmp_path}', *flags,
                  cwd=tmp_path)
  assert done.returncode == 2
  assert message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_out_of_memory_is_reported_in_a_line(tmp_path):
  done = _command('--experiment=digits_cnn', '--config.model.hidden=(10000000000,)',
                  cwd=tmp_path)
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert re.match(r'error: out of memory: .*\(--mode=plan', done.stderr), done.stderr
