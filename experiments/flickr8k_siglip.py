"""Finds photographs by captions and captions by photographs (SigLIP) on Flickr8k.

  python run.py --experiment=flickr8k_siglip --data_dir=DIR      # DIR: flickr8k/
  python run.py --experiment=flickr8k_siglip --config.loss=softmax_contrastive   # CLIP
  python run.py --experiment=flickr8k_siglip --config.image=vit
  python run.py --experiment=flickr8k_siglip --config.path=FILE.csv \\
    --config.images=FOLDER

The file has the columns file and caption, a row for each caption, and perhaps split.

Needs: Flickr8k (--data_dir, files).
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, losses, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers, transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, images: str | None = None,
           loss: Literal['sigmoid_contrastive', 'softmax_contrastive'] =
           'sigmoid_contrastive', image: Literal['resnet', 'vit'] = 'resnet',
           size: int = 64, length: int = 24, vocabulary: int = 4000, width: int = 256,
           channels: int = 32, depth: int = 2, epochs: float = 30,
           batch_size: int = 256, learning_rate: float = 1e-3, dropout: float = 0.1,
           weight_decay: float = 0.1, seed: int = 0) -> Experiment:
  documents = texts.flickr8k() if path is None else texts.CaptionFile(
    path, images or '.')
  source = data.CaptionedImages(
    documents, tokenizers.WordPiece(vocabulary), length, size)
  sigmoid = loss == 'sigmoid_contrastive'
  heads = max(1, width // 64)
  return Experiment(
    model=partial(
      models.Clip, width=width, scale=10.0 if sigmoid else 1 / 0.07,
      bias=-10.0 if sigmoid else None,
      image=partial(models.ResNet, num_outputs=None, depth=18, width=channels)
      if image == 'resnet' else partial(
        models.Vit, num_outputs=None, size=size, patch=size // 8, depth=3 * depth,
        width=width, heads=heads, pooling='mean', dropout=dropout, unroll=True),
      encoder=partial(models.Bert, length=length, depth=depth, width=width, heads=heads,
                      dropout=dropout, attention_dropout=dropout, unroll=True)),
    task=partial(tasks.image_text, loss={
      'sigmoid_contrastive': losses.sigmoid_contrastive,
      'softmax_contrastive': losses.softmax_contrastive}[loss]),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=weight_decay, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(
      source=source.split('train'), batch_size=batch_size,
      transforms=(transforms.one_caption, transforms.flip,
                  partial(transforms.shift, pixels=max(1, size // 12),
                          padding='reflect'),
                  partial(transforms.colour, brightness=0.3, contrast=0.3),
                  transforms.standardize)),
    evals={name: data.Batches(source=source.split(name), batch_size=250,
                              transforms=(transforms.standardize,))
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=2),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/image_to_text_r@10', goal='max'),
    rules=sharding_rules.CLIP,
    seed=seed)
