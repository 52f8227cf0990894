"""A small vision transformer on CIFAR-10, from scratch.

Without a convolution's bias towards neighbouring pixels it needs more epochs and
stronger augmentation than the other networks here (Steiner et al., *How to train your
ViT?*, 2022).

Needs: CIFAR-10 (TFDS); a GPU, 20 minutes an epoch on one core.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, epochs: float = 100, batch_size: int = 128, depth: int = 6,
           width: int = 192, heads: int = 3, patch: int = 4,
           learning_rate: float = 1e-3, weight_decay: float = 5e-2,
           smoothing: float = 0.1, seed: int = 0) -> Experiment:
  cifar = data.Tfds('cifar10')
  return Experiment(
    model=partial(models.Vit, num_outputs=10, size=32, patch=patch, depth=depth,
                  width=width, heads=heads, pooling='mean', dropout=0.1, unroll=True),
    task=partial(tasks.classification, smoothing=smoothing),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, weight_decay=weight_decay, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(
      source=cifar.split('train'), batch_size=batch_size,
      transforms=(transforms.flip, partial(transforms.shift, pixels=4),
                  partial(transforms.randaugment, layers=2, magnitude=3.0),
                  transforms.standardize)),
    evals={'test': data.Batches(
      source=cifar.split('test'), batch_size=500,
      transforms=(transforms.standardize,))},
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
