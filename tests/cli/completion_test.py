"""Completion: the answers, and what a shell makes of them."""

import pathlib
import shutil
import subprocess

import pytest

from bigmodels.cli import completion
from bigmodels.core import paths
from tests.logs.runs import make


@pytest.mark.parametrize(('line', 'expected'), [
  ('--experiment=digits_c', ['digits_cnn']),
  ('--mode=p', ['plan', 'predict', 'print']), ('--parallel=', ['jit', 'pmap']),
  ('--require_backend=g', ['gpu']), ('--workdir=', []),
  ('--mode=runs --so', ['--sort=']), ('--so', []), ('--tra', ['--track=']),
  ('--prof', ['--profile=']),
  ('--mode=gone --workd', ['--workdir=']),
  ('--experiment=digits_cnn --config.le', ['--config.learner=',
                                           '--config.learning_rate=']),
  ('--config.eva', ['--config.evals=', '--config.evaluate_every='])])
def test_answers(line, expected):
  assert completion.answers(f'python run.py {line}') == expected


def test_paths_of_a_run(tmp_path):
  make(tmp_path / 'a')
  for where in (f'--workdir={tmp_path}/a', f'--experiment={tmp_path}/a/config.txt'):
    assert completion.answers(f'run.py {where} --config.opt') == [
      '--config.optimizer.learning_rate.peak=']


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_in_a_shell(shell):
  if shutil.which(shell) is None:
    pytest.skip(f'there is no {shell}')
  text = completion.script(shell)
  if shell == 'zsh':
    subprocess.run([shell, '-n'], input=text, text=True, check=True)
    return
  line = 'python run.py --experiment=cartpole_'
  words = "COMP_WORDS=(python run.py --experiment = cartpole_) COMP_CWORD=4"
  done = subprocess.run(
    ['bash', '-c', f'{text}\nCOMP_LINE="{line}" COMP_POINT={len(line)} {words}\n'
     '_bigmodels\necho "${COMPREPLY[@]}"\nCOMP_LINE="python x" _bigmodels'],
    capture_output=True, text=True, check=True)
  assert done.stdout == 'cartpole_a2c cartpole_dqn\n'


def test_the_command_of_an_installation(monkeypatch):
  monkeypatch.setattr(paths, 'CHECKOUT', None)
  text = completion.script('bash')
  assert text.startswith('# To install: eval "$(bigmodels --completion=bash)"')
  line = '/opt/bin/bigmodels --mode=pr'
  done = subprocess.run(
    ['bash', '-c', f'{text}\nCOMP_LINE="{line}" COMP_POINT={len(line)}\n'
     '_bigmodels\necho "${COMPREPLY[@]}"\ncomplete -p bigmodels'],
    capture_output=True, text=True, check=True,
    cwd=pathlib.Path(completion.__file__).parents[2])
  assert done.stdout.splitlines()[0] == 'predict print'
