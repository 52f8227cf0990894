"""A small BERT that learns to fill in masked words in movie reviews or any text.

  python run.py --experiment=bert_mlm --data_dir=DIR      # DIR holds sst2/
  python run.py --experiment=bert_mlm --config.path=FILE_OR_FOLDER

`sst2_bert` can then start from it. Without a path it reads the same sentences that are
classified later, which helps (Krishna et al., *Downstream datasets make surprisingly
good pretraining corpora*, 2022). It masks 30 % of a text, twice as much as BERT, and
learns more from each step (Wettig et al., *Should you mask 15% in masked language
modeling?*, 2023, found 40 % better for BERT large).

Needs: SST-2 (--data_dir, files), or any text; 6 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

SPECIAL = ('pad', 'class', 'separator', 'mask', 'end')


def config(*, path: str | None = None, vocabulary: int = 4000, epochs: float = 60,
           batch_size: int = 32, length: int = 64, depth: int = 2, width: int = 128,
           heads: int = 4, learning_rate: float = 2e-3, seed: int = 0) -> Experiment:
  documents = texts.sst2() if path is None else texts.TextFiles(path)
  source = data.Packed(
    documents, tokenizers.Bpe(vocabulary, special=SPECIAL), length, separate=True)
  return Experiment(
    model=partial(models.MaskedBert, encoder=partial(
      models.Bert, length=length, depth=depth, width=width, heads=heads, unroll=True)),
    task=partial(tasks.masked_token, rate=0.3),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_linear, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={'validation': data.Batches(source=source.split('validation'),
                                      batch_size=128)},
    evaluate_every=Duration(epochs=10),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/loss', goal='min'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
