"""SRGAN: images four times larger, with detail as in real ones.

  python run.py --experiment=srresnet_x4 --data_dir=DIR --workdir=runs/srresnet
  python run.py --experiment=srgan_x4 --data_dir=DIR --init_from=runs/srresnet \\
    --workdir=runs/srgan

By default content is compared by pixels. To compare it by features, as published, give
both runs --config.features: `cifar_vgg` and a run of that experiment, or `vgg19` and
weights of torchvision's, as the --init_from of the first. Without --init_from, all
parameters begin at random.

Needs: T91, BSDS, Set5, Set14 (--data_dir, files), or any images; a GPU.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

FEATURES = {'none': None, 'cifar_vgg': models.CifarVggFeatures,
            'vgg19': models.Vgg19Features}
CONTENT = {
  'none': tasks.adversarial_super_resolution,
  'cifar_vgg': partial(tasks.adversarial_super_resolution, layer='relu5_3',
                       content_weight=0.006),
  'vgg19': partial(tasks.adversarial_super_resolution, layer='relu5_4',
                   content_weight=0.006)}


def config(*, paths: tuple[str, ...] = ('sr/t91', 'sr/bsd_train'), scale: int = 4,
           features: Literal['none', 'cifar_vgg', 'vgg19'] = 'none',
           steps: int = 200_000, batch_size: int = 16, patch: int = 24,
           depth: int = 16, width: int = 64, adversarial_weight: float = 1e-3,
           learning_rate: float = 1e-4, seed: int = 0) -> Experiment:
  adam = partial(optax.adam, learning_rate=partial(
    schedules.step, peak=learning_rate, at=(0.5,)))
  return Experiment(
    model=partial(
      models.SrGan, generator=partial(models.SrResNet, depth=depth, width=width),
      discriminator=models.SrDiscriminator(), features=FEATURES[features]),
    task=partial(CONTENT[features], adversarial_weight=adversarial_weight),
    learner=partial(learners.adversarial, discriminator_optimizer=adam),
    optimizer=adam,
    train=data.Batches(
      source=data.Downscaled(paths, scale), batch_size=batch_size,
      transforms=(partial(transforms.paired_crop, size=patch), transforms.dihedral)),
    evals={name: data.Batches(source=data.Downscaled(f'sr/{name}', scale), batch_size=1)
           for name in ('set5', 'set14')},
    evaluate_every=Duration(steps=max(1, steps // 10)),
    log_every=Duration(steps=100),
    duration=Duration(steps=steps),
    average=0.999,
    init_pattern='(generator|features)/.*',
    rules=sharding_rules.SRGAN,
    seed=seed)
