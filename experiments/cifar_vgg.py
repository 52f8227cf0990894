"""VGG-16 on CIFAR-10, with batch normalization and without wide dense layers.

Needs: CIFAR-10 (TFDS); a GPU, 19 minutes an epoch on one core.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, epochs: float = 30, batch_size: int = 128, learning_rate: float = 0.05,
           weight_decay: float = 0.0005, smoothing: float = 0.1,
           seed: int = 0) -> Experiment:
  cifar = data.Tfds('cifar10')
  return Experiment(
    model=models.Vgg(num_outputs=10, depth=16, hidden=(), batch_norm=True),
    task=partial(tasks.classification, smoothing=smoothing),
    optimizer=partial(
      optax.chain, partial(optim.l2, weight_decay), partial(
        optax.sgd, momentum=0.9, nesterov=True, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.1))),
    train=data.Batches(
      source=cifar.split('train'), batch_size=batch_size,
      transforms=(transforms.flip,
                  partial(transforms.shift, pixels=4, padding='reflect'),
                  transforms.standardize)),
    evals={'test': data.Batches(
      source=cifar.split('test'), batch_size=500,
      transforms=(transforms.standardize,))},
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.VGG,
    seed=seed)
