"""ESPCN: images three times larger, from 91 images.

  python run.py --experiment=espcn_x3 --data_dir=DIR  # holds sr/t91, sr/set5, sr/set14
  python run.py --workdir=runs/... --mode=predict --input='DIR/*.jpg' --output=larger

--config.path=FOLDER trains on other images, which need no smaller versions: they are
made. --config.scale=N enlarges N times, from 2 to 8.

Needs: T91, Set5 and Set14 (--data_dir, files), or any images.
"""

from functools import partial

import jax.numpy as jnp
import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str = 'sr/t91', scale: int = 3, steps: int = 12_000,
           batch_size: int = 16, patch: int = 20, learning_rate: float = 1e-2,
           biases: float = 2e-3, seed: int = 0) -> Experiment:
  return Experiment(
    model=models.Espcn,
    task=partial(tasks.super_resolution, error=jnp.square),
    optimizer=partial(
      optim.muon, learning_rate=partial(
        schedules.warmup_cosine, peak=learning_rate, warmup=0.02),
      others=partial(optax.adam, learning_rate=partial(
        schedules.warmup_cosine, peak=biases, warmup=0.02))),
    train=data.Batches(
      source=data.Downscaled(path, scale), batch_size=batch_size,
      transforms=(partial(transforms.paired_crop, size=patch), transforms.dihedral)),
    evals={name: data.Batches(source=data.Downscaled(f'sr/{name}', scale), batch_size=1)
           for name in ('set5', 'set14')},
    evaluate_every=Duration(steps=max(1, steps // 5)),
    log_every=Duration(steps=100),
    duration=Duration(steps=steps),
    average=0.999,
    rules=sharding_rules.SUPER_RESOLUTION,
    seed=seed)
