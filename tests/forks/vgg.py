"""A step of a VGG as narrow as can be, on noise, for its features."""

from functools import partial

import numpy as np
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, depth: int = 11, batch_norm: bool = True) -> Experiment:
  rng = np.random.default_rng(0)
  return Experiment(
    model=partial(models.Vgg, depth=depth, width=2, hidden=(), batch_norm=batch_norm),
    task=tasks.classification,
    optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(
      source=data.Arrays(inputs=rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
                         labels=np.arange(8) % 2),
      batch_size=4, transforms=(transforms.standardize,)),
    evals={}, evaluate_every=Duration(steps=2), duration=Duration(steps=2))
