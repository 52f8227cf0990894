"""A diffusion model on the digits of scikit-learn; no download.

  python run.py --experiment=digits_ddpm

`--config.classifier=WORKDIR`, a run of `digits_cnn`, evaluates its images.

Needs: no download; 11 minutes on two busy cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.optim import schedules
from bigmodels.tasks import samplers


def config(*, epochs: float = 200, batch_size: int = 64, width: int = 32,
           learning_rate: float = 1e-3, steps: int = 20, guidance: float = 1.0,
           classifier: str | None = None, seed: int = 0) -> Experiment:
  digits = data.Digits()
  centred = partial(transforms.standardize, mean=(8.0,), std=(8.0,))
  return Experiment(
    model=partial(models.DiffusionUnet, classes=10, width=width, multipliers=(1, 2),
                  blocks=1, attention=(1,)),
    task=partial(tasks.diffusion, classifier=classifier, guidance=guidance, white=16,
                 sampler=partial(samplers.dpm_solver, steps=steps)),
    average=0.999,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.02))),
    train=data.Batches(source=digits.split('train'), batch_size=batch_size,
                       transforms=(centred,)),
    evals={'test': data.Batches(source=digits.split('test'), batch_size=360,
                                transforms=(centred,))},
    evaluate_every=Duration(epochs=50),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    seed=seed)
