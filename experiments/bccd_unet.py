"""A U-Net that finds blood cells, pixel by pixel, learned from boxes (BCCD).

  python run.py --experiment=bccd_unet --data_dir=DIR --workdir=runs/cells
  python run.py --workdir=runs/cells --mode=predict --input='DIR/*.jpg' --output=masks

BCCD has boxes and no masks. The masks here are ellipses in the boxes: weak labels, and
so are those that the test IoU is measured with; see `data.EllipseMasks`.

Needs: BCCD (TFDS).
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, steps: int = 1500, batch_size: int = 8, patch: int = 128, width: int = 16,
           halvings: int = 4, dice: float = 1.0, learning_rate: float = 2e-3,
           seed: int = 0) -> Experiment:
  cells = data.EllipseMasks('bccd')
  return Experiment(
    model=partial(models.SegmentationUnet, width=width, halvings=halvings),
    task=partial(tasks.segmentation, dice=dice),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.05)),
    train=data.Batches(
      source=cells.split('train'), batch_size=batch_size,
      transforms=(partial(transforms.paired_crop, size=patch), transforms.dihedral,
                  partial(transforms.colour, brightness=0.2, contrast=0.2,
                          saturation=0.2))),
    evals={name: data.Batches(source=cells.split(name), batch_size=1)
           for name in ('validation', 'test')},
    evaluate_every=Duration(steps=max(1, steps // 3)),
    log_every=Duration(steps=50),
    duration=Duration(steps=steps),
    rules=sharding_rules.SEGMENTATION,
    seed=seed)
