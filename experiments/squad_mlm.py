"""A small BERT that learns to fill in masked words of the contexts of `squad_bert`.

  python run.py --experiment=squad_mlm --data_dir=DIR      # DIR holds squad/
  python run.py --experiment=squad_mlm --config.path=FILE.json

`squad_bert` can then start from it; `bert_mlm` says more. It reads no questions, and no
contexts of the test split.

Needs: SQuAD (--data_dir, files); 15 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

SPECIAL = ('pad', 'unknown', 'class', 'separator', 'mask', 'end')


def config(*, path: str | None = None, test: str | None = None, vocabulary: int = 6000,
           epochs: float = 60, batch_size: int = 16, length: int = 128, depth: int = 2,
           width: int = 128, heads: int = 4, learning_rate: float = 2e-3,
           seed: int = 0) -> Experiment:
  documents = texts.squad() if path is None else texts.QuestionFiles(path, test)
  source = data.Packed(
    documents, tokenizers.WordPiece(vocabulary, special=SPECIAL), length, separate=True)
  return Experiment(
    model=partial(models.MaskedBert, encoder=partial(
      models.Bert, length=256, depth=depth, width=width, heads=heads, types=3,
      unroll=True)),
    task=partial(tasks.masked_token, rate=0.3),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_linear, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={'validation': data.Batches(source=source.split('validation'),
                                      batch_size=64)},
    evaluate_every=Duration(epochs=10),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/loss', goal='min'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
