"""A small residual network on a folder of pictures of any size.

  python run.py --experiment=image_folder --config.path=photos     # photos/CLASS/NAME
  python run.py --experiment=image_folder --config.path=labels.csv --config.size=128

The folder may have train/, validation/ and test/, with a folder for each class in them;
what is missing is divided by a fixed rule. A CSV file has the columns file and label,
and perhaps split; --config.task=regression if its labels are numbers. The batch size is
64, or an eighth of the training split if that is smaller.

Needs: a folder of pictures, or a CSV file of them; a GPU for more than a few thousand.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms
from bigmodels.optim import schedules

SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


def config(*, path: str | tuple[str, ...] = 'photos', size: int = 64,
           task: Literal['classification', 'regression'] = 'classification',
           file_column: str = 'file', label_column: str = 'label',
           duplicates: Literal['refuse', 'drop'] = 'refuse', epochs: float = 30,
           batch_size: int | None = None, learning_rate: float = 2e-3,
           weight_decay: float = 0.05, smoothing: float = 0.1,
           seed: int = 0) -> Experiment:
  folder = data.ImageFolder(
    path, size=size, task=task, splits=SPLITS, duplicates=duplicates,
    file_column=file_column, label_column=label_column)
  shift = partial(transforms.shift, pixels=max(1, size // 8), padding='reflect')
  return Experiment(
    model=partial(models.ResNet, depth=18, width=32, zero_init=True,
                  stem='imagenet' if size >= 64 else 'cifar'),
    task=partial(tasks.classification, smoothing=smoothing)
    if task == 'classification' else tasks.regression,
    optimizer=partial(
      optax.adamw, weight_decay=weight_decay, mask=optim.weights,
      learning_rate=partial(schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=folder.split('train'),
      batch_size=(partial(data.at_most, examples=64) if batch_size is None
                  else batch_size),
      transforms=(transforms.flip, shift, transforms.standardize)),
    evals={name: data.Batches(
      source=folder.split(name), batch_size=256,
      transforms=(transforms.standardize,)) for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/loss', goal='min'),
    seed=seed)
