"""Writes captions of photographs: a residual network and a Transformer on Flickr8k.

  python run.py --experiment=flickr8k_caption --data_dir=DIR     # DIR: flickr8k/
  python run.py --experiment=flickr8k_caption --config.path=FILE.csv \\
    --config.images=FOLDER

The file has the columns file and caption, a row for each caption, and perhaps split.

Needs: Flickr8k (--data_dir, files).
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers, transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, images: str | None = None, size: int = 64,
           length: int = 24, vocabulary: int = 3000, width: int = 256,
           channels: int = 32, depth: int = 2, epochs: float = 30,
           batch_size: int = 128, beams: int = 3, dropout: float = 0.2,
           learning_rate: float = 1e-3, seed: int = 0) -> Experiment:
  documents = texts.flickr8k() if path is None else texts.CaptionFile(
    path, images or '.')
  source = data.CaptionedImages(
    documents, tokenizers.Bpe(vocabulary, special=('pad', 'begin', 'end')), length,
    size)
  return Experiment(
    model=partial(
      models.Captioner, depth=depth, width=width, heads=max(1, width // 64),
      dropout=dropout, unroll=True,
      image=models.ResNet(num_outputs=None, depth=18, width=channels)),
    task=partial(tasks.captioning, beams=beams),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.05, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(
      source=source.split('train'), batch_size=batch_size,
      transforms=(transforms.one_caption, transforms.flip,
                  partial(transforms.shift, pixels=max(1, size // 12),
                          padding='reflect'),
                  partial(transforms.colour, brightness=0.3, contrast=0.3),
                  transforms.standardize)),
    evals={name: data.Batches(source=source.split(name), batch_size=50,
                              transforms=(transforms.standardize,))
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=4),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/bleu_4', goal='max'),
    rules=sharding_rules.CAPTIONER,
    seed=seed)
