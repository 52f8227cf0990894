"""Four classes of CIFAR-10 from a few examples, after learning on the six others.

  python run.py --experiment=cifar_transfer --data_dir=DIR --workdir=runs/six \\
    --config.pretrain=True --config.steps=3000
  python run.py --experiment=cifar_transfer --data_dir=DIR --init_from=runs/six
  python run.py --experiment=cifar_transfer --data_dir=DIR

The second command loads everything except the head from the first run; the third one
learns from scratch. --config.body=0 freezes the loaded layers, including their batch
statistics; 0.1 trains them at a tenth of the learning rate of the head.

Needs: CIFAR-10 (TFDS).
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

SIX = ('airplane', 'bird', 'cat', 'deer', 'frog', 'ship')
FOUR = ('automobile', 'dog', 'horse', 'truck')
BODY = '(stem|stage).*'


def config(*, pretrain: bool = False, each: int = 25, steps: int = 300,
           batch_size: int = 100, body: float = 1.0, learning_rate: float = 0.05,
           weight_decay: float = 0.0005, depth: int = 8, init_from: str | None = None,
           seed: int = 0) -> Experiment:
  cifar = data.Tfds('cifar10')
  if not body and not init_from:
    raise ValueError('body=0 freezes the layers: needs --init_from')
  classes = SIX if pretrain else FOUR
  return Experiment(
    model=partial(models.CifarResNet, num_outputs=len(classes), depth=depth),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, partial(optim.l2, weight_decay), partial(
        optax.sgd, momentum=0.9, nesterov=True, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
      partial(optim.multiply_rate, BODY, factor=body)),
    train=data.Batches(
      source=data.Subset(cifar.split('train'), classes, None if pretrain else each),
      batch_size=batch_size,
      transforms=(transforms.flip,
                  partial(transforms.shift, pixels=4, padding='reflect'),
                  transforms.standardize)),
    evals={'test': data.Batches(
      source=data.Subset(cifar.split('test'), classes), batch_size=500,
      transforms=(transforms.standardize,))},
    init_from=init_from,
    init_pattern=BODY,
    freeze=None if body else BODY,
    evaluate_every=Duration(steps=100),
    log_every=Duration(steps=100),
    duration=Duration(steps=steps),
    rules=sharding_rules.CNN,
    seed=seed)
