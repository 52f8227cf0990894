"""Measures where the time of a train step goes, by kinds of operations.

  python benchmarks/where_time_goes.py
  python benchmarks/where_time_goes.py --networks=resnet18,gpt --out=FILE

The networks and steps are those of `beside_pytorch.py`; the time is added up from a
trace, as by `--profile=steps:N` of a run. The step is timed without a trace as well:
the difference is what recording costs. Prints a line for every network; `--out` writes
everything as JSON, with the machine: milliseconds a step of each kind, GFLOP/s of the
products and of the convolutions, and the most expensive operations.
"""

import argparse
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from machine import save  # noqa: E402
from networks import NETWORKS  # noqa: E402
from side_ours import experiment  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels.hardware import devices, profile  # noqa: E402
from bigmodels.hardware.hlo import Program  # noqa: E402
from bigmodels.hardware.operations import KINDS  # noqa: E402

SECONDS = 1.0  # of the steps that are counted, about
LEAST, MOST = 3, 20  # steps


def measure(network: str, precision: str) -> tuple[profile.Profile, float]:
  """The profile of a network's train step, and its milliseconds without a trace."""
  train = TrainSteps(build_quietly(experiment(network, precision)), repeat=True)
  train(1)
  start = time.perf_counter()
  train(1)
  steps = round(SECONDS / (time.perf_counter() - start))
  train.most = min(train.most, max(LEAST, min(MOST, steps)))
  dispatches = 2 if train.most > 1 else 1 + LEAST
  start = time.perf_counter()
  train(dispatches * train.most)
  untraced = (time.perf_counter() - start) / (dispatches * train.most)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    profile.start(folder)
    train(dispatches * train.most)
    trace, _ = profile.stop(folder)
    return profile.read(trace, Program(train.hlo()), lead=train.most,
                        steps=(dispatches - 1) * train.most), 1e3 * untraced


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--networks', default=','.join(NETWORKS))
  parser.add_argument('--precision', default='float32', help='of the experiments')
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  networks = flags.networks.split(',')
  if unknown := [name for name in networks if name not in NETWORKS]:
    parser.error(f'--networks: choose from {", ".join(NETWORKS)}; got {unknown[0]}')
  devices.require_backend(None)
  results = {}
  for network in networks:
    found, untraced = measure(network, flags.precision)
    results[network] = {
      'steps': found.steps, 'ms': round(found.ms, 3), 'untraced_ms': round(untraced, 3),
      'kinds': {kind: round(found.of_kind(kind), 3) for kind in KINDS},
      'left': {name: round(ms, 3) for name, ms in found.left.items()},
      'gflops': {kind: round(found.gflops(kind), 1)
                 for kind in ('product', 'convolution')},
      'most_expensive': [row._asdict() for row in found.rows[:10]]}
    print(f'{network}: {found.ms:.2f} ms a step (without a trace {untraced:.2f}), '
          f'{profile.sums(found)}; products {found.gflops("product"):.0f} GFLOP/s',
          flush=True)
    if flags.out:
      save(flags.out, f'where_time_goes.py --networks={flags.networks} '
                      f'--precision={flags.precision}', results)


if __name__ == '__main__':
  main()
