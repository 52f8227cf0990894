"""Tests of `pip install .`: a wheel, in an environment without the checkout."""

import os
import pathlib
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import bigmodels

ROOT = pathlib.Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow('install a wheel')


def run(*command, cwd, **env):
  return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd,
                        timeout=600, env={**os.environ, 'PYTHONPATH': '', **env})


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel of the files that git does not ignore."""
  source = tmp_path_factory.mktemp('source')
  files = run('git', 'ls-files', '-z', '-co', '--exclude-standard', cwd=ROOT)
  if files.returncode:
    pytest.skip('not a checkout of git')
  for name in filter(None, files.stdout.split('\0')):
    if (ROOT / name).is_file():
      (source / name).parent.mkdir(parents=True, exist_ok=True)
      (source / name).write_bytes((ROOT / name).read_bytes())
  folder = tmp_path_factory.mktemp('wheel')
  made = run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', str(folder),
             '.', cwd=source)
  if 'setuptools' in made.stderr and 'No matching distribution' in made.stderr:
    pytest.skip('setuptools cannot be downloaded')
  assert made.returncode == 0, made.stderr
  found, = folder.glob('*.whl')
  return found


def test_what_is_in_the_wheel(wheel):
  assert wheel.name == f'bigmodels-{bigmodels.__version__}-py3-none-any.whl'
  with zipfile.ZipFile(wheel) as file:
    names = file.namelist()
    about = file.read(next(n for n in names if n.endswith('METADATA'))).decode()
  tops = {name.partition('/')[0] for name in names}
  assert tops == {'bigmodels', f'bigmodels-{bigmodels.__version__}.dist-info'}
  ours = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'bigmodels').rglob('*.py')}
  experiments = {f'bigmodels/experiments/{p.name}'
                 for p in (ROOT / 'experiments').glob('*.py')}
  assert {n for n in names if n.startswith('bigmodels/')} == ours | experiments
  assert 'Requires-Dist: optax' in about
  for extra in ROOT.glob('requirements-*.txt'):
    name = extra.stem.partition('-')[2]
    assert name == 'dev' or f'; extra == "{name}"' in about, name
  assert 'gymnax<2,>=1.0.1; extra == "agents"' in about


def test_the_wheel_trains_far_from_the_checkout(wheel, tmp_path, cache_dir):
  venv.create(tmp_path / 'venv', with_pip=False)
  python = tmp_path / 'venv' / 'bin' / 'python'
  made = run(sys.executable, '-m', 'pip', f'--python={python}', 'install', '-q',
             '--no-deps', '--no-index', str(wheel), cwd=tmp_path)
  assert made.returncode == 0, made.stderr
  # The libraries of this environment, and nothing else of it.
  site, = (tmp_path / 'venv' / 'lib').glob('python*/site-packages')
  (site / 'libraries.pth').write_text(sysconfig.get_path('purelib') + '\n')
  command = tmp_path / 'venv' / 'bin' / 'bigmodels'
  listed = run(str(command), '--list', cwd=tmp_path)
  assert 'digits_cnn' in listed.stdout, listed.stderr
  hinted = run(str(command), '--experiment=digits_cnn', '--epochs=1', cwd=tmp_path)
  assert '--config.epochs sets it in the experiment' in hinted.stderr
  line = 'bigmodels --experiment=cartpole_'
  completed = run(
    'bash', '-c', f'eval "$({command} --completion=bash)"; COMP_LINE="{line}" '
    f'COMP_POINT={len(line)}; _bigmodels; echo "${{COMPREPLY[@]}}"', cwd=tmp_path)
  assert completed.stdout == 'cartpole_a2c cartpole_dqn\n', completed.stderr
  first = run(str(command), '--experiment=digits_cnn', '--config.epochs=1',
              '--workdir=a', f'--cache_dir={cache_dir}', cwd=tmp_path,
              JAX_PLATFORMS='cpu')
  assert first.returncode == 0 and 'report: a/report.html' in first.stdout, first.stderr
  second = run(str(python), '-c', (
    'import bigmodels\n'
    'print(bigmodels.__file__)\n'
    "run = bigmodels.train('digits_cnn', epochs=1, workdir='b', say=[].append)\n"
    "print(bigmodels.load('a', say=lambda line: None).evaluate('test') == "
    "run.evaluate('test'))"), cwd=tmp_path, JAX_PLATFORMS='cpu')
  assert second.stdout.splitlines() == [
    str(site / 'bigmodels' / '__init__.py'), 'True'], second.stderr
  refused = run(str(command), '--experiment=digits_cnn', '--config.epochs=2',
                '--workdir=a', cwd=tmp_path)
  assert 'to resume that one: bigmodels --workdir=a' in refused.stderr
  assert (refused.returncode, 'Traceback' in refused.stderr) == (2, False)
