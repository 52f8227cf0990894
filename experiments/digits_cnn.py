"""A small convolutional network on the digits of scikit-learn; no download.

Needs: no download; 2 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.optim import schedules


def config(*, epochs: float = 15, batch_size: int = 32, learning_rate: float = 6e-3,
           seed: int = 0) -> Experiment:
  digits = data.Digits()
  return Experiment(
    model=models.Cnn(num_outputs=10, widths=(32, 64), pool=(1, 2), hidden=(64,),
                     dropout=0.3),
    task=tasks.classification,
    optimizer=partial(optax.adamw, weight_decay=1e-2, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=digits.split('train'), batch_size=batch_size,
      transforms=(transforms.standardize, partial(transforms.shift, pixels=1))),
    evals={'test': data.Batches(
      source=digits.split('test'), batch_size=360,
      transforms=(transforms.standardize,))},
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    seed=seed)
