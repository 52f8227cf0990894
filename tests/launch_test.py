"""Tests of launch/: the files parse, and what they say of run.py is so."""

import pathlib
import re
import subprocess
import sys

import pytest

from bigmodels.cli import options
from bigmodels.distributed import secret

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / 'launch').iterdir())
# What runs run.py, with the flags that follow.
RUNS = r'(?:run\.py|launch/slurm\.sbatch|tpu_pod\.sh run|\bFLAGS=)([^\n]*)'


def _flags(text: str) -> set[str]:
  """Flags of run.py that a script uses or shows, without `--config.NAME`."""
  text = re.sub(r'\\\n', ' ', text)
  commands = [re.split(r'[|&>]', rest)[0] for rest in re.findall(RUNS, text)]
  return set(re.findall(r'--(\w+)\b(?!\.)', ' '.join(commands)))


def test_which_flags_are_found():
  text = ('srun -n 2 --exclusive python run.py --a=1 \\\n  --b_c "$@" > x --d\n'
          'sbatch --nodes=2 launch/slurm.sbatch --mesh=data:2 --config.x=1\n')
  assert _flags(text) == {'a', 'b_c', 'mesh'}


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_flags_are_of_run_py(path):
  defined = {flag.name for flag in options.flags_of_every_mode()}
  assert {'experiment', 'workdir'} <= defined
  assert _flags(path.read_text()) <= defined


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_the_docs_mention(path):
  assert f'launch/{path.name}' in (ROOT / 'docs/growing.md').read_text()


@pytest.mark.parametrize('name', ['tpu_pod.sh', 'slurm.sbatch'])
def test_shell_parses(name):
  subprocess.run(['bash', '-n', str(ROOT / 'launch' / name)], check=True)


def test_yaml_parses():
  yaml = pytest.importorskip('yaml', reason='PyYAML is not installed')
  documents = list(yaml.safe_load_all((ROOT / 'launch/jobset.yaml').read_text()))
  assert [d['kind'] for d in documents] == [
    'ServiceAccount', 'Role', 'RoleBinding', 'JobSet']
  job, = documents[-1]['spec']['replicatedJobs']
  container, = job['template']['spec']['template']['spec']['containers']
  known, = container['env']
  assert known['name'] == secret.VARIABLE
  assert known['valueFrom']['secretKeyRef']['optional'], 'the workdir takes its place'
  script, = container['args']
  subprocess.run(['bash', '-n'], input=script, text=True, check=True)


def test_dockerfile_copies_what_is_there():
  text = (ROOT / 'launch/Dockerfile').read_text()
  copied = re.findall(r'^COPY (\S+) \S+$', text, re.M)
  assert 'run.py' in copied
  assert all((ROOT / name).exists() for name in copied)


SRUN = '''#!/bin/bash
echo "$BIGMODELS_SECRET" >> "$WORKDIR/said"
echo '{"status": "finished"}' > "$WORKDIR/result.json"
'''


def test_slurm_processes_get_a_secret_of_their_own(tmp_path):
  """A new one at each start, in the environment of srun: on no command line."""
  (tmp_path / 'srun').write_text(SRUN)
  (tmp_path / 'srun').chmod(0o755)
  env = {'PATH': f'{tmp_path}:/usr/bin:/bin', 'EXPERIMENT': 'x',
         'PYTHON': sys.executable, 'WORKDIR': str(tmp_path), 'SLURM_JOB_ID': '1',
         'SLURM_CPUS_PER_TASK': '1'}
  for _ in range(2):
    subprocess.run(['bash', str(ROOT / 'launch/slurm.sbatch')], check=True, env=env)
  one, two = (tmp_path / 'said').read_text().split()
  assert one != two
  assert all(re.fullmatch('[0-9a-f]{64}', each) for each in (one, two))


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_no_secret_is_on_a_command_line(path):
  """There every user of the machine could read it."""
  assert not re.search(rf'(--command|run\.py)[^\n]*{secret.VARIABLE}', path.read_text())
