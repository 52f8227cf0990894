"""A small network on pictures that TFDS has prepared, decoded into the cache."""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, steps: int = 12) -> Experiment:
  pets = data.Tfds('pets')

  def batches(split):
    return data.Batches(source=pets.split(split), batch_size=10,
                        transforms=(transforms.standardize,))

  return Experiment(
    model=partial(models.Mlp, widths=(8,)),
    task=tasks.classification,
    optimizer=partial(optax.adam, 1e-2),
    train=batches('train'), evals={'test': batches('test')},
    evaluate_every=Duration(steps=6), checkpoint_every=Duration(steps=6),
    duration=Duration(steps=steps))
