"""Times from the start of a process to the first step, with empty and full caches.

  python benchmarks/start_up.py --data_dir=DIR --experiments=mnist_cnn,cifar_resnet

The first start decodes the data and compiles; the second one reads both from the cache,
with a new workdir. The time ends with the line that is printed before the first step,
and includes Python's imports, reading the data and initializing the parameters; the
line contains the time of compiling. Then the process is killed.

Prints a line for every experiment; `--out` writes everything as JSON, with the machine.
"""

import argparse
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

EXPERIMENTS = 'mnist_cnn,cifar_cnn,cifar_resnet,cifar_vit,cifar_speedrun'


def start(experiment: str, data_dir: str, folder: pathlib.Path) -> dict[str, float]:
  """Seconds until the first step, and how many of them were spent compiling."""
  with tempfile.TemporaryDirectory() as workdir:
    begun = time.perf_counter()
    process = subprocess.Popen(
      [sys.executable, str(ROOT / 'run.py'), f'--experiment={experiment}',
       f'--data_dir={data_dir}', f'--workdir={workdir}/run', f'--cache_dir={folder}'],
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
      env=os.environ | {'PYTHONUNBUFFERED': '1'})
    lines = []
    for line in process.stdout:
      lines.append(line)
      if found := re.search(r'compiled in ([\d.]+) s', line):
        seconds = time.perf_counter() - begun
        process.kill()
        process.wait()
        return {'seconds': round(seconds, 2), 'compiling': float(found[1])}
  sys.exit(f'{experiment} did not reach its first step:\n{"".join(lines)}')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--experiments', default=EXPERIMENTS, help='names, with commas')
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  results = {}
  for experiment in flags.experiments.split(','):
    with tempfile.TemporaryDirectory() as folder:
      first, second = (start(experiment, flags.data_dir, pathlib.Path(folder))
                       for _ in range(2))
    results[experiment] = {'first': first, 'second': second}
    print(f'{experiment}: {first["seconds"]} s (compiling {first["compiling"]}), again '
          f'{second["seconds"]} s (compiling {second["compiling"]})', flush=True)
    if flags.out:
      save(flags.out, 'start_up.py --data_dir=DIR '
                      f'--experiments={flags.experiments}', results)


if __name__ == '__main__':
  main()
