"""A diffusion model on MNIST, class-conditional: a U-Net and the cosine schedule.

  python run.py --experiment=mnist_ddpm --data_dir=DIR

`--config.classifier=WORKDIR`, a run of `mnist_cnn`, evaluates the images; see
`mnist_dcgan`. Images are sampled by DPM-Solver++ in `--config.steps` steps. The network
sees patches of 2 x 2 pixels, which saves most of the time of a step on a CPU. On a CPU
with matrix units (AMX) add `--config.precision=bfloat16_products`.

Needs: MNIST (TFDS).
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.optim import schedules
from bigmodels.tasks import samplers


def config(*, epochs: float = 7, batch_size: int = 64, width: int = 64,
           learning_rate: float = 1e-3, steps: int = 20, guidance: float = 1.5,
           classifier: str | None = None, seed: int = 0) -> Experiment:
  mnist = data.Tfds('mnist')
  centred = partial(transforms.standardize, mean=(127.5,), std=(127.5,))
  return Experiment(
    model=partial(models.DiffusionUnet, classes=10, patch=2, width=width,
                  multipliers=(1, 2), blocks=1, attention=(1,), dropout=0.0),
    task=partial(tasks.diffusion, classifier=classifier, guidance=guidance,
                 sampler=partial(samplers.dpm_solver, steps=steps)),
    average=0.999,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.02))),
    train=data.Batches(source=mnist.split('train'), batch_size=batch_size,
                       transforms=(centred,)),
    evals={'test': data.Batches(source=mnist.split('test'), batch_size=500,
                                transforms=(centred,))},
    evaluate_every=Duration(epochs=epochs),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    seed=seed)
