"""The parts of gpu.py on models of texts and images, and on populations.

A part is a function of `report`, (name, value) -> None, and of the flags of gpu.py.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial

import generate
import jax
import jax.numpy as jnp
import numpy as np
from networks import NETWORKS, examples
from side_ours import experiment as experiment_of
from timing import Report, rates, reporting, timed, utilization
from train_steps import TrainSteps, build_quietly

from bigmodels import data, models, tasks
from bigmodels.config import Experiment, resolving
from bigmodels.data.vocabularies import Tokenizer
from bigmodels.hardware import devices, flops
from bigmodels.parallel import precision

GPT = {'depth': 12, 'heads': 12, 'width': 768, 'length': 1024, 'vocabulary': 50304}
TINY_GPT = {'depth': 1, 'heads': 2, 'width': 16, 'length': 32, 'vocabulary': 64}


def seconds_of(flags: argparse.Namespace) -> float:
  """Seconds of a round."""
  return 0.02 if flags.tiny else 1.0


def train_steps(experiment: Experiment, flags: argparse.Namespace, unit: str,
                amount: float, operations: Callable[[TrainSteps], float]) -> dict:
  """Times the train steps of an experiment.

  Args:
    experiment: whose data is in memory.
    flags: of gpu.py.
    unit, amount: see `rates`.
    operations: those of a step.
  """
  steps = TrainSteps(build_quietly(in_half(experiment, flags)), repeat=True)
  seconds = timed(steps, seconds_of(flags))
  if steps.carry.fault[0] >= 0:  # after a fault there are no steps
    raise FloatingPointError('the loss is not finite')
  fused = any('dot_product_attention' in eqn.primitive.name
              for eqn in flops.equations(steps.programs.traced.step))
  return {**rates(seconds, unit, amount, operations(steps)),
          'compile_seconds': round(steps.programs.seconds, 1), 'fused_attention': fused,
          **memory()}


def in_half(experiment: Experiment, flags: argparse.Namespace) -> Experiment:
  """The experiment in bfloat16, except for the tests of this script."""
  return experiment if flags.tiny else dataclasses.replace(
    experiment, precision='bfloat16')


def memory() -> dict[str, int]:
  """The most bytes that this process has used of the device, if it reports them."""
  peak = (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
  return {'peak_bytes': peak} if peak else {}


def jaxpr_flops(steps: TrainSteps) -> float:
  return flops.flops(steps.programs.traced.step)


def require(flags: argparse.Namespace) -> None:
  """Raises a `UserError` unless there is a GPU."""
  devices.require_backend(None if flags.tiny else 'gpu')


def pixels(count: int, size: int, classes: int) -> data.Arrays:
  """Random images and labels."""
  rng = np.random.default_rng(0)
  return data.Arrays(rng.integers(0, 256, (count, size, size, 3), np.uint8),
                     rng.integers(0, classes, count, np.int32),
                     classes=tuple(map(str, range(classes))))


# --- GPT-2 ----------------------------------------------------------------------


def gpt2_124m(report: Report, flags: argparse.Namespace) -> None:
  require(flags)
  sizes = TINY_GPT if flags.tiny else GPT
  for batch, unroll in ((2, False),) if flags.tiny else (
    (12, False), (32, False), (64, False), (32, True)):
    with reporting(report, f'batch_{batch}' + '_unrolled' * unroll) as found:
      found |= train_steps(
        gpt(batch, unroll, sizes), flags, 'tokens', batch * sizes['length'],
        lambda steps, tokens=batch * sizes['length']: tokens * nanogpt_flops(
          steps.carry.state.params, sizes))


def gpt(batch: int, unroll: bool, sizes: dict[str, int]) -> Experiment:
  """The experiment `gpt2_124m`, on random tokens, without accumulation."""
  vocabulary, length = sizes['vocabulary'], sizes['length']
  tokenizer = Tokenizer(
    size=vocabulary, special={}, byte_counts=np.ones(vocabulary, np.float32),
    encode_all=None, decode=None, token=None)
  text = np.random.default_rng(0).integers(
    0, vocabulary, (2 * batch, length + 1), np.int32)
  experiment = resolving.resolve('gpt2_124m', {}).experiment
  return dataclasses.replace(
    experiment, model=models.Gpt(**sizes, unroll=unroll), accumulate=1, evals={},
    task=partial(tasks.next_token, tokenizer=tokenizer),
    train=data.Batches(source=data.Arrays(text[:, :-1], text[:, 1:]), batch_size=batch))


def nanogpt_flops(params: dict, sizes: dict[str, int]) -> float:
  """See `gpt_pytorch.flops_per_token`."""
  weights = sum(x.size for x in jax.tree.leaves(params)) - (
    sizes['length'] * sizes['width'])  # the position embeddings
  return 6 * weights + 12 * sizes['depth'] * sizes['length'] * sizes['width']


def gpt_pytorch(report: Report, flags: argparse.Namespace) -> None:
  if subprocess.run([flags.pytorch, '-c', 'import torch'], check=False).returncode:
    report('skipped', f'no PyTorch in {pathlib.Path(flags.pytorch).name}; --pytorch='
           'PYTHON names another Python')
    return
  sizes = TINY_GPT if flags.tiny else GPT
  script = pathlib.Path(__file__).with_name('gpt_pytorch.py')
  options = ['--bias', '--beta2=0.95', '--learning_rate=6e-4', '--warmup=10'] + (
    ['--steps=12'] if flags.tiny else
    ['--steps=50', '--device=cuda', '--dtype=bfloat16', '--compile'])
  names = {name: 'layers' if name == 'depth' else name for name in sizes}
  for batch in (2,) if flags.tiny else (12, 32):
    with reporting(report, f'batch_{batch}') as found:
      done = subprocess.run(
        [flags.pytorch, str(script), f'--batch={batch}', *options,
         *(f'--{names[name]}={size}' for name, size in sizes.items())],
        capture_output=True, text=True, check=False)
      if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ['no message'])[-1])
      found |= json.loads(done.stdout)
      found |= utilization(1e12 * found['tflops'], found['device'])


def generation(report: Report, flags: argparse.Namespace) -> None:
  require(flags)
  sizes = TINY_GPT if flags.tiny else GPT
  length, count = (8, 4) if flags.tiny else (128, 256)
  model = precision.in_precision(
    models.Gpt(**sizes), precision.default(jax.default_backend()))
  key = jax.random.PRNGKey(0)
  params = jax.jit(partial(model.init, train=False))(
    key, jnp.zeros((1, length), jnp.int32))['params']
  for batch in (2,) if flags.tiny else (1, 8, 64):
    with reporting(report, f'batch_{batch}') as found:
      prompt = jax.random.randint(key, (batch, length), 0, sizes['vocabulary'])
      start = time.perf_counter()
      program = jax.jit(partial(generate.cached, model, count)).lower(
        params, prompt).compile()
      found |= {'compile_seconds': round(time.perf_counter() - start, 1),
                'prompt': length, 'tokens': count}

      def work(times, program=program, prompt=prompt):
        for _ in range(times):
          jax.block_until_ready(program(params, prompt))

      found |= rates(timed(work, seconds_of(flags)), 'tokens', batch * count)


# --- images ---------------------------------------------------------------------


def images(report: Report, flags: argparse.Namespace, name: str,
           tiny: dict[str, str], measured: Sequence[tuple[int, bool]]) -> None:
  """Times the train steps of an experiment on ImageNet.

  Args:
    report, flags: of the part.
    name: of the experiment.
    tiny: overrides that make it small.
    measured: batch sizes, and whether images are augmented.
  """
  require(flags)
  experiment = resolving.resolve(name, tiny if flags.tiny else {}).experiment
  size = 32 if flags.tiny else 224
  if flags.tiny:
    measured = sorted({(2, augmented) for _, augmented in measured})
  for batch, augmented in measured:
    with reporting(report, f'batch_{batch}' + '_augmented' * augmented) as found:
      transforms = experiment.train.transforms if augmented else tuple(
        each for each in experiment.train.transforms
        if getattr(each, 'func', each) is data.transforms.standardize)
      train = data.Batches(source=pixels(2 * batch, size, 1000), batch_size=batch,
                           transforms=transforms)
      found |= train_steps(
        dataclasses.replace(experiment, train=train, evals={}), flags, 'images', batch,
        jaxpr_flops)


def resnet50(report: Report, flags: argparse.Namespace) -> None:
  images(report, flags, 'imagenet_resnet50', {
    'model.width': '4', 'model.depth': '18', 'model.zero_init': 'False', 'size': '32',
    'shorter': '36'}, ((256, False), (512, False)))


def vit_s16(report: Report, flags: argparse.Namespace) -> None:
  images(report, flags, 'imagenet_vit_s16', {
    'model.width': '24', 'model.depth': '1', 'model.heads': '2', 'size': '32',
    'shorter': '36'}, ((256, False), (512, False), (256, True)))


# --- a population ---------------------------------------------------------------


def population(report: Report, flags: argparse.Namespace) -> None:
  """Members share the batch, and differ in their seeds."""
  require(flags)
  steps, counts = (2, (2,)) if flags.tiny else (100, (4, 16, 64))
  for network in ('mlp',) if flags.tiny else ('mlp', 'mnist_cnn'):
    learner = build_quietly(experiment_of(network, None)).learner
    size = NETWORKS[network].batch
    batch = {name: jnp.asarray(column)
             for name, column in examples(network, size).items()}
    batch['mask'] = jnp.ones(size)
    alone = None
    for count in (1, *counts):
      with reporting(report, f'{network}_{count}') as found:
        seconds, compiling = trained_together(learner, batch, count, steps, flags)
        found |= rates(seconds, 'steps', steps * count)
        alone = alone or found['steps_per_second']
        found |= {'compile_seconds': compiling,
                  'times_one_after_the_other': round(
                    found['steps_per_second'] / alone, 2)}


def trained_together(learner, batch: dict[str, jax.Array], count: int, steps: int,
                     flags: argparse.Namespace) -> tuple[list[float], float]:
  """Times steps of some members in one program; one alone has no `vmap`.

  Returns:
    Seconds of these steps of all members, in each round; and of compiling.
  """
  keys = jax.random.split(jax.random.PRNGKey(0), count)
  init, step = learner.init, learner.step
  if count > 1:
    init, step = (jax.vmap(each, (0, None)) for each in (init, step))
  states = jax.jit(init)(keys if count > 1 else keys[0], batch)
  start = time.perf_counter()
  program = jax.jit(lambda states: jax.lax.fori_loop(
    0, steps, lambda _, states: step(states, batch)[0], states)).lower(states).compile()
  compiling = round(time.perf_counter() - start, 1)

  def work(times):
    found = states
    for _ in range(times):
      found = program(found)
    jax.block_until_ready(found)

  return timed(work, seconds_of(flags)), compiling
