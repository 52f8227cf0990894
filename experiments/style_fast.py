"""A network that gives any photograph the style of one painting (Johnson et al.).

  python run.py --experiment=cifar_vgg --data_dir=DIR --workdir=runs/vgg
  python run.py --experiment=style_fast --data_dir=DIR --init_from=runs/vgg \\
    --config.style=painting.jpg --workdir=runs/painting
  python run.py --workdir=runs/painting --mode=predict --input='DIR/*.jpg' --output=out

The features that it is trained by are as in `style_gatys`; the network alone makes the
pictures, of photographs of any size.

Needs: photographs and a painting; a run of `cifar_vgg`, or weights of VGG-19.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, photographs: str | tuple[str, ...] = 'sr/bsd_train',
           style: str = 'style/paintings/starry_night.jpg', size: int = 256,
           style_size: int | tuple[int, int] = 256, patch: int = 128,
           features: Literal['cifar_vgg', 'vgg19'] = 'cifar_vgg',
           style_weight: float = 100.0, variation_weight: float = 1.0,
           width: int = 32, depth: int = 5, steps: int = 4000, batch_size: int = 4,
           learning_rate: float = 1e-3, seed: int = 0) -> Experiment:
  return Experiment(
    model=partial(
      models.StyleTransfer, features={
        'cifar_vgg': models.CifarVggFeatures, 'vgg19': models.Vgg19Features}[features],
      network=partial(models.StyleNet, width=width, depth=depth)),
    task=partial(tasks.style_transfer, content=('relu3_3',),
                 style=('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3'),
                 style_weight=style_weight, variation_weight=variation_weight),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.02)),
    train=data.Batches(
      source=data.StylePairs(photographs, style, size, style_size),
      batch_size=batch_size,
      transforms=(partial(transforms.crop, size=patch), transforms.flip)),
    evals={'test': data.Batches(
      source=data.StylePairs('sr/set14', style, 256, style_size), batch_size=1)},
    evaluate_every=Duration(steps=max(1, steps // 5)),
    log_every=Duration(steps=50),
    duration=Duration(steps=steps),
    init_pattern='features/.*',
    freeze='features/.*',
    rules=sharding_rules.STYLE_TRANSFER,
    seed=seed)
