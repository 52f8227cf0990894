"""Three convolutions on MNIST: 5 epochs, about a minute on two cores.

With `--config.generated=WORKDIR`, a run of `mnist_dcgan` for example, it learns only
from generated images. The test accuracy is then the classification accuracy score of
that generator (Ravuri and Vinyals, 2019).

Needs: MNIST (TFDS); 36 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, epochs: float = 5, batch_size: int = 64, learning_rate: float = 2e-3,
           pixels: int = 1, generated: str | None = None, seed: int = 0) -> Experiment:
  mnist = data.Tfds('mnist')
  train = data.Generated(generated) if generated else mnist.split('train')
  return Experiment(
    model=models.Cnn(num_outputs=10, widths=(32, 64, 64), padding='VALID',
                     pool=(2, 2, 1), hidden=(64,)),
    task=tasks.classification,
    optimizer=partial(optax.adamw, weight_decay=1e-2, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=train, batch_size=batch_size,
      transforms=(partial(transforms.shift, pixels=pixels), transforms.standardize)),
    evals={'test': data.Batches(
      source=mnist.split('test'), batch_size=500,
      transforms=(transforms.standardize,))},
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.CNN,
    seed=seed)
