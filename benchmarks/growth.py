"""How costs grow: with the rows of the data, with the batch, and with the depth.

  python benchmarks/growth.py --out=FILE
  python benchmarks/growth.py --parts=rows --rows=1000,1000000 --out=FILE

- `rows`: examples a second of training on 1,000 to 1,000,000 rows, resident and
  streamed. `tabular` is the network of `tabular_mlp` on 20 columns, for a million
  examples; `cifar` is a small network on images that are cropped and flipped, for
  20,000. Orders of examples that a timing does not read to the end are known before it.
- `batch`: time of a step, by batch.
- `depth`: memory of the compiled train step of a transformer, by depth and `remat`.

The sizes are timed in turns. The ratio of each to the smallest is the median of the
rounds, of the time on the cores, which other processes disturb less, and of that on the
clock. `--out` writes everything as JSON, with the machine; what is measured again
replaces only its own part.
"""

import argparse
import dataclasses
import itertools
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import numpy as np  # noqa: E402
import optax  # noqa: E402
import side_ours  # noqa: E402
from absl import flags as absl_flags  # noqa: E402
from machine import earlier, machine, save  # noqa: E402
from networks import NETWORKS, examples  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels import data, models, tasks  # noqa: E402
from bigmodels.config import Duration, Experiment  # noqa: E402
from bigmodels.data import batches as batching  # noqa: E402
from bigmodels.data import transforms  # noqa: E402
from bigmodels.hardware import devices  # noqa: E402
from bigmodels.training.compile import trace  # noqa: E402

ROWS = (1000, 10_000, 100_000, 1_000_000)
TIMED = {'tabular': 1_000_000, 'cifar': 20_000}  # examples of a timing
BATCHES, SECONDS = (64, 128, 256, 512), 1.0
DEPTHS, REMATS = (2, 4, 8, 16, 32), ('none', 'dots', 'full')


def in_turns(work: dict[int, Callable[[], None]], rounds: int) -> dict[int, dict]:
  """Times functions in turns, after a call of each.

  Args:
    work: size -> function.
    rounds: of the measurement.

  Returns:
    Size -> seconds of each round, on the cores and on the clock.
  """
  taken = {size: {'cores': [], 'clock': []} for size in work}
  for index in range(rounds + 1):
    for size, call in work.items():
      begun = time.process_time(), time.perf_counter()
      call()
      ended = time.process_time(), time.perf_counter()
      if index:
        for name, a, b in zip(('cores', 'clock'), begun, ended, strict=True):
          taken[size][name].append(b - a)
  return taken


def ratios(taken: dict[int, dict], counts: dict[int, int]) -> dict[int, dict]:
  """The time of an example over that of the smallest size.

  Args:
    taken: of `in_turns`.
    counts: size -> examples of a timing.

  Returns:
    Size -> microseconds of an example in each round, and the medians of the ratios.
  """
  first, found = min(taken), {}
  for size, times in taken.items():
    found[size] = {}
    for name, seconds in times.items():
      each = [t / counts[size] for t in seconds]
      smallest = [t / counts[first] for t in taken[first][name]]
      found[size] |= {
        f'{name}_us': [round(1e6 * t, 3) for t in each],
        f'ratio_{name}': round(statistics.median(
          a / b for a, b in zip(each, smallest, strict=True)), 3)}
  return found


# --- rows -----------------------------------------------------------------------


def of_rows(kind: str, rows: int, *, resident: bool) -> Experiment:
  """An experiment on so many rows."""
  rng = np.random.default_rng(0)
  if kind == 'tabular':
    inputs, batch, augmented = rng.normal(size=(rows, 20)).astype(np.float32), 128, ()
    model = models.Mlp(2, (128, 128), dropout=0.1)
  else:
    inputs, batch = rng.integers(0, 256, (rows, 32, 32, 3), np.uint8), 64
    model = models.Cnn(2, widths=(16, 32), hidden=(64,))
    augmented = (transforms.flip, partial(transforms.shift, pixels=4), partial(
      transforms.standardize, mean=(127.5,), std=(74.0,)))
  source = data.Arrays(inputs, np.arange(rows, dtype=np.int32) % 2)
  return Experiment(
    model=model, task=tasks.classification, optimizer=partial(optax.adamw, 1e-3),
    train=data.Batches(source=source, batch_size=batch, transforms=augmented,
                       resident=resident),
    evals={}, duration=Duration(steps=10**6), precision='float32')


def rows_part(rounds: int, sizes: list[int]) -> dict:
  """Microseconds for each example, by kind, reading and rows."""
  found = {}
  for kind, timed in TIMED.items():
    for reading in ('resident', 'streamed'):
      built = {size: build_quietly(of_rows(kind, size, resident=reading == 'resident'))
               for size in sizes}
      work = {size: partial(_train, TrainSteps(each), timed)
              for size, each in built.items()}
      name = f'{kind}, {reading}'
      found[name] = ratios(in_turns(work, rounds), dict.fromkeys(sizes, timed))
      for each in built.values():
        each.close()
      show(name, found[name], 'rows')
  return found


def _train(steps, count):
  order = steps.built.train.order
  if order.length <= count:
    batching.permutation.cache_clear()
  steps(count // order.batch_size)


# --- batch ----------------------------------------------------------------------


def batch_part(rounds: int, networks: list[str]) -> dict:
  """Microseconds for each example, by network and batch."""
  found = {}
  for name in networks:
    work, units = {}, {}
    for batch in BATCHES:
      made = side_ours.experiment(name, 'float32')
      source = data.Arrays(columns=examples(name, 4 * batch))
      steps = TrainSteps(build_quietly(dataclasses.replace(made, train=(
        dataclasses.replace(made.train, source=source, batch_size=batch)))),
        repeat=True)
      steps(1)
      begun = time.perf_counter()
      steps(2)
      times = max(1, round(2 * SECONDS / (time.perf_counter() - begun)))
      work[batch], units[batch] = partial(steps, times), times * batch
    found[name] = ratios(in_turns(work, rounds), units)
    show(name, found[name], 'batch')
  return found


# --- depth ----------------------------------------------------------------------


def depth_part() -> dict:
  """Bytes of the compiled step of a GPT, by `remat` and depth."""
  found: dict[str, dict] = {}
  gpt = NETWORKS['gpt']
  for remat in REMATS:
    found[remat] = {}
    for depth in DEPTHS:
      experiment = side_ours.experiment('gpt', 'float32')
      model = partial(experiment.model, depth=depth, remat=remat, unroll=False)
      built = build_quietly(dataclasses.replace(experiment, model=model))
      traced = trace(built.learner, built.train, {}, built.layout)
      memory = traced.lower['advance']().compile(
        devices.compiler_options('cpu')).memory_analysis()
      found[remat][depth] = {
        'temporary': memory.temp_size_in_bytes,
        'state': memory.alias_size_in_bytes}
    sizes = {depth: each['temporary'] for depth, each in found[remat].items()}
    pairs = [(a, b, (sizes[b] - sizes[a]) / (b - a))
             for a, b in itertools.pairwise(DEPTHS)]
    print(f'gpt of batch {gpt.batch}, remat {remat}: ' + ', '.join(
      f'{depth} blocks {size / 2**20:.1f} MiB' for depth, size in sizes.items())
      + '; for each block ' + ', '.join(
        f'{a} to {b} {each / 2**20:.2f} MiB' for a, b, each in pairs), flush=True)
  return found


def show(name: str, found: dict[int, dict], what: str) -> None:
  """Prints the ratios of a row of the table."""
  print(f'{name}, time of an example over that of the smallest, on the cores and on '
        f'the clock, by {what}: ' + ', '.join(
          f'{size:,}: {each["ratio_cores"]} and {each["ratio_clock"]} '
          f'({statistics.median(each["clock_us"]):.2f} us)'
          for size, each in found.items()), flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--parts', default='rows,batch,depth')
  parser.add_argument('--rows', default=','.join(map(str, ROWS)))
  parser.add_argument('--networks', default='mlp,cifar_cnn,gpt', help='of batch')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  absl_flags.FLAGS.mark_as_parsed()  # Grain's workers read them
  devices.require_backend(None)
  results, here = earlier(flags.out, machine())
  parts = {'rows': lambda: rows_part(flags.rounds, [*map(int, flags.rows.split(','))]),
           'batch': lambda: batch_part(flags.rounds, flags.networks.split(',')),
           'depth': depth_part}
  for part in flags.parts.split(','):
    if part not in parts:
      parser.error(f'--parts: choose from {", ".join(parts)}; got {part}')
    begun = time.perf_counter()
    results[part] = parts[part]()
    print(f'{part}: {time.perf_counter() - begun:.0f} s', flush=True)
    if flags.out:
      save(flags.out, f'growth.py --rounds={flags.rounds} --out=FILE', results,
           found=here)


if __name__ == '__main__':
  main()
