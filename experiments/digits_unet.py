"""A U-Net that finds and reads the digits on canvases, pixel by pixel; no download.

  python run.py --experiment=digits_unet --workdir=runs/digits
  python run.py --workdir=runs/digits --mode=predict --input='DIR/*.png' --output=masks

The canvases are made of scikit-learn's digits, with exact masks; see
`data.DigitMasks`. --config.dice=0 trains with the cross-entropy alone.

Needs: no download.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, epochs: float = 10, batch_size: int = 32, width: int = 16,
           halvings: int = 3, dice: float = 1.0, learning_rate: float = 2e-3,
           seed: int = 0) -> Experiment:
  canvases = data.DigitMasks()
  return Experiment(
    model=partial(models.SegmentationUnet, width=width, halvings=halvings),
    task=partial(tasks.segmentation, dice=dice),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.05)),
    train=data.Batches(
      source=canvases.split('train'), batch_size=batch_size,
      transforms=(partial(transforms.with_masks, transforms=(
        partial(transforms.shift, pixels=8),)),)),
    evals={'test': data.Batches(source=canvases.split('test'), batch_size=100)},
    evaluate_every=Duration(epochs=2),
    log_every=Duration(steps=20),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.SEGMENTATION,
    seed=seed)
