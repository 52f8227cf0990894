"""A detector of rectangles that trains in a moment."""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.tasks import detectors


def config() -> Experiment:
  pictures = data.Detection(data.boxes.TfdsObjects('rectangles'), size=(32, 48))
  standardize = partial(transforms.standardize, mean=100.0, std=50.0)
  return Experiment(
    model=partial(models.CenterNet, body=models.CifarResNet(None, depth=8, width=4),
                  width=4, strides=(4,)),
    task=partial(tasks.detection, detector=detectors.centernet, max_boxes=6),
    optimizer=partial(optax.adam, 1e-2),
    train=data.Batches(source=pictures, batch_size=4,
                       transforms=(transforms.flip, standardize)),
    evals={'test': data.Batches(source=pictures.split('test'), batch_size=4,
                                transforms=(standardize,))},
    duration=Duration(steps=2))
