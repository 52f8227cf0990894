"""A photograph in the style of a painting, by the method of Gatys et al.

  python run.py --experiment=cifar_vgg --data_dir=DIR --workdir=runs/vgg
  python run.py --experiment=style_gatys --data_dir=DIR --init_from=runs/vgg \\
    --config.photographs=photo.jpg --config.style=painting.jpg

The parameters are the picture. The features are those of `cifar_vgg`; of a run with
another --config.model.width, give that as --config.model.features.width. With
--config.features=vgg19 --init_from=vgg19.safetensors they are those of torchvision's
VGG-19, trained on ImageNet, which published results have. Without --init_from they are
random. Several photographs, such as a folder, become as many pictures.

Needs: a photograph and a painting; a run of `cifar_vgg`, or weights of VGG-19.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, photographs: str | tuple[str, ...] = 'sr/set5/butterfly.png',
           style: str = 'style/paintings/starry_night.jpg',
           size: int | tuple[int, int] = 256, style_size: int | tuple[int, int] = 256,
           start: Literal['photograph', 'noise'] = 'photograph',
           features: Literal['cifar_vgg', 'vgg19'] = 'cifar_vgg',
           style_weight: float = 100.0, variation_weight: float = 1.0,
           steps: int = 500, learning_rate: float = 0.02, seed: int = 0) -> Experiment:
  pictures = data.Batches(
    source=data.StylePairs(photographs, style, size, style_size), batch_size=None)
  return Experiment(
    model=partial(
      models.StyleTransfer, network=partial(models.Pictures, start=start), features={
        'cifar_vgg': models.CifarVggFeatures, 'vgg19': models.Vgg19Features}[features]),
    task=partial(tasks.style_transfer, style_weight=style_weight,
                 variation_weight=variation_weight),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.02)),
    train=pictures,
    evals={'train_pictures': pictures},
    evaluate_every=Duration(steps=max(1, steps // 5)),
    log_every=Duration(steps=10),
    duration=Duration(steps=steps),
    init_pattern='features/.*',
    freeze='features/.*',
    precision='float32',  # in bfloat16 a picture would have some 7 bits
    rules=sharding_rules.STYLE_TRANSFER,
    seed=seed)
