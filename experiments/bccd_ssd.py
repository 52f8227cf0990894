"""SSD with a MobileNet on blood cells: boxes around cells and platelets.

  python run.py --experiment=bccd_ssd --data_dir=DIR

From scratch, on 205 images of 0.4 times their size.

Needs: BCCD (TFDS), requirements-detection.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules
from bigmodels.tasks import detectors


def config(*, epochs: float = 150, batch_size: int = 8, multiplier: float = 0.5,
           width: int = 64, size: tuple[int, int] = (192, 256),
           learning_rate: float = 2e-3, seed: int = 0) -> Experiment:
  bccd = data.Detection(data.boxes.TfdsObjects('bccd'), size=size)
  return Experiment(
    model=partial(
      models.Ssd, body=models.MobileNetV1(None, multiplier=multiplier, momentum=0.9),
      width=width, strides=(8, 16, 32)),
    task=partial(tasks.detection, detector=detectors.ssd),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(10.0), partial(
        optax.adamw, weight_decay=1e-2, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.05))),
    train=data.Batches(
      source=bccd.split('train'), batch_size=batch_size,
      transforms=(transforms.flip, transforms.mosaic,
                  partial(transforms.scale, low=0.7, high=1.4),
                  partial(transforms.colour, brightness=0.2, contrast=0.2,
                          saturation=0.2),
                  transforms.standardize)),
    evals={name: data.Batches(source=bccd.split(name), batch_size=12,
                              transforms=(transforms.standardize,))
           for name in ('validation', 'test')},
    monitor=Monitor(metric='validation/ap50', goal='max'),
    average=0.998,
    evaluate_every=Duration(epochs=10),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.DETECTION,
    seed=seed)
