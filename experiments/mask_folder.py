"""A U-Net on a folder of pictures and a folder of their masks, of any size.

  python run.py --experiment=mask_folder --config.images=photos --config.masks=masks
  python run.py --workdir=runs/... --mode=predict --input='DIR/*.jpg' --output=found

A mask is a PNG file with the name of its picture, whose values are classes: grey, or
with a palette. --config.values="(0, 255)" --config.ignore=None reads black and white
masks; --config.classes="('background', 'cell')" names the classes. Pictures are divided
into splits by a fixed rule; training learns from windows of `patch` pixels.

Needs: a folder of pictures and one of masks; a GPU for more than a few hundred.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, images: str = 'photos', masks: str = 'masks',
           classes: tuple[str, ...] | None = None,
           values: tuple[int, ...] | None = None, ignore: int | None = 255,
           suffix: str = '', epochs: float = 100, batch_size: int = 8, patch: int = 128,
           width: int = 16, halvings: int = 4, dice: float = 1.0,
           learning_rate: float = 2e-3, seed: int = 0) -> Experiment:
  folder = data.MaskFolder(
    images, masks, classes=classes, values=values, ignore=ignore, suffix=suffix)
  return Experiment(
    model=partial(models.SegmentationUnet, width=width, halvings=halvings),
    task=partial(tasks.segmentation, dice=dice),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.05)),
    train=data.Batches(
      source=folder.split('train'), batch_size=batch_size,
      transforms=(
        partial(transforms.paired_crop, size=patch),
        partial(transforms.with_masks, transforms=(
          transforms.flip, partial(transforms.rotate, degrees=15))),
        partial(transforms.colour, brightness=0.2, contrast=0.2))),
    evals={name: data.Batches(source=folder.split(name), batch_size=1)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=10),
    monitor=Monitor(metric='validation/mean_iou', goal='max'),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.SEGMENTATION,
    seed=seed)
