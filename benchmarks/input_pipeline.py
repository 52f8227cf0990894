"""Images a second of each input pipeline, compared with the train step.

  python benchmarks/input_pipeline.py --data_dir=DIR --experiment=cifar_resnet

- decoded: the whole training split, once, from its files to arrays in the cache;
- resident: gathered and augmented on the device;
- streamed: read, decoded and copied to the device, by threads and by 2 workers;
- step: the compiled train step, which contains the resident pipeline.

Prints a line for each, with its ratio to the step; `--out` writes them as JSON, with
the machine.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import jax  # noqa: E402
from absl import flags as absl_flags  # noqa: E402
from machine import save  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels.config import Duration, resolving  # noqa: E402
from bigmodels.data.sources import DataContext  # noqa: E402
from bigmodels.hardware import devices  # noqa: E402

SECONDS = 5.0  # of one timing, at least


def rate(work, images: int) -> float:
  """Images a second of `work(times)`, which processes `images` images each time."""
  work(2)
  times = 2
  while True:
    begun = time.perf_counter()
    work(times)
    taken = time.perf_counter() - begun
    if taken > SECONDS:
      return round(times * images / taken, 1)
    times = max(times + 1, int(1.2 * times * SECONDS / taken))


def measure(name: str, data_dir: str, folder: pathlib.Path) -> dict[str, float]:
  """Measures all pipelines.

  Args:
    name: of the experiment.
    data_dir: of its data.
    folder: for the cache.

  Returns:
    Images a second by pipeline.
  """
  experiment = dataclasses.replace(
    resolving.resolve(name, {}).experiment, evals={}, duration=Duration(steps=10**6))

  def built_with(**options):
    return build_quietly(dataclasses.replace(experiment, train=dataclasses.replace(
      experiment.train, **options)), data_dir, folder)

  found = {}
  dataset = experiment.train.source.open(
    DataContext(data_dir, folder, {}, say=lambda _: None))
  begun = time.perf_counter()
  dataset.load()
  found['decoded'] = round(dataset.length / (time.perf_counter() - begun), 1)
  built = built_with(resident=True)
  loader, size = built.train, built.train.order.batch_size
  gather = jax.jit(lambda resident, host_batch, index: loader.batch(
    resident, host_batch, index, jax.random.split(jax.random.key(index), 1)))
  host_batch = loader.host_batch(0, loader.most)

  def resident(times):
    for step in range(times):
      batch = gather(loader.resident, host_batch, step % loader.most)
    jax.block_until_ready(batch)

  found['resident'] = rate(resident, size)
  found['step'] = rate(TrainSteps(built), size)
  built.close()
  for workers, pipeline in ((0, 'streamed by threads'), (2, 'streamed by 2 workers')):
    streamed, at = built_with(resident=False, workers=workers), [0]

    def read(times, loader=streamed.train, at=at):
      for _ in range(times):
        jax.block_until_ready(loader.host_batch(at[0], 1))
        at[0] += 1

    found[pipeline] = rate(read, size)
    streamed.close()
  return found


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--experiment', default='cifar_resnet')
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  absl_flags.FLAGS.mark_as_parsed()  # Grain's workers read them
  devices.require_backend(None)
  with tempfile.TemporaryDirectory() as folder:
    found = measure(flags.experiment, flags.data_dir, pathlib.Path(folder))
  for pipeline, images in found.items():
    print(f'{pipeline}: {images:,} images/s, {images / found["step"]:.2f} times the '
          'step')
  if flags.out:
    save(flags.out, 'input_pipeline.py --data_dir=DIR '
                    f'--experiment={flags.experiment}', found)


if __name__ == '__main__':
  main()
