"""A small Transformer that translates image captions from English into German.

  python run.py --experiment=translate_en_de --data_dir=DIR     # DIR holds multi30k/
  python run.py --mode=sample --workdir=runs/... --prompt="A dog runs." --beams=4

Needs: Multi30k (--data_dir, files); 47 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, vocabulary: int = 4000, epochs: float = 12, batch_size: int = 16,
           width: int = 256, depth: int = 2, hidden: int = 512, heads: int = 4,
           dropout: float = 0.2, learning_rate: float = 1e-3,
           seed: int = 0) -> Experiment:
  pairs = data.Translations(
    texts.multi30k(), tokenizers.Bpe(vocabulary, special=('pad', 'begin', 'end')),
    length=48, packed=96)
  return Experiment(
    model=partial(models.Transformer, width=width, depth=depth, hidden=hidden,
                  heads=heads, dropout=dropout, norm_first=True, unroll=True),
    task=tasks.translation,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(source=pairs.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=pairs.split(name), batch_size=125)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=3),
    log_every=Duration(steps=50),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/bleu', goal='max'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
