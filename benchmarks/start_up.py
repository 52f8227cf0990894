"""Times from the start of a process to the end of the first step, of every experiment.

  python benchmarks/start_up.py --data_dir=DIR --data_dir=ANOTHER
  python benchmarks/start_up.py --data_dir=DIR --experiments=mnist_cnn --rounds=5

The first start has empty caches: it decodes the data and compiles. Later ones read both
from the caches, with a new workdir; of `rounds` of them, the fastest counts.

  seconds: from the start of the process to the end of the first train step, with
    Python's imports, reading the data, tracing and initializing the parameters
  ready: the same without the step: until it is given to the devices
  compiling: in these, lowering and compiling, or reading compiled programs
  cpu: processor time until the step ends, which other work on the machine changes less

An experiment whose data is in none of the folders is reported with the reason; one that
the machine cannot hold is left out by `--experiments`. `--out` writes everything as
JSON, with the machine.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'benchmarks'))

from machine import save  # noqa: E402

# Of whole machines: they are planned here, with --mode=plan.
LARGE = ('gpt3_175b', 'gpt2_124m', 'imagenet_resnet50', 'imagenet_vit_s16')
MARK = 'first step: '

# run.py, in a process that ends with the first step.
CHILD = f'''
import json, os, resource, sys, time
from bigmodels.cli import startup
startup.prepare()
from bigmodels.cli import command
from bigmodels.training import loop

def dispatched(self, step, token, agreed):
  ready = time.time()
  token.block_until_ready()
  used = resource.getrusage(resource.RUSAGE_SELF)
  print({MARK!r} + json.dumps(
    {{'ready': ready, 'end': time.time(), 'cpu': used.ru_utime + used.ru_stime}}),
    flush=True)
  os._exit(0)

loop.Pace.dispatched = dispatched
command.start(sys.argv)
'''


def start(experiment: str, data_dirs: list[str], cache: str) -> dict[str, float] | str:
  """The times of a start; or, if it did not reach the first step, the error."""
  error = 'no --data_dir'
  for data_dir in data_dirs:
    with tempfile.TemporaryDirectory() as workdir:
      begun = time.time()
      done = subprocess.run(
        [sys.executable, '-c', CHILD, f'--experiment={experiment}',
         f'--data_dir={data_dir}', f'--workdir={workdir}/run', f'--cache_dir={cache}'],
        cwd=ROOT, capture_output=True, text=True,
        # As on a machine where Python keeps its bytecode.
        env={k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'})
    lines = done.stdout.splitlines()
    if lines and lines[-1].startswith(MARK):
      found = json.loads(lines[-1].removeprefix(MARK))
      compiling = re.search(r'compiled in ([\d.]+) s', done.stdout)[1]
      return {'seconds': round(found['end'] - begun, 2),
              'ready': round(found['ready'] - begun, 2),
              'compiling': float(compiling), 'cpu': round(found['cpu'], 2)}
    error = (done.stderr.splitlines() or ['no error'])[-1]
  return error


def measure(experiment: str, data_dirs: list[str], rounds: int
            ) -> dict[str, dict[str, float]] | str:
  """A first start and the fastest of some later ones; or why it cannot start."""
  with tempfile.TemporaryDirectory() as cache:
    first = start(experiment, data_dirs, cache)
    if isinstance(first, str):
      return first
    later = [start(experiment, data_dirs, cache) for _ in range(rounds)]
    return {'first': first, 'second': min(later, key=lambda found: found['seconds'])}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', action='append', required=True,
                      help='a folder of data; several are tried in turn')
  parser.add_argument('--experiments', help='names, with commas; all without it')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  names = flags.experiments.split(',') if flags.experiments else sorted(
    path.stem for path in (ROOT / 'experiments').glob('[a-z]*.py')
    if path.stem not in LARGE)
  results, left_out = {}, {}
  for experiment in names:
    found = measure(experiment, flags.data_dir, flags.rounds)
    if isinstance(found, str):
      left_out[experiment] = found
      print(f'{experiment}: {found}', flush=True)
      continue
    results[experiment] = found
    print(f'{experiment}: ' + '; again '.join(
      f'{each["seconds"]} s (ready {each["ready"]}, compiling {each["compiling"]}, '
      f'cpu {each["cpu"]})' for each in found.values()), flush=True)
    if flags.out:
      save(flags.out, f'start_up.py --data_dir=DIR --rounds={flags.rounds}', results)
  if left_out:
    print(f'left out: {", ".join(left_out)}')


if __name__ == '__main__':
  main()
