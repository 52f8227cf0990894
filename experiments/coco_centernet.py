"""CenterNet on COCO 2017 (Zhou et al., 2019: AP 28.1 with a ResNet-18).

  python run.py --experiment=coco_centernet --data_dir=DIR --workdir=W

The settings of the paper: images of 512 x 512, 140 epochs, batches of 128. The paper's
network has transposed convolutions where this one has a feature pyramid.

Needs: COCO (TFDS, coco/2017), requirements-detection.txt; several GPUs.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules
from bigmodels.tasks import detectors

# Statistics of the images of ImageNet: red, green, blue, as in other implementations.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def config(*, epochs: float = 140, batch_size: int = 128, width: int = 64,
           size: tuple[int, int] = (512, 512), learning_rate: float = 5e-4,
           workers: int = 8, seed: int = 0) -> Experiment:
  # No image of COCO has more than 93 boxes.
  coco = data.Detection(data.boxes.TfdsObjects('coco/2017'), size=size, max_objects=100)
  standardize = partial(transforms.standardize, mean=MEAN, std=STD)
  return Experiment(
    model=partial(models.CenterNet, body=models.ResNet(None, depth=18, width=width),
                  width=width),
    task=partial(tasks.detection, detector=detectors.centernet),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.step, peak=learning_rate, warmup=1 / 140, at=(90 / 140, 120 / 140))),
    train=data.Batches(
      source=coco.split('train'), batch_size=batch_size, workers=workers,
      transforms=(transforms.flip, partial(transforms.scale, low=0.6, high=1.4),
                  partial(transforms.translate, fraction=0.1),
                  partial(transforms.colour, brightness=0.4, contrast=0.4,
                          saturation=0.4),
                  standardize)),
    evals={'validation': data.Batches(
      source=coco.split('validation'), batch_size=64, workers=workers,
      transforms=(standardize,))},
    evaluate_every=Duration(epochs=10),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.DETECTION,
    seed=seed)
