"""Experiments outside of `experiments/`, in a scratch folder."""

import pathlib
import textwrap

from bigmodels.config import config_file, source
from bigmodels.config.resolving import Resolved
from bigmodels.config.source import Source
from bigmodels.config.trust import Trust

FORK = '''
"""A fork."""
import dataclasses
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def my_relu(x):
  return jax.nn.relu(x)

def my_rate(steps, *, peak):
  return peak

class MyModel(nn.Module):
  outputs: int
  activation: Callable = my_relu
  width: int = 8

@dataclasses.dataclass(frozen=True)
class MySource:
  folder: str = 'a = "b"\\n#'

def config(*, width: int = WIDTH, rate: float = 0.1, name='x', seed: int = 0,
           function: Callable = my_relu):
  arrays = data.Arrays(inputs=np.full((4, 2), float(width)), labels=np.arange(4))
  return Experiment(
    model=MyModel(outputs=2, activation=function, width=width),
    task=tasks.classification,
    optimizer=partial(optax.chain, optax.identity, partial(
      optax.sgd, learning_rate=partial(my_rate, peak=rate))),
    train=data.Batches(source=arrays, batch_size=2),
    evals={'test': data.Batches(source=MySource(), batch_size=2)},
    duration=Duration(epochs=1), seed=seed)
'''


def write(path: pathlib.Path, text: str) -> str:
  """Writes a file, and the folders above it; returns its path."""
  path.parent.mkdir(exist_ok=True, parents=True)
  path.write_text(textwrap.dedent(text))
  return str(path)


def reread(resolved: Resolved, overrides: dict[str, str] | None = None) -> Resolved:
  """An experiment read from its own text."""
  return config_file.from_text(
    config_file.to_text(resolved), 'config.txt', overrides or {},
    trusted=Trust(everything=True))


def write_all(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
  """Writes files by their names in a folder; returns the folder."""
  for name, text in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding='utf-8')
  return folder


def source_of(folder: pathlib.Path, files: dict[str, str], main: str = 'mine.py'
              ) -> Source:
  """Writes files, and reads the code of the one called `main`."""
  path = (write_all(folder, files) / main).resolve()
  return source.read(str(path), path)
