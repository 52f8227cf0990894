"""SRResNet: images four times larger, with the least squared error.

  python run.py --experiment=srresnet_x4 --data_dir=DIR --workdir=runs/srresnet
  python run.py --workdir=runs/srresnet --mode=predict --input='DIR/*.jpg' --output=out

It is the generator that `srgan_x4` begins with. --config.features, with --init_from,
has it bring the features along that content is compared by there.

Needs: T91, BSDS, Set5, Set14 (--data_dir, files), or any images; a GPU.
"""

from functools import partial
from typing import Literal

import jax.numpy as jnp
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules

FEATURES = {'none': None, 'cifar_vgg': models.CifarVggFeatures,
            'vgg19': models.Vgg19Features}


def config(*, paths: tuple[str, ...] = ('sr/t91', 'sr/bsd_train'), scale: int = 4,
           features: Literal['none', 'cifar_vgg', 'vgg19'] = 'none',
           steps: int = 100_000, batch_size: int = 16, patch: int = 24,
           depth: int = 16, width: int = 64, learning_rate: float = 1e-4,
           seed: int = 0) -> Experiment:
  return Experiment(
    model=partial(models.SrGan, features=FEATURES[features], generator=partial(
      models.SrResNet, depth=depth, width=width)),
    task=partial(tasks.super_resolution, error=jnp.square),
    optimizer=partial(optax.adam, learning_rate=learning_rate),
    train=data.Batches(
      source=data.Downscaled(paths, scale), batch_size=batch_size,
      transforms=(partial(transforms.paired_crop, size=patch), transforms.dihedral)),
    evals={name: data.Batches(source=data.Downscaled(f'sr/{name}', scale), batch_size=1)
           for name in ('set5', 'set14')},
    evaluate_every=Duration(steps=max(1, steps // 10)),
    log_every=Duration(steps=100),
    duration=Duration(steps=steps),
    average=0.999,
    init_pattern='.*' if features == 'none' else 'features/.*',
    freeze=None if features == 'none' else 'features/.*',
    rules=sharding_rules.SRGAN,
    seed=seed)
