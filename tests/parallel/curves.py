"""Trains small runs on eight devices in several layouts; prints their losses as JSON.

A program, since the number of devices of a process is fixed when it starts.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import sys
from functools import partial

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
os.environ['XLA_FLAGS'] = (  # beside those of tests/conftest.py
  f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=8')
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import numpy as np
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, resolving
from bigmodels.data import transforms
from bigmodels.data.sources import DataContext
from bigmodels.models import sharding_rules
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from bigmodels.training.compile import compile_traced, trace

STEPS = 24
LAYOUTS = {  # mesh, strategy, microbatches
  'plain': ('', 'jit', 1),
  'jit data:8': ('data:8', 'jit', 1),
  'data:2,fsdp:4': ('data:2,fsdp:4', 'jit', 1),
  'fsdp:8': ('fsdp:8', 'jit', 1),
  'data:2,fsdp:2,tensor:2': ('data:2,fsdp:2,tensor:2', 'jit', 1),
  'pmap': ('data:8', 'pmap', 1),
  'accumulate 4': ('', 'jit', 4),
  'accumulate 2, fsdp:8': ('fsdp:8', 'jit', 2),
  'accumulate 2, pmap': ('data:8', 'pmap', 2),
}


def images(size: int, channels: int, length: int = 80) -> data.Arrays:
  """Images of noise that are brighter the higher the class."""
  rng = np.random.default_rng(0)
  labels = np.arange(length) % 10
  noise = rng.integers(0, 120, (length, size, size, channels))
  return data.Arrays(inputs=(noise + 12 * labels[:, None, None, None]).astype(np.uint8),
                     labels=labels, splits={'train': 0.6, 'test': 0.4},
                     columns={'weights': rng.uniform(0.1, 3, length)})


def cifar_cnn() -> Experiment:
  # With smaller widths: eight devices share the cores of one machine here.
  experiment = resolving.resolve('cifar_cnn', {
    'learning_rate': '3e-4', 'model.widths': '(16, 32)', 'model.hidden': '(64,)',
  }).experiment
  made = images(32, 3)
  return dataclasses.replace(
    experiment, train=dataclasses.replace(
      experiment.train, source=made.split('train'), batch_size=16),
    evals={'test': dataclasses.replace(
      experiment.evals['test'], source=made.split('test'), batch_size=20)},
    rules=sharding_rules.CNN)


def mlp(batch_norm: bool = False, resident: bool = True) -> Experiment:
  made = images(8, 1)
  return Experiment(
    model=models.Mlp(10, (64, 64), dropout=0.3, batch_norm=batch_norm),
    task=partial(tasks.classification, class_weights={3: 4.0}),
    optimizer=partial(optax.adamw, 3e-3),
    train=data.Batches(source=made.split('train'), batch_size=32, resident=resident,
                       transforms=(transforms.alternating_flip,
                                   transforms.standardize)),
    evals={'test': data.Batches(source=made.split('test'), batch_size=20,
                                transforms=(transforms.standardize,))},
    duration=Duration(steps=STEPS), rules=sharding_rules.MLP)


EXPERIMENTS = {
  'cifar_cnn': cifar_cnn,
  'mlp': mlp,
  'mlp, streamed': partial(mlp, resident=False),
  'batch statistics': partial(mlp, batch_norm=True),
}


def built_on(experiment: Experiment, mesh: str, strategy: str):
  """The experiment built over eight devices, or without a mesh over one; its layout."""
  shape = MeshShape.parse(mesh) if mesh else MeshShape(data=1)
  devices = jax.devices()[:1] if not mesh else None
  here = layout.make_layout(shape, strategy, experiment.rules,
                     devices)._replace(abstract=False)
  return build.build(experiment, here, DataContext(
    None, None, {}, say=lambda _: None)), here


# Widths that eight devices do not divide, or of 31 columns a device (jax#40232).
UNEVEN = {
  'mlp': lambda: dataclasses.replace(mlp(), model=models.Mlp(10, (496, 498))),
  'cnn': lambda: dataclasses.replace(
    cifar_cnn(), model=models.Cnn(10, widths=(12, 62), hidden=(36,))),
}
MESHES = ('', 'data:8', 'data:4,fsdp:2', 'data:2,fsdp:4', 'fsdp:8',
          'data:4,tensor:2', 'data:2,fsdp:2,tensor:2')


def initial(experiment: Experiment, mesh: str) -> dict[str, str]:
  """A hash of the bits of every parameter before the first step."""
  built, here = built_on(experiment, mesh, 'jit')
  traced = trace(built.learner, built.train, {}, here)
  carry = traced.lower['init']().compile()(
    here.replicate(np.asarray(jax.random.PRNGKey(0))))
  return {jax.tree_util.keystr(path, simple=True, separator='/'):
          hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
          for path, leaf in jax.tree.leaves_with_path(carry.state.params)}


def train(experiment: Experiment, mesh: str, strategy: str, microbatches: int) -> dict:
  """The loss of every step, those of an evaluation, and bytes of the parameters."""
  experiment = dataclasses.replace(experiment, accumulate=microbatches)
  built, here = built_on(experiment, mesh, strategy)
  programs = compile_traced(trace(built.learner, built.train, built.evals, here))
  carry = programs.init(here.replicate(np.asarray(jax.random.PRNGKey(0))))
  losses = []
  for step in range(STEPS):
    carry, _ = programs.advance(
      carry, built.train.host_batch(step, 1), 1, True, (0, 0, -1))
    total, count = carry.window['loss']
    losses.append(float(total) / float(count))
  from bigmodels.training import evaluation

  found, outputs = evaluation.evaluate(built, programs, 'test', carry.state)
  built.close()
  params = jax.tree.leaves(carry.state.params)
  counted = len(next(iter(outputs.values())))
  return {'losses': losses, 'evaluated': found, 'counted': counted,
          'bytes': sum(p.addressable_shards[0].data.nbytes for p in params)}


if __name__ == '__main__':  # NAME LAYOUT ..., or initial NAME
  name, *chosen = sys.argv[1:]
  if name == 'initial':
    found = {mesh: initial(UNEVEN[chosen[0]](), mesh) for mesh in MESHES}
  else:
    found = {key: train(EXPERIMENTS[name](), *LAYOUTS[key]) for key in chosen}
  print(json.dumps(found))
