"""Embeddings of faces (FaceNet), trained on some people of LFW and tested on others.

  python run.py --experiment=lfw_facenet --data_dir=DIR      # DIR: lfw/
  python run.py --experiment=lfw_facenet --config.loss=arc_face
  python run.py --experiment=lfw_facenet --config.path=people.csv --config.pairs=p.csv

`people.csv` has the columns file, person and split (train and test), or is a folder
PERSON/NAME; no person is in two splits. A tenth of the people of train is held out for
validation, on whose pairs the threshold is chosen. `p.csv` has the columns a, b and
same, the pairs of the test; without it pairs are drawn.

Needs: faces of LFW (--data_dir, files).
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, losses, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


def config(*, path: str | None = None, pairs: str | None = None,
           label_column: str = 'person', size: int = 64,
           loss: Literal['triplet', 'supervised_contrastive', 'arc_face'] = 'triplet',
           mining: Literal['all', 'semi_hard', 'batch_hard'] = 'semi_hard',
           people: int = 32, each: int = 4, min_examples: int = 2, width: int = 128,
           channels: int = 32, epochs: float = 60, learning_rate: float = 2e-3,
           weight_decay: float = 0.05, seed: int = 0) -> Experiment:
  if each < 2 and loss != 'arc_face':
    raise ValueError(f'each: must be >= 2 for positives of {loss}, got {each}')
  if path is None:
    path, pairs = 'lfw/index.csv', pairs or 'lfw/pairs_test.csv'
  faces = data.ImageFolder(path, size=size, channels=3, label_column=label_column,
                           divide='classes', splits=SPLITS)
  network = partial(models.ResNet, depth=18, width=channels, zero_init=True)
  return Experiment(
    model=partial(models.WithPrototypes, network, width=width) if loss == 'arc_face'
    else partial(network, num_outputs=width),
    task=partial(tasks.embedding, test_time=data.test_time.mirrored, loss={
      'triplet': partial(losses.triplet, mining=mining),
      'supervised_contrastive': losses.supervised_contrastive,
      'arc_face': losses.arc_face}[loss]),
    optimizer=partial(
      optax.adamw, weight_decay=weight_decay, mask=optim.weights,
      learning_rate=partial(schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=data.PerClass(faces.split('train'), each=each, min_examples=min_examples),
      batch_size=people * each,
      transforms=(transforms.flip,
                  partial(transforms.shift, pixels=max(1, size // 16),
                          padding='reflect'),
                  partial(transforms.colour, brightness=0.3, contrast=0.3),
                  partial(transforms.erase, probability=0.5),
                  transforms.standardize)),
    evals={
      name: data.Batches(
        source=data.Pairs(faces.split(name), pairs if name == 'test' else None),
        batch_size=256, transforms=(transforms.standardize,))
      for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/roc_auc', goal='max'),
    rules=sharding_rules.EMBEDDING,
    seed=seed)
