"""Compares train steps on this release of JAX with those on others.

  python benchmarks/beside_release.py OTHER/bin/python ...
  python benchmarks/beside_release.py --networks=gpt --rounds=7 OTHER/bin/python

Each argument is the Python of a virtual environment with another release. Network,
batch and machine are the same; each release trains in its own process, in turn, as in
`beside_pytorch.py`.

Prints a line for every network; `--out` writes everything as JSON, with the machine:
milliseconds of every round, and the ratio of the other's time to that of this release:
median, least, most. A ratio above 1 means that this one is faster. Nothing else should
run on the machine.
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from beside_pytorch import command  # noqa: E402
from in_turn import Worker, in_turn  # noqa: E402
from machine import save  # noqa: E402
from networks import NETWORKS  # noqa: E402


def release_of(python: str) -> str:
  """Such as 'jaxlib 0.12.0.1'."""
  code = 'import jaxlib; print("jaxlib", jaxlib.__version__)'
  try:
    return subprocess.check_output([python, '-c', code], text=True).strip()
  except (OSError, subprocess.CalledProcessError) as error:
    sys.exit(f'{python}: must be a Python with jaxlib: {error}')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('others', nargs='+', help='the Python of another environment')
  parser.add_argument('--networks', default=','.join(NETWORKS))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  networks = flags.networks.split(',')
  if unknown := [name for name in networks if name not in NETWORKS]:
    parser.error(f'--networks: choose from {", ".join(NETWORKS)}; got {unknown[0]}')
  pythons = {release_of(python): python for python in (sys.executable, *flags.others)}
  if len(pythons) != 1 + len(flags.others):
    parser.error(f'the releases must differ, got {", ".join(pythons)}')
  results = {}
  for network in networks:
    workers = {name: Worker(command(python, 'ours', network))
               for name, python in pythons.items()}
    results[network] = in_turn(workers, ('train',), flags.rounds)['train']
    ours, *others = pythons
    print(f'{network}, time over that of {ours}: ' + ', '.join(
      f'{name} {results[network][name]["ratio"]} ({results[network][name]["least"]} to '
      f'{results[network][name]["most"]})' for name in others), flush=True)
    if flags.out:
      save(flags.out, f'beside_release.py --networks={flags.networks} '
                      f'--rounds={flags.rounds}', results)


if __name__ == '__main__':
  main()
