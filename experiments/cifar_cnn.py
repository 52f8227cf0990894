"""Two convolutions (64, 128) and a dense layer (1024) on CIFAR-10, regularized.

Needs: CIFAR-10 (TFDS); 7 s on an H100, 18 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, epochs: float = 20, batch_size: int = 64, learning_rate: float = 1e-3,
           weight_decay: float = 5e-2, pixels: int = 3, seed: int = 0) -> Experiment:
  cifar = data.Tfds('cifar10')
  return Experiment(
    model=models.Cnn(num_outputs=10, widths=(64, 128), hidden=(1024,), dropout=0.5),
    task=tasks.classification,
    optimizer=partial(
      optax.adamw, weight_decay=weight_decay, mask=optim.weights,
      learning_rate=partial(schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=cifar.split('train'), batch_size=batch_size,
      transforms=(transforms.flip, partial(transforms.shift, pixels=pixels),
                  transforms.standardize)),
    evals={'test': data.Batches(
      source=cifar.split('test'), batch_size=500,
      transforms=(transforms.standardize,))},
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.CNN,
    seed=seed)
