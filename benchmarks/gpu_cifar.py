"""The parts of gpu.py on CIFAR-10: the speedrun, and its optimizer.

A part is a function of `report`, (name, value) -> None, and of the flags of gpu.py.
"""

import argparse
import dataclasses
import pathlib
import tempfile
import time

import jax
import numpy as np
from gpu_models import in_half, pixels, require, seconds_of
from timing import Report, rates, reporting, timed
from train_steps import build_quietly

from bigmodels import optim
from bigmodels.config import Experiment, resolving
from bigmodels.data import batches
from bigmodels.data.sources import DataContext
from bigmodels.hardware import flops
from bigmodels.training.build import Built
from bigmodels.training.compile import Programs, compile_traced, trace
from bigmodels.training.evaluation import number_of_batches

SEEDS, TARGET = 10, 0.94
FASTER = {'optimizer.stacked': 'True', 'model.activation': 'flax.linen.silu',
          'task.confident': '0.7'}


def cifar_speedrun(report: Report, flags: argparse.Namespace) -> None:
  require(flags)
  with tempfile.TemporaryDirectory() as folder:  # of the decoded images
    for name, overrides in {'airbench': {}, 'faster': FASTER}.items():
      runs_of(name, overrides, report, flags, pathlib.Path(folder))


def runs_of(name: str, overrides: dict[str, str], report: Report,
            flags: argparse.Namespace, folder: pathlib.Path) -> None:
  """Runs the experiment with all seeds, and reports after each.

  Args:
    name: of what is reported.
    overrides: of the experiment.
    report, flags: of the part.
    folder: for decoded images.
  """
  with reporting(report, name) as found:
    found |= {'overrides': overrides, 'data': 'CIFAR-10' if flags.data_dir else (
      'random images, whose accuracy means nothing')}
    experiment = speedrun(overrides, flags)
    built = build_quietly(experiment, flags.data_dir, folder)
    programs = compile_traced(trace(
      built.learner, built.train, built.evals, built.layout))
    found |= {'compile_seconds': round(programs.seconds, 1), 'steps': built.steps}
    one_run(built, programs, seed=-1)  # the first one is slower
    runs = []
    for seed in range(2 if flags.tiny else SEEDS):
      runs.append(one_run(built, programs, seed))
      found |= summary(runs, flags)
      report(name, found)
    found |= {f'train_{key}': value for key, value in rates(
      [run['train_seconds'] for run in runs], 'images',
      built.steps * built.train.order.batch_size,
      built.steps * flops.flops(programs.traced.step)).items() if 'ms' not in key}


def speedrun(overrides: dict[str, str], flags: argparse.Namespace) -> Experiment:
  """The experiment, with random images if there is no data."""
  if flags.tiny:
    overrides = {**overrides, 'model.widths': '(8, 8, 8)', 'batch_size': '16',
                 'epochs': '2'}
  experiment = in_half(
    resolving.resolve('cifar_speedrun', overrides).experiment, flags)
  if flags.data_dir:
    return experiment
  train, test = (pixels(count, 32, 10) for count in (
    (32, 20) if flags.tiny else (50_000, 10_000)))
  evals = {'test': dataclasses.replace(experiment.evals['test'], source=test)}
  return dataclasses.replace(
    experiment, evals=evals, train=dataclasses.replace(experiment.train, source=train))


def one_run(built: Built, programs: Programs, seed: int) -> dict[str, float]:
  """Trains from a seed, and evaluates the test split.

  The programs are those of any seed, which is an argument of the first and determines
  the rows that the host gives to the second.
  """
  train, test = loader(built, max(seed, 0)), built.evals['test']
  most = programs.traced.most
  start = time.perf_counter()
  carry = programs.init(np.asarray(jax.random.PRNGKey(seed)))
  for step in range(0, built.steps, most):
    count = min(most, built.steps - step)
    carry, _ = programs.advance(
      carry, train.host_batch(step, count), count, False, [0, 0, 0])
  fault = int(carry.fault[0])
  trained = time.perf_counter()
  if fault >= 0:
    raise FloatingPointError(f'seed {seed}: a metric is not finite at step {fault}')
  counts = jax.device_get([
    programs.evaluate('test', carry.state, test.host_batch(i, 1))[0]['accuracy']
    for i in range(number_of_batches(test))])
  right, examples = np.float64(counts).sum(0)
  return {'accuracy': float(right / examples), 'train_seconds': trained - start,
          'evaluate_seconds': time.perf_counter() - trained}


def loader(built: Built, seed: int) -> batches.Loader:
  """The training split in the order of another seed, for programs that it made."""
  context = DataContext(None, pathlib.Path(), {}, say=lambda _: None)
  return batches.open_loader(
    built.experiment.train, 'train', context, built.layout,
    dataset=built.train.dataset, seed=seed, shuffle=True, steps=built.steps,
    transforms=())


def summary(runs: list[dict[str, float]], flags: argparse.Namespace) -> dict:
  """Means over the runs, and all of them."""
  columns = {name: [run[name] for run in runs] for name in runs[0]}
  seconds = np.add(columns['train_seconds'], columns['evaluate_seconds'])
  found = {'seeds': len(runs), 'seconds_a_run': round(float(np.mean(seconds)), 4),
           **{name: [round(value, 4) for value in values]
              for name, values in columns.items()}}
  if not flags.data_dir:
    found.pop('accuracy')
    return found
  accuracy = np.array(columns['accuracy'])
  return found | {
    'mean_accuracy': round(float(accuracy.mean()), 5),
    'standard_error': round(float(accuracy.std(ddof=1) / len(runs) ** 0.5), 5)
    if len(runs) > 1 else None,
    'reach_94': int((accuracy >= TARGET).sum())}


def muon(report: Report, flags: argparse.Namespace) -> None:
  require(flags)
  widths = (8, 8, 8) if flags.tiny else (64, 256, 256)
  shapes, inputs = [], 24
  for width in widths:
    shapes += [(3, 3, inputs, width), (3, 3, width, width)]
    inputs = width
  keys = jax.random.split(jax.random.key(0), len(shapes))
  grads = [jax.random.normal(key, shape) for key, shape in zip(
    keys, shapes, strict=True)]
  for stacked in (False, True):
    optimizer = optim.muon_filters(stacked=stacked)

    @jax.jit
    def update(times, optimizer=optimizer):
      return jax.lax.fori_loop(
        0, times, lambda _, loop: optimizer.update(grads, loop[1]),
        (grads, optimizer.init(grads)))

    with reporting(report, 'stacked' if stacked else 'one by one') as found:
      found |= rates(timed(
        lambda times, update=update: jax.block_until_ready(update(times)),
        seconds_of(flags)),
        'updates', 1)
