"""Environment steps per second of `cartpole_a2c`, one compiled step, and of a loop.

  python benchmarks/agents.py --rounds=5 --out=FILE

The loop is that of Gymnasium: one environment, the same policy compiled by JAX for one
observation, an action sampled, a step; no learning. `cartpole_a2c` acts in 64
environments and learns as well. They take turns. Prints the ratio: median, minimum and
maximum.
"""

import argparse
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import gymnasium  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
from machine import save  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels.hardware import devices  # noqa: E402
from experiments import cartpole_a2c  # noqa: E402

SECONDS = 3.0  # of one timing, at least


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  devices.require_backend(None)
  experiment = cartpole_a2c.config()
  built = build_quietly(experiment)
  train = TrainSteps(built, repeat=True)
  each = built.train.order.batch_size * experiment.learner.keywords['rollout_length']

  def ours() -> float:
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
      train(train.most)
      steps += train.most * each
    return steps / (time.perf_counter() - start)

  policy = jax.jit(lambda params, observation, key: jax.random.categorical(
    key, built.model.apply({'params': params}, observation[None], train=False)[0])[0])
  params = jax.tree.map(np.asarray, train.carry.state.params)
  environment = gymnasium.make('CartPole-v1')
  keys = np.asarray(jax.random.split(jax.random.PRNGKey(0), 100_000))

  def loop() -> float:
    observation, _ = environment.reset(seed=0)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
      action = int(policy(params, observation, keys[steps % len(keys)]))
      observation, _, terminated, truncated, _ = environment.step(action)
      if terminated or truncated:
        observation, _ = environment.reset()
      steps += 1
    return steps / (time.perf_counter() - start)

  ours(), loop()
  found = [(ours(), loop()) for _ in range(flags.rounds)]
  ratios = [a / b for a, b in found]
  mine, theirs = (statistics.median(rates) for rates in zip(*found, strict=True))
  print(f'{mine:,.0f} steps/s, the loop {theirs:,.0f}: {statistics.median(ratios):.0f} '
        f'times ({min(ratios):.0f} to {max(ratios):.0f})')
  if flags.out:
    save(flags.out, f'agents.py --rounds={flags.rounds}', {
      'ours': [round(a) for a, _ in found], 'gymnasium': [round(b) for _, b in found]})


if __name__ == '__main__':
  main()
