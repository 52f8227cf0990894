"""Everything that could break an exact resume, small: the tests train it."""

from functools import partial

import flax.linen as nn
import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms
from bigmodels.optim import schedules


def config(*, steps: int = 150, learning_rate: float = 5e-3, resident: bool = True,
           checkpoint: int = 10, patience: int | None = None,
           width: int = 4) -> Experiment:
  digits = data.Digits(splits={'train': 0.6, 'validation': 0.2, 'test': 0.2})

  def batches(split, size, *augmentation):
    return data.Batches(
      source=digits.split(split), batch_size=size, resident=resident,
      transforms=(*augmentation, transforms.standardize))

  return Experiment(
    model=models.Cnn(num_outputs=10, widths=(width,), hidden=(8,), dropout=0.2,
                     batch_norm=True, activation=nn.gelu),
    task=tasks.classification,
    optimizer=partial(
      optax.chain,
      partial(optax.adam, partial(schedules.warmup_cosine, peak=learning_rate)),
      partial(optim.reduce_on_plateau, patience=2)),
    train=batches('train', 50, partial(transforms.shift, pixels=1)),
    evals={'validation': batches('validation', 100), 'test': batches('test', 77)},
    evaluate_every=Duration(epochs=0.5),
    log_every=Duration(steps=7),
    checkpoint_every=Duration(steps=checkpoint),
    monitor=Monitor(metric='validation/loss', goal='min', patience=patience),
    duration=Duration(steps=steps),
    seed=3)
