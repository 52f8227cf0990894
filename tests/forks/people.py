"""Embeddings of small pictures of people: the tests train it in seconds."""

from functools import partial

import optax

from bigmodels import data, losses, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms


def config(*, path: str, pairs: str | None = None, loss: str = 'triplet',
           steps: int = 60, checkpoint: int = 20) -> Experiment:
  faces = data.ImageFolder(path, label_column='person', divide='classes')
  network = partial(models.Cnn, widths=(8,), hidden=(), batch_norm=True, pool=4)
  return Experiment(
    model=partial(models.WithPrototypes, network, width=6) if loss == 'arc_face'
    else partial(network, num_outputs=6),
    task=partial(tasks.embedding, nearest=2, loss=getattr(losses, loss)),
    optimizer=partial(optax.adam, 1e-2),
    train=data.Batches(source=data.PerClass(faces.split('train'), each=3),
                       batch_size=12, transforms=(transforms.standardize,)),
    evals={name: data.Batches(
      source=data.Pairs(faces.split(name), pairs if name == 'test' else None, 40),
      batch_size=16, transforms=(transforms.standardize,))
      for name in ('validation', 'test')},
    evaluate_every=Duration(steps=30), log_every=Duration(steps=10),
    checkpoint_every=Duration(steps=checkpoint), duration=Duration(steps=steps),
    monitor=Monitor(metric='validation/roc_auc', goal='max'))
