"""Classifies CIFAR-10 by the names of its classes: the network of cifar_cnn, and texts.

  python run.py --experiment=cifar_zeroshot --data_dir=DIR
  python run.py --experiment=cifar_zeroshot --config.templates="('a {}.',)"

Its captions are names of classes in templates, such as 'a photo of a frog.'; a class is
the mean of the vectors of its captions. The templates are of those that Radford et
al., 2021, use for CIFAR. Compare with `cifar_cnn`.

Needs: CIFAR-10 (TFDS).
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, losses, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import tokenizers, transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, loss: Literal['sigmoid_contrastive', 'softmax_contrastive'] =
           'softmax_contrastive',
           templates: tuple[str, ...] = (
             'a photo of a {}.', 'a blurry photo of a {}.',
             'a low contrast photo of a {}.', 'a bad photo of a {}.',
             'a good photo of a {}.', 'a photo of a small {}.',
             'a photo of a big {}.'),
           width: int = 128, depth: int = 1, epochs: float = 20, batch_size: int = 64,
           learning_rate: float = 1e-3, weight_decay: float = 5e-2, pixels: int = 3,
           seed: int = 0) -> Experiment:
  cifar, length = data.Tfds('cifar10'), 16
  sigmoid = loss == 'sigmoid_contrastive'

  def captioned(name):
    return data.ClassCaptions(cifar.split(name), tokenizers.WordPiece(400), length,
                              templates)

  return Experiment(
    model=partial(
      models.Clip, width=width, scale=10.0 if sigmoid else 1 / 0.07,
      bias=-10.0 if sigmoid else None,
      image=models.Cnn(num_outputs=width, widths=(64, 128), hidden=(1024,),
                       dropout=0.5),
      encoder=partial(models.Bert, length=length, depth=depth, width=width,
                      heads=max(1, width // 64), unroll=True)),
    task=partial(tasks.zero_shot, loss={
      'sigmoid_contrastive': losses.sigmoid_contrastive,
      'softmax_contrastive': losses.softmax_contrastive}[loss]),
    optimizer=partial(
      optax.adamw, weight_decay=weight_decay, mask=optim.weights,
      learning_rate=partial(schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=captioned('train'), batch_size=batch_size,
      transforms=(transforms.one_caption, transforms.flip,
                  partial(transforms.shift, pixels=pixels), transforms.standardize)),
    evals={'test': data.Batches(source=captioned('test'), batch_size=500,
                                transforms=(transforms.standardize,))},
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.CLIP,
    seed=seed)
