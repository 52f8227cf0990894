"""CenterNet on blood cells: boxes around red and white cells, and platelets.

  python run.py --experiment=bccd_centernet --data_dir=DIR

A small residual network and a feature pyramid, from scratch, on 205 images of 0.4
times their size.

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


def config(*, epochs: float = 150, batch_size: int = 8, width: int = 16,
           size: tuple[int, int] = (192, 256), learning_rate: float = 2e-3,
           seed: int = 0) -> Experiment:
  bccd = data.Detection(data.boxes.TfdsObjects('bccd'), size=size)
  return Experiment(
    model=partial(models.CenterNet, body=models.ResNet(None, depth=18, width=width),
                  width=2 * width),
    task=partial(tasks.detection, detector=detectors.centernet),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(10.0), partial(
        optax.adamw, weight_decay=1e-2, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.05))),
    train=data.Batches(
      source=bccd.split('train'), batch_size=batch_size,
      transforms=(transforms.flip, partial(transforms.scale, low=0.7, high=1.4),
                  partial(transforms.translate, fraction=0.15),
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
