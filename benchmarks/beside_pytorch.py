"""Compares train steps and inference with PyTorch.

  python benchmarks/beside_pytorch.py
  python benchmarks/beside_pytorch.py --networks=cifar_cnn,gpt --rounds=7 --out=FILE
  python benchmarks/beside_pytorch.py --pytorch=OTHER/bin/python

PyTorch runs eagerly, and with `torch.compile` if that works. Network, batch and machine
are the same; each side trains in its own process. They take turns: the others wait
while one is timed, and the order rotates. Our step is the one that a run compiles,
which gathers the data and sums the metrics; PyTorch's is forward, loss, backward and
Adam on a batch that exists already. Inputs are random float32, without augmentation.
Inference is the forward pass in evaluation mode, of 1 and of 256 examples.

Prints a line for every network; `--out` writes everything as JSON, with the machine:
milliseconds of every round, and the ratio of PyTorch's to ours: median, least, most.
`--pytorch` names the Python of another environment for PyTorch, if the two cannot be
installed together. Nothing else should run on the machine: PyTorch's threads wait for
each other.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import numpy as np  # noqa: E402
from machine import save  # noqa: E402

INFERENCE = (1, 256)
SECONDS = 1.5  # of one timing, at least
IMAGES = {  # network -> height, width, channels of its inputs, and batch
  'mlp': ((28, 28, 1), 128),
  'mnist_cnn': ((28, 28, 1), 64),
  'cifar_cnn': ((32, 32, 3), 64),
  'resnet18': ((224, 224, 3), 32),
  'vit_ti': ((224, 224, 3), 32),
}
TOKENS = {'gpt': (64, 12)}  # network -> tokens of a block, and batch
NETWORKS = (*IMAGES, *TOKENS)
CLASSES, VOCABULARY = 10, 65


def examples(network: str, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Random inputs and labels."""
  rng = np.random.default_rng(0)
  if network in TOKENS:
    length, _ = TOKENS[network]
    text = rng.integers(0, VOCABULARY, (count, length + 1), np.int32)
    return text[:, :-1], text[:, 1:]
  shape, _ = IMAGES[network]
  return (rng.normal(size=(count, *shape)).astype(np.float32),
          rng.integers(0, CLASSES, count, np.int32))


def batch_of(network: str) -> int:
  return (IMAGES | TOKENS)[network][1]


# --- ours -----------------------------------------------------------------------


def ours(network: str) -> dict[str, Callable[[int], None]]:
  """Our side of a network.

  Returns:
    Functions (times) -> None by name, 'train' and 'infer_N', which return when done.
  """
  import jax
  from train_steps import TrainSteps, build_quietly

  from bigmodels.hardware import devices

  devices.require_backend(None)
  built = build_quietly(our_experiment(network))
  steps = TrainSteps(built, repeat=True)

  def train(times):
    steps(times)
    if steps.carry.fault[0] >= 0:  # after a fault there are no steps
      sys.exit(f'{network}: the loss is not finite')

  forward = jax.jit(lambda params, model_state, x: built.model.apply(
    {'params': params, **model_state}, x, train=False),
    compiler_options=devices.compiler_options(built.layout.platform))

  def infer(x, times):
    for _ in range(times):
      logits = forward(steps.carry.state.params, steps.carry.state.model_state, x)
    jax.block_until_ready(logits)

  return {'train': train} | {
    f'infer_{n}': partial(infer, jax.device_put(examples(network, n)[0]))
    for n in INFERENCE}


def our_experiment(network: str):
  """The experiment of a network, on four batches of random examples."""
  import optax

  from bigmodels import data, models, tasks
  from bigmodels.config import Duration, Experiment
  from bigmodels.data.vocabularies import Tokenizer
  from experiments import cifar_cnn, mnist_cnn, shakespeare_gpt

  batch = batch_of(network)
  task = tasks.classification
  if network in TOKENS:
    tokenizer = Tokenizer(
      size=VOCABULARY, special={}, byte_counts=np.ones(VOCABULARY, np.float32),
      encode_all=None, decode=None, token=None)
    task = partial(tasks.next_token, tokenizer=tokenizer)
  model = {
    'mlp': lambda: models.Mlp(CLASSES, (512, 512)),
    'mnist_cnn': lambda: mnist_cnn.config().model,
    'cifar_cnn': lambda: cifar_cnn.config().model,
    'resnet18': lambda: models.ResNet(CLASSES, depth=18),
    'vit_ti': lambda: models.Vit(CLASSES, depth=12, width=192, heads=3, patch=16,
                                 unroll=True),
    'gpt': lambda: partial(shakespeare_gpt.config().model, vocabulary=VOCABULARY),
  }[network]()
  inputs, labels = examples(network, 4 * batch)
  return Experiment(
    model=model, task=task, optimizer=partial(optax.adam, 1e-3),
    train=data.Batches(source=data.Arrays(inputs, labels), batch_size=batch),
    evals={}, duration=Duration(steps=10**6), precision='float32')


# --- theirs ---------------------------------------------------------------------


def theirs(network: str, *, compiled: bool) -> dict[str, Callable[[int], None]]:
  """PyTorch's side of a network, eager or compiled; see `ours`."""
  import networks_pytorch
  import torch
  from torch.nn import functional as F

  torch.manual_seed(0)
  batch = batch_of(network)
  model = networks_pytorch.NETWORKS[network](CLASSES, VOCABULARY)
  optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
  if compiled:
    model = torch.compile(model)

  def tensors(count):
    inputs, labels = examples(network, count)
    if network in IMAGES:
      inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    return torch.from_numpy(inputs), torch.from_numpy(labels).long()

  x, y = tensors(batch)

  def train(times):
    model.train()
    for _ in range(times):
      logits = model(x)
      loss = F.cross_entropy(logits.flatten(0, -2), y.flatten())
      optimizer.zero_grad(set_to_none=True)
      loss.backward()
      optimizer.step()

  def infer(x, times):
    model.eval()
    with torch.inference_mode():
      for _ in range(times):
        model(x)

  return {'train': train} | {
    f'infer_{n}': partial(infer, tensors(n)[0]) for n in INFERENCE}


# --- in turn --------------------------------------------------------------------


SIDES = {'ours': ours, 'eager': partial(theirs, compiled=False),
         'compiled': partial(theirs, compiled=True)}


def serve(side: str, network: str) -> None:
  """Answers each line 'NAME TIMES' on stdin with seconds on stdout."""
  work = SIDES[side](network)
  try:
    work['train'](1)
  except Exception as error:
    if side != 'compiled':
      raise
    print(f'absent {type(error).__name__}', flush=True)
    return
  print('ready', flush=True)
  for line in sys.stdin:
    name, times = line.split()
    start = time.perf_counter()
    work[name](int(times))
    print(time.perf_counter() - start, flush=True)


class Worker:
  """A process for one side of a network.

  Attributes:
    absent: why it does not work, or ''.
  """

  def __init__(self, side: str, network: str, python: str = sys.executable):
    self._process = subprocess.Popen(
      [python, __file__, f'--serve={side}', f'--networks={network}'],
      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'})
    state = ''
    while state not in ('ready', 'absent'):
      line = self._process.stdout.readline()
      if not line:
        sys.exit(f'{side}, {network}: ended with {self._process.wait()}')
      state, _, reason = line.strip().partition(' ')
    self.absent = reason if state == 'absent' else ''

  def __call__(self, name: str, times: int) -> float:
    """Runs a function of this side, and returns the seconds."""
    self._process.stdin.write(f'{name} {times}\n')
    self._process.stdin.flush()
    answer = self._process.stdout.readline()
    return float(answer) if answer else sys.exit('a process has ended')

  def close(self) -> None:
    self._process.stdin.close()
    self._process.wait()


def compare(network: str, rounds: int, pytorch: str) -> dict[str, dict]:
  """Compares a network on all sides.

  Args:
    network: its name.
    rounds: of the measurement.
    pytorch: the Python for PyTorch.

  Returns:
    As `in_turn`.
  """
  workers = {side: Worker(side, network, sys.executable if side == 'ours' else pytorch)
             for side in SIDES}
  for side in [side for side, worker in workers.items() if worker.absent]:
    print(f'{network}: no torch.compile here ({workers.pop(side).absent})', flush=True)
  return in_turn(workers, ('train', *(f'infer_{n}' for n in INFERENCE)), rounds)


def in_turn(workers: dict[str, Worker], timed: Sequence[str], rounds: int
            ) -> dict[str, dict]:
  """Times workers in turn, and ends them.

  Args:
    workers: by side; the others are compared with the first.
    timed: names of the functions to time.
    rounds: of the measurement.

  Returns:
    By name of the function: milliseconds of the first side, and of each other side
    its milliseconds and the ratios.
  """
  found, ours = {}, next(iter(workers))
  for name in timed:
    times = {}
    for side, worker in workers.items():
      worker(name, 1)  # compiles, or allocates
      times[side] = max(2, round(SECONDS / worker(name, 1)))
    taken: dict[str, list[float]] = {side: [] for side in workers}
    order = list(workers)
    for _ in range(rounds):
      for side in order:
        workers[side](name, 1)  # restores pages and caches lost while it waited
        taken[side].append(1e3 * workers[side](name, times[side]) / times[side])
      order = [*order[1:], order[0]]
    ours_ms = taken.pop(ours)
    found[name] = {f'{ours}_ms': [round(ms, 3) for ms in ours_ms]} | {
      side: _beside(ours_ms, ms) for side, ms in taken.items()}
  for worker in workers.values():
    worker.close()
  return found


def _beside(ours_ms: list[float], theirs_ms: list[float]) -> dict:
  ratios = [b / a for a, b in zip(ours_ms, theirs_ms, strict=True)]
  return {'ms': [round(ms, 3) for ms in theirs_ms],
          'ratio': round(statistics.median(ratios), 3),
          'least': round(min(ratios), 3), 'most': round(max(ratios), 3)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--networks', default=','.join(NETWORKS))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  parser.add_argument('--pytorch', metavar='PYTHON', default=sys.executable)
  parser.add_argument('--serve', choices=SIDES, help=argparse.SUPPRESS)
  flags = parser.parse_args()
  networks = flags.networks.split(',')
  if unknown := [name for name in networks if name not in NETWORKS]:
    parser.error(f'--networks: choose from {", ".join(NETWORKS)}; got {unknown[0]}')
  if flags.serve:
    serve(flags.serve, networks[0])
    return
  results = {}
  for network in networks:
    results[network] = compare(network, flags.rounds, flags.pytorch)
    for side in list(SIDES)[1:]:
      ratios = [f'{name} {each[side]["ratio"]} ({each[side]["least"]} to '
                f'{each[side]["most"]})'
                for name, each in results[network].items() if side in each]
      print(f'{network}, PyTorch {side} over ours: {", ".join(ratios) or "none"}',
            flush=True)
    if flags.out:
      save(flags.out, f'beside_pytorch.py --networks={flags.networks} '
                      f'--rounds={flags.rounds}', results, torch=flags.pytorch)


if __name__ == '__main__':
  main()
