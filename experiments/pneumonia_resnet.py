"""Pneumonia or not, of chest X-rays of children (PneumoniaMNIST): a residual network.

  python run.py --experiment=pneumonia_resnet --data_dir=DIR --workdir=runs/pneumonia
  python run.py --workdir=runs/pneumonia --mode=predict --input=DIR --output=found.csv

DIR holds pneumonia/pneumoniamnist.npz (Yang et al., *MedMNIST v2*, 2023). After
training, the temperature of the probabilities is fitted on the validation split, and
the threshold chosen there that has the largest sensitivity at the specificity; the
report and test metrics are of both. It shows how such data is worked on, and is not
for use: docs/medicine.md says why.

Needs: the file (--data_dir, files).
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str = 'pneumonia/pneumoniamnist.npz', epochs: float = 30,
           batch_size: int = 64, depth: int = 20, width: int = 16,
           learning_rate: float = 0.1, weight_decay: float = 5e-4,
           specificity: float = 0.9, seed: int = 0) -> Experiment:
  xrays = data.MedMnist(path, classes=('normal', 'pneumonia'))
  return Experiment(
    model=partial(models.CifarResNet, depth=depth, width=width),
    task=partial(tasks.classification, class_weights='balanced', temperature='fit',
                 threshold='sensitivity', specificity=specificity),
    optimizer=partial(
      optax.chain, partial(optim.l2, weight_decay), partial(
        optax.sgd, momentum=0.9, nesterov=True, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.1))),
    train=data.Batches(
      source=xrays.split('train'), batch_size=batch_size,
      transforms=(
        partial(transforms.rotate, degrees=10),
        partial(transforms.shift, pixels=3, padding='reflect'),
        partial(transforms.colour, brightness=0.2, contrast=0.2),
        transforms.standardize)),
    evals={name: data.Batches(source=xrays.split(name), batch_size=256,
                              transforms=(transforms.standardize,))
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=5),
    log_every=Duration(steps=50),
    duration=Duration(epochs=epochs),
    average=0.999,
    rules=sharding_rules.CNN,
    seed=seed)
