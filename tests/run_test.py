"""Tests of the command line: what is refused, how, and with which exit code."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

import run
from bigmodels.config import resolving
from bigmodels.core.errors import UserError

ROOT = pathlib.Path(run.__file__).parent


def _command(*arguments, cwd, code=None):
  head = ['-c', code] if code else [str(ROOT / 'run.py')]
  return subprocess.run(
    [sys.executable, *head, *arguments], cwd=cwd, capture_output=True, text=True,
    timeout=120, env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)})


@pytest.fixture
def started(capsys, monkeypatch, tmp_path):
  """(flags) -> exit code, stdout and stderr of run.py, in this process."""

  def call(*arguments):
    monkeypatch.chdir(tmp_path)
    before = flags.FLAGS.is_parsed()
    flags.FLAGS.unparse_flags()
    try:
      with pytest.raises(SystemExit) as end:
        run._start(['run.py', *arguments])
    finally:
      flags.FLAGS.unparse_flags()
      if before:
        flags.FLAGS.mark_as_parsed()
    return end.value.code, *capsys.readouterr()

  return call


# --- in process -----------------------------------------------------------------


def test_overrides_are_split_off():
  rest, overrides = run.read_overrides([
    'run.py', '--config.a=1', '--mode=print', '-config.b.c', '-2', '--config.d=x=y',
    '--config.e=', 'rest', '--config.a=3'])
  assert rest == ['run.py', '--mode=print', 'rest']
  assert overrides == {'a': '3', 'b.c': '-2', 'd': 'x=y', 'e': ''}


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--config.a'], '--config.a: wants a value'),
  (['--config.a', '--mode=print'], '--config.a: wants a value'),
  (['--config=5'], 'name a knob'), (['--config.=5'], 'name a knob'),
  (['--config'], 'name a knob'),
])
def test_overrides_without_name_or_value(arguments, message):
  with pytest.raises(UserError, match=message):
    run.read_overrides(['run.py', *arguments])


def test_every_mode_is_a_file_with_run():
  assert {'train', 'eval', 'print'} <= set(run.MODES)
  for mode in run.MODES:
    assert '\ndef run(' in (ROOT / f'bigmodels/modes/{mode}.py').read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--config.=x'], 'name a knob'), (['--config.a..b=1'], "no knob or field 'a'"),
  (['--config.model..b=1'], "has no field ''"),
  (['--config..=1'], '--config..'), (['--config.seed=1', '--config.seed=2'],
                                     "--config.seed: given twice, as '1' and as '2'"),
  (['--config.seed', '1', '--config.seed', '2'], 'given twice'),
  (['--workdir=a', '--workdir=b'], '--workdir: given 2 times'),
  (['--mode=eval', '--mode', 'print'], '--mode: given 2 times'),
  (['--mesh='], "no axis ''"), (['--mesh=data'], '--mesh'),
  (['--mesh=data:-2'], 'data: '), (['--mesh=data:99999999999999999999'], '--mesh'),
  (['--hang_timeout=nan'], '--hang_timeout=nan: must be a finite number'),
  (['--hang_timeout=inf'], '--hang_timeout=inf: must be a finite number'),
  (['--hang_timeout=0'], 'hang_timeout'), (['--hang_timeout=x'], 'hang_timeout'),
  (['--mode=sample', '--temperature=nan'], '--temperature: '),
  (['--mode=sample', '--temperature=-1'], '--temperature: '),
  (['--mode=sample', '--top_p=nan'], '--top_p: '),
  (['--mode=sample', '--top_p=0'], '--top_p: '),
  (['--mode=sample', '--top_k=0'], '--top_k: '),
  (['--mode=sample', '--tokens=-1'], '--tokens: '),
  (['--mode=sample', '--tokens=1e3'], '--tokens'),
  (['--mode=sample', '--samples=0'], '--samples: '),
  (['--mode=sample', '--beams=0'], '--beams: '),
  (['--mode=sample', '--sample_seed=-1'], '--sample_seed: '),
  (['--mode=sample', '--prompt=a\udcff'], 'must be UTF-8'),
  (['--num_processes=0'], '--coordinator'), (['--num_processes=-1'], '--coordinator'),
  (['--num_processes=0', '--process_id=0', '--coordinator=a:1'], '--num_processes=0'),
  (['--num_processes=2', '--process_id=2', '--coordinator=a:1'], '--process_id=2'),
  (['--num_processes=2', '--process_id=-1', '--coordinator=a:1'], '--process_id=-1'),
  (['--num_processes=2', '--process_id=0', '--coordinator=a'], 'HOST:PORT'),
  (['--num_processes=x'], 'num_processes'),
  (['--config.seed=99999999999999999999999'], 'seed: '),
  (['--config.seed=-1'], 'seed: '), (['--config.batch_size=0'], 'batch_size'),
])
def test_flags_that_cannot_be_meant(arguments, message, started, tmp_path):
  code, _, err = started('--experiment=digits_cnn', f'--cache_dir={tmp_path}',
                         *arguments)
  assert code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
  assert message in err


def test_the_same_twice_is_no_mistake(started, tmp_path):
  code, out, _ = started('--experiment=digits_cnn', '--mode=print', '--config.seed=3',
                         '--config.seed=3', f'--cache_dir={tmp_path}')
  assert not code and 'seed = 3' in out


def test_lines_from_data_are_not_taken_for_ours(capsys):
  with pytest.raises(SystemExit):
    run._mendable(UserError('no class \x1b[2Ja\nerror: b\n  c'))
  assert capsys.readouterr().err == (
    'error: no class \\x1b[2Ja\n  error: b\n  c\n')


def test_a_file_that_nobody_expected_to_be_wrong(monkeypatch, started, tmp_path):
  def full(*_):
    raise OSError(28, 'No space left on device', 'runs/a')
  monkeypatch.setattr(run, 'main', full)
  assert started('--mode=print') == (2, '', 'error: runs/a: No space left on device\n')

  def wrong(*_):
    raise ZeroDivisionError
  monkeypatch.setattr(run, 'main', wrong)
  with pytest.raises(ZeroDivisionError):
    started('--mode=print')


# --- as a program ---------------------------------------------------------------


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--experiment=digit_cnn'], "'digit_cnn'; did you mean 'digits_cnn'?"),
  (['--experimnt=digits_cnn'], "--experimnt: no such flag; did you mean 'experiment'?"),
  (['--mode=pint', '--experiment=digits_cnn'], "--mode=pint"),
  (['--mode'], '--mode'),
  (['digits_cnn'], "'digits_cnn': wants flags"),
  (['--require_backend=gpuu'], 'cpu|gpu|tpu'),
  (['--experiment=digits_cnn', '--config.learning_rat=1'],
   "did you mean 'learning_rate'"),
  (['--experiment=digits_cnn', '--config.model.widths=3'], 'wants tuple[int, ...]'),
  (['--experiment=digits_cnn', '--config.seed'], '--config.seed: wants a value'),
  (['--experiment=fork.py'], 'fork.py, line 2: SyntaxError'),
  (['--experiment=gone.txt'], 'gone.txt'),
  (['--workdir=empty', '--mode=print'], 'does not exist'),
  (['--mode=eval'], '--workdir'),
  ([], 'name an --experiment'),
])
def test_what_the_user_can_mend_is_one_line_and_exit_2(arguments, message, tmp_path):
  (tmp_path / 'fork.py').write_text('x = 1\ndef config(:')
  done = _command(*arguments, cwd=tmp_path)
  assert done.returncode == 2, done.stderr
  assert message in done.stderr and done.stderr.startswith('error: ')
  assert done.stderr.count('\n') == 1 and done.stdout == ''
  assert os.listdir(tmp_path) == ['fork.py'], 'nothing is left behind'


def test_list_and_help(tmp_path):
  done = _command('--list', cwd=tmp_path)
  assert done.returncode == 0 and done.stderr == ''
  assert [line.split()[0] for line in done.stdout.splitlines()] == list(
    resolving.summaries())
  done = _command('--help', cwd=tmp_path)
  assert done.returncode == 0 and '--experiment' in done.stdout


def test_print_runs_again_and_opens_nothing(tmp_path):
  code = f'''
import sys
sys.argv[0] = {str(ROOT / 'run.py')!r}
import run
try:
  run._start(sys.argv)
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
  assert first.stdout == resolving.to_text(resolving.resolve(
    'cifar_cnn', {'seed': '3', 'model.dropout': '0.25'}))
  assert 'loaded: []' in first.stderr and 'devices: False' in first.stderr
  assert os.listdir(tmp_path) == []
  (tmp_path / 'config.txt').write_text(first.stdout)
  again = _command('--experiment=config.txt', '--mode=print', cwd=tmp_path)
  assert again.stdout == first.stdout


@pytest.mark.parametrize(('flags', 'message'), [
  (['--topology=v5e:4x4'], 'only --mode=plan knows devices that are not here'),
  (['--mesh='], "no axis ''"),
  (['--mesh=dta:2'], "no axis 'dta'; did you mean 'data'?"),
  (['--mesh=data:0'], 'data: wants at least 1, or -1 for the rest, got 0'),
  (['--mesh=data:-1,fsdp:-1'], 'only one axis can take the rest'),
  (['--mesh=data:3'], 'wants 3 devices, there is 1'),
  (['--mode=plan', '--topology=v9:2x2'], "no TPU family 'v9'"),
  (['--num_processes=2'], 'missing: --coordinator, --process_id'),
])
def test_flags_of_meshes_and_processes_are_refused_in_a_line(flags, message, tmp_path):
  done = _command('--experiment=digits_cnn', f'--cache_dir={tmp_path}', *flags,
                  cwd=tmp_path)
  assert done.returncode == 2
  assert message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_out_of_memory_is_told_in_a_line(tmp_path):
  done = _command('--experiment=digits_cnn', '--config.model.hidden=(10000000000,)',
                  cwd=tmp_path)
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert re.match(r'error: out of memory: .*\(--mode=plan', done.stderr), done.stderr
