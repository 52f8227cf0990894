"""ViT-S/16 on ImageNet: 76.5 % in 90 epochs, 80.0 in 300 (Beyer et al., 2022).

  python run.py --experiment=imagenet_vit_s16 --mode=download --data_dir=DIR
  python run.py --experiment=imagenet_vit_s16 --data_dir=DIR --workdir=W

The settings of *Better plain ViT baselines for ImageNet-1k*; their weight decay of
1e-4, which the learning rate does not multiply, is 0.1 for AdamW, and their 10,000
steps of warm-up are 0.089 of the 90 epochs. The dataset must first be downloaded by
hand from image-net.org; TFDS prints where to put it.

Needs: ImageNet (TFDS, downloaded by hand); several GPUs.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import images, transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, epochs: float = 90, batch_size: int = 1024, learning_rate: float = 1e-3,
           weight_decay: float = 0.1, warmup: float = 0.089, layers: int = 2,
           magnitude: float = 10.0, mixup: float = 0.2, size: int = 224,
           shorter: int = 256, workers: int = 16, seed: int = 0) -> Experiment:
  imagenet = partial(data.Tfds, 'imagenet2012')
  standardize = partial(transforms.standardize, mean=127.5, std=127.5)
  return Experiment(
    model=partial(models.VitS, num_outputs=1000, size=size, patch=16, pooling='mean',
                  positions='sincos'),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, weight_decay=weight_decay, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=warmup))),
    train=data.Batches(
      source=imagenet('train', fit=partial(images.random_resized_crop, size=size,
                                           area=(0.05, 1.0))),
      batch_size=batch_size, workers=workers,
      transforms=(transforms.flip,
                  partial(transforms.randaugment, layers=layers, magnitude=magnitude),
                  standardize, partial(transforms.mixup, alpha=mixup))),
    evals={'validation': data.Batches(
      source=imagenet('validation', fit=partial(images.centre_crop, size=size,
                                                shorter=shorter)),
      batch_size=256, workers=workers, transforms=(standardize,))},
    evaluate_every=Duration(epochs=1),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
