"""EDSR, small: images twice as large, from 191 images.

  python run.py --experiment=edsr_x2 --data_dir=DIR  # holds sr/t91, sr/bsd_train, ...
  python run.py --workdir=runs/... --mode=predict --input='DIR/*.jpg' --output=larger

--config.paths="('FOLDER',)" trains on other images, which need no smaller versions:
they are made. --config.scale is 2, 3 or 4. --config.depth=16 --config.width=64 is the
baseline of the paper, for a GPU.

Needs: T91, BSDS, Set5, Set14 (--data_dir, files), or any images.
"""

from functools import partial

import jax.numpy as jnp
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, paths: tuple[str, ...] = ('sr/t91', 'sr/bsd_train'), scale: int = 2,
           steps: int = 8000, batch_size: int = 8, patch: int = 32, depth: int = 6,
           width: int = 32, learning_rate: float = 1e-3, seed: int = 0) -> Experiment:
  return Experiment(
    model=partial(models.Edsr, depth=depth, width=width),
    task=partial(tasks.super_resolution, error=jnp.abs),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.02))),
    train=data.Batches(
      source=data.Downscaled(paths, scale), batch_size=batch_size,
      transforms=(partial(transforms.paired_crop, size=patch), transforms.dihedral)),
    evals={name: data.Batches(source=data.Downscaled(f'sr/{name}', scale), batch_size=1)
           for name in ('set5', 'set14')},
    evaluate_every=Duration(steps=max(1, steps // 4)),
    log_every=Duration(steps=50),
    duration=Duration(steps=steps),
    average=0.999,
    rules=sharding_rules.SUPER_RESOLUTION,
    seed=seed)
