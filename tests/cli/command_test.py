"""Tests of the command line in this process: what is refused, and exit codes."""

import pytest
from absl import flags

from bigmodels.cli import command
from bigmodels.core.errors import UserError


@pytest.fixture
def started(capsys, monkeypatch, tmp_path):
  """(flags) -> exit code, stdout and stderr of run.py, in this process."""

  def call(*arguments):
    monkeypatch.chdir(tmp_path)
    before = flags.FLAGS.is_parsed()
    flags.FLAGS.unparse_flags()
    try:
      with pytest.raises(SystemExit) as end:
        command.start(['run.py', *arguments])
    finally:
      flags.FLAGS.unparse_flags()
      if before:
        flags.FLAGS.mark_as_parsed()
    return end.value.code, *capsys.readouterr()

  return call


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
def test_flags_that_are_refused(arguments, message, started, tmp_path):
  code, _, err = started('--experiment=digits_cnn', f'--cache_dir={tmp_path}',
                         *arguments)
  assert code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
  assert message in err


def test_the_same_override_twice_is_accepted(started, tmp_path):
  code, out, _ = started('--experiment=digits_cnn', '--mode=print', '--config.seed=3',
                         '--config.seed=3', f'--cache_dir={tmp_path}')
  assert not code and 'seed = 3' in out


def test_lines_from_data_are_indented(capsys):
  with pytest.raises(SystemExit):
    command._exit_with(UserError('no class \x1b[2Ja\nerror: b\n  c'))
  assert capsys.readouterr().err == (
    'error: no class \\x1b[2Ja\n  error: b\n  c\n')


def test_errors_of_the_machine_and_of_the_code(monkeypatch, started, tmp_path):
  def full(*_):
    raise OSError(28, 'No space left on device', 'runs/a')
  monkeypatch.setattr(command, 'main', full)
  assert started('--mode=print') == (2, '', 'error: runs/a: No space left on device\n')

  def wrong(*_):
    raise ZeroDivisionError
  monkeypatch.setattr(command, 'main', wrong)
  with pytest.raises(ZeroDivisionError):
    started('--mode=print')


# --- a mode outside of the project ----------------------------------------------

MODE = '''
"""--mode=count: a mode of a fork."""

from helper import doubled

USES_CACHE = False


def run(request, *, start: int = 1, words: list[str] | None = None,
        rate: float | None = None, loud: bool = False) -> None:
  """Prints its flags.

  Args:
    request: the flags of every mode.
    start: where counting
      starts.
    words: to print.
  """
  print(request.experiment, doubled(start), words, rate, loud)
'''


@pytest.fixture
def mode(tmp_path):
  (tmp_path / 'helper.py').write_text('def doubled(x): return 2 * x')
  (tmp_path / 'count.py').write_text(MODE)
  return '--mode=count.py'


@pytest.mark.parametrize(('arguments', 'printed'), [
  ([], 'None 2 None None False'),
  (['--start=4', '--words', 'a', '--words=b', '--rate=3', '--loud'],
   "None 8 ['a', 'b'] 3.0 True"),
  (['--start', '5', '--experiment=digits_cnn', '--noloud'],
   'digits_cnn 10 None None False')])
def test_a_mode_of_a_fork_has_its_own_flags(mode, arguments, printed, started):
  assert started(mode, *arguments) == (None, f'{printed}\n', '')
  assert not {'start', 'words', 'rate', 'loud'} & {*flags.FLAGS}


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--strat=4'], "--strat: no such flag; did you mean 'start'?"),
  (['--start=a'], '--start=a'), (['--start=1', '--start=1'], '--start: given 2 times'),
  (['--prompt=a'], '--prompt: is a flag of --mode=sample only'),
  (['--words', '--mode=print'], '--words: no such flag'),
  (['--words', '--mode=count.py', '--mode=print'], '--words: no such flag'),
  (['--mode=print'], '--mode: given 2 times'), (['7'], "'7': must be a flag")])
def test_flags_of_a_mode_are_checked(mode, arguments, message, started):
  code, out, err = started(mode, *arguments)
  assert (code, out) == (2, '') and message in err and err.count('\n') == 1, err


@pytest.mark.parametrize(('text', 'message'), [
  (MODE.replace('def run', 'def walk'), 'count.py: a mode defines run(request)'),
  (MODE.replace('start: int = 1', 'start=1'), 'line 9: start: a flag must be'),
  (MODE.replace('start: int = 1', 'start: int'), 'and have a literal default'),
  (MODE.replace('start: int = 1', 'start: tuple = ()'), 'str, int, float, bool, list'),
  (MODE.replace('start: int', 'mesh: int'), 'mesh: choose another name'),
  (MODE.replace('start: int = 1', "start: int = 'a'"), 'start'),
  (MODE.replace('print(', 'print(('), 'SyntaxError'),
  (MODE.replace('import doubled', 'import dubled'), "count.py, line 4: ImportError: "),
  (MODE.replace('helper', 'helpr'), "did you mean 'helper'?"),
  ('\0', 'null bytes')])
def test_a_mode_that_is_refused(mode, text, message, started, tmp_path):
  (tmp_path / 'count.py').write_text(text)
  code, out, err = started(mode)
  assert (code, out) == (2, '') and message in err and err.count('\n') == 1, err


def test_a_mode_that_is_the_value_of_another_flag(mode, started):
  assert 'is the value of another flag' in started('--words', mode)[2]


def test_where_there_is_no_file_of_a_mode(started):
  assert started('--mode=gone.py')[2].startswith('error: --mode=gone.py: there is no ')
  assert started('--mode=')[2].startswith('error: --mode=: no such mode, nor ')


def test_help_has_the_flags_of_the_mode(mode, started):
  code, out, _ = started(mode, '--help')
  assert code == 0 and '--start: where counting starts; default 1\n' in out
  assert '--words: to print;' in out and '--workdir' in out
  out = started('--help')[1]
  assert '--start' not in out and 'several processes:\n  --coordinator: ' in out
  assert '  print     prints the resolved experiment' in out and 'examples:' in out


def test_help_has_the_knobs_of_an_experiment(started, tmp_path):
  code, out, _ = started('--experiment=digits_cnn', '--help')
  assert code == 0 and '  --config.epochs (float): default 15\n' in out
  assert out.startswith('digits_cnn: A small convolutional network')
  (tmp_path / 'mine.py').write_text('def config(*, x: int): ...')
  assert '--config.x (int): must be given' in started('--experiment=mine.py', '-h')[1]
  assert started('--experiment=gone', '--help')[1].startswith('gone: no such experime')


def test_completion(started):
  code, out, _ = started('--completion=bash')
  assert not code and 'complete -o default -F _bigmodels' in out


def test_flags_in_a_file(mode, started, tmp_path):
  (tmp_path / 'flags').write_text('--mode=count.py\n--start=3\n')
  assert started('--flagfile=flags')[1] == 'None 6 None None False\n'
