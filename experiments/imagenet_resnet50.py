"""ResNet-50 on ImageNet: 76.4 % in 90 epochs (Goyal et al., 2017, table 1).

  python run.py --experiment=imagenet_resnet50 --mode=download --data_dir=DIR
  python run.py --experiment=imagenet_resnet50 --data_dir=DIR --workdir=W

Their settings for 256 images per step (*Accurate, large minibatch SGD*, section 5.1),
with 5 epochs of warm-up. Scale the learning rate with the batch size:
--config.batch_size=1024 --config.learning_rate=0.4. The dataset must first be
downloaded manually from image-net.org; TFDS prints where to put it.

Needs: ImageNet (TFDS, downloaded by hand); several GPUs.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import images, transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

# Statistics of the training images: red, green, blue, as in other implementations.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def config(*, epochs: float = 90, batch_size: int = 256, learning_rate: float = 0.1,
           weight_decay: float = 1e-4, size: int = 224, shorter: int = 256,
           workers: int = 8, seed: int = 0) -> Experiment:
  imagenet = partial(data.Tfds, 'imagenet2012')
  standardize = partial(transforms.standardize, mean=MEAN, std=STD)
  return Experiment(
    model=models.ResNet(num_outputs=1000, depth=50, zero_init=True),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, partial(optim.l2, weight_decay), partial(
        optax.sgd, momentum=0.9, nesterov=True, learning_rate=partial(
          schedules.step, peak=learning_rate, warmup=5 / 90,
          at=(30 / 90, 60 / 90, 80 / 90)))),
    train=data.Batches(
      source=imagenet('train', fit=partial(images.random_resized_crop, size=size)),
      batch_size=batch_size, workers=workers,
      transforms=(transforms.flip, standardize)),
    evals={'validation': data.Batches(
      source=imagenet('validation', fit=partial(images.centre_crop, size=size,
                                                shorter=shorter)),
      batch_size=256, workers=workers, transforms=(standardize,))},
    evaluate_every=Duration(epochs=1),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.CNN,
    seed=seed)
