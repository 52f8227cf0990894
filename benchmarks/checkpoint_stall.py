"""How long a checkpoint stops training, and how much it slows it down afterwards.

  python benchmarks/checkpoint_stall.py --data_dir=DIR --experiments=cifar_cnn

A checkpoint is copied from the device while training waits, and written while training
continues. Each round takes the same steps without a checkpoint and with one that begins
before them:

- stall_ms: until training can continue;
- written_ms: from then until the checkpoint is on disk, with concurrent steps;
- slower: the ratio of the seconds of these steps to those without a checkpoint.

Prints a line for every experiment: the medians, and the size of a checkpoint; `--out`
writes every round as JSON, with the machine.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time
from concurrent import futures

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import jax  # noqa: E402
from machine import save  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels.config import Duration, resolving  # noqa: E402
from bigmodels.hardware import devices  # noqa: E402
from bigmodels.storage.checkpoint import Checkpoints  # noqa: E402

EXPERIMENTS = 'mnist_cnn,cifar_cnn,cifar_resnet,cifar_vit'
SECONDS = 3.0  # of the steps of a round, at least


def measure(name: str, data_dir: str, folder: pathlib.Path, rounds: int) -> dict:
  """Measures an experiment.

  Args:
    name: of the experiment.
    data_dir: of its data.
    folder: for checkpoints and caches.
    rounds: of the measurement.

  Returns:
    Milliseconds or ratios of each round by name; and the megabytes of a checkpoint.
  """
  experiment = dataclasses.replace(
    resolving.resolve(name, {}).experiment, evals={}, duration=Duration(steps=10**6))
  built = build_quietly(experiment, data_dir, folder)
  train = TrainSteps(built)
  checkpoints = Checkpoints(folder / 'checkpoints', 1, {})

  def steps(times: int) -> float:
    begun = time.perf_counter()
    train(times)
    return time.perf_counter() - begun

  def begin(step: int) -> float:
    begun = time.perf_counter()
    checkpoints.save(step, train.carry, {}, best=None)
    return time.perf_counter() - begun

  def written() -> float:
    begun = time.perf_counter()
    checkpoints.wait()
    return time.perf_counter() - begun

  steps(2)
  times = max(2, round(2 * SECONDS / steps(2)))
  begin(1)  # the first one also starts threads, makes folders and compiles
  checkpoints.wait()
  found: dict[str, list[float]] = {'stall_ms': [], 'written_ms': [], 'slower': []}
  for index in range(rounds):
    without = steps(times)
    found['stall_ms'].append(round(1e3 * begin(index + 2), 1))
    with futures.ThreadPoolExecutor() as pool:
      writing = pool.submit(written)
      beside = steps(times)
    found['written_ms'].append(round(1e3 * writing.result(), 1))
    found['slower'].append(round(beside / without, 3))
  checkpoints.release()
  built.close()
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(train.carry))
  return {**found, 'steps': times, 'steps_ms': round(1e3 * without, 1),
          'megabytes': round(size / 1e6, 2)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--experiments', default=EXPERIMENTS, help='names, with commas')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  devices.require_backend(None)
  results = {}
  for name in flags.experiments.split(','):
    with tempfile.TemporaryDirectory() as folder:
      found = measure(name, flags.data_dir, pathlib.Path(folder), flags.rounds)
    results[name] = found
    stall, written, slower = (
      statistics.median(found[key]) for key in ('stall_ms', 'written_ms', 'slower'))
    print(f'{name}: {found["megabytes"]} MB, training stops for {stall:.0f} ms, is '
          f'{slower:.2f} times as slow for {found["steps_ms"]:.0f} ms after; on disk '
          f'within {written:.0f} ms', flush=True)
    if flags.out:
      save(flags.out, 'checkpoint_stall.py --data_dir=DIR '
                      f'--experiments={flags.experiments} --rounds={flags.rounds}',
           results)


if __name__ == '__main__':
  main()
