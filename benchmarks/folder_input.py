"""A folder of JPEG files beside the same pictures in TFDS: images a second, and ratios.

  python benchmarks/folder_input.py --data_dir=DIR

The folder is written first: the files of the test split of `cifar10` as they are in
TFDS, one in each `CLASS/NUMBER.jpg`. Both sides then take turns:

- first start: the split is opened, decoded and cached (and the same in seconds of CPU
  time, which other programs disturb less);
- next start: it is opened, and read from the cache;
- train: train steps of `cifar_cnn`, from the resident split.

Prints the median of each, and of the ratio of the folder to TFDS with its least and
most; `--out` writes them as JSON, with the machine.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from machine import save  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels import data  # noqa: E402
from bigmodels.config import resolving  # noqa: E402
from bigmodels.data.sources import DataContext  # noqa: E402

STEPS = 4  # of a timing of training


def write(data_dir: str, folder: pathlib.Path) -> None:
  """Writes the files of the test split."""
  import tensorflow_datasets as tfds

  examples = tfds.data_source('cifar10', split='test', data_dir=data_dir, decoders={
    'image': tfds.decode.SkipDecoding()})
  names = examples.dataset_info.features['label'].names
  for number, example in enumerate(examples):
    path = folder / names[example['label']] / f'{number:05}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(example['image'])


def start(source, data_dir: str, cache: pathlib.Path) -> tuple[float, float]:
  """Images a second, and a second of CPU time, of opening and loading a split."""
  context = DataContext(data_dir, cache, {}, say=lambda _: None)
  begun, before = time.perf_counter(), time.process_time()
  dataset = source.open(context)
  dataset.load()['inputs'].sum()
  return (dataset.length / (time.perf_counter() - begun),
          dataset.length / (time.process_time() - before))


def measure(data_dir: str, folder: pathlib.Path, rounds: int) -> dict[str, dict]:
  """Measures both sides, in turns.

  Args:
    data_dir: of TFDS.
    folder: for the files and the caches.
    rounds: number of timings of each.

  Returns:
    What is timed -> images a second of each side, their ratio, its least and most.
  """
  write(data_dir, folder / 'cifar10')
  sources = {'folder': data.ImageFolder(str(folder / 'cifar10'), selected=None),
             'tfds': data.Tfds('cifar10', 'test')}
  experiment = dataclasses.replace(
    resolving.resolve('cifar_cnn', {}).experiment, evals={})
  steps = {}
  for name, source in sources.items():
    start(source, data_dir, folder / 'warm')  # imports
    steps[name] = TrainSteps(build_quietly(dataclasses.replace(
      experiment, train=dataclasses.replace(experiment.train, source=source)),
      data_dir, folder / 'warm'), repeat=True)
    steps[name](STEPS)
  size = experiment.train.batch_size
  found = {what: {name: [] for name in sources}
           for what in ('first start', 'first start, CPU time', 'next start', 'train')}
  for index in range(rounds):
    for name, source in sources.items():
      cache = folder / f'cache-{index}'
      wall, cpu = start(source, data_dir, cache)
      found['first start'][name].append(wall)
      found['first start, CPU time'][name].append(cpu)
      found['next start'][name].append(start(source, data_dir, cache)[0])
      begun = time.perf_counter()
      steps[name](STEPS)
      found['train'][name].append(STEPS * size / (time.perf_counter() - begun))
  return {what: summary(sides) for what, sides in found.items()}


def summary(sides: dict[str, list[float]]) -> dict[str, float]:
  """The medians of both sides, and of their ratio."""
  ratios = [a / b for a, b in zip(*sides.values(), strict=True)]
  return {**{name: round(statistics.median(each)) for name, each in sides.items()},
          'ratio': round(statistics.median(ratios), 2),
          'least': round(min(ratios), 2), 'most': round(max(ratios), 2)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    found = measure(flags.data_dir, pathlib.Path(folder), flags.rounds)
  for what, each in found.items():
    print(f'{what}: {each["folder"]:,} images/s of the folder, {each["tfds"]:,} of '
          f'TFDS, ratio {each["ratio"]} ({each["least"]} to {each["most"]})')
  if flags.out:
    save(flags.out, 'folder_input.py --data_dir=DIR', found)


if __name__ == '__main__':
  main()
