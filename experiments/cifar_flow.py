"""Flow matching on CIFAR-10, class-conditional, with guidance.

  python run.py --experiment=cifar_flow --data_dir=DIR
  python run.py --experiment=cifar_flow --data_dir=DIR --config.transformer=True

`--config.classifier=WORKDIR`, a run of `cifar_cnn`, evaluates the images. With
`--config.transformer=True` a DiT takes the place of the U-Net.

Needs: CIFAR-10 (TFDS), and an accelerator: the U-Net has 37 million parameters.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.optim import schedules
from bigmodels.tasks import noising, samplers


def config(*, transformer: bool = False, epochs: float = 400, batch_size: int = 128,
           width: int = 128, learning_rate: float = 2e-4, steps: int = 50,
           guidance: float = 1.5, classifier: str | None = None, seed: int = 0
           ) -> Experiment:
  cifar = data.Tfds('cifar10')
  centred = partial(transforms.standardize, mean=(127.5,) * 3, std=(127.5,) * 3)
  return Experiment(
    model=partial(models.Dit, classes=10, width=3 * width) if transformer else partial(
      models.DiffusionUnet, classes=10, width=width, multipliers=(1, 2, 2, 2),
      attention=(1,)),
    task=partial(tasks.diffusion, schedule=noising.straight,
                 prediction=noising.of_velocity, classifier=classifier,
                 guidance=guidance, sampler=partial(samplers.ddim, steps=steps)),
    average=0.9999,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.02))),
    train=data.Batches(source=cifar.split('train'), batch_size=batch_size,
                       transforms=(transforms.flip, centred)),
    evals={'test': data.Batches(source=cifar.split('test'), batch_size=500,
                                transforms=(centred,))},
    evaluate_every=Duration(epochs=50),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    seed=seed)
