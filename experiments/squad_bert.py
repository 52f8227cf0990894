"""Answers that are spans of a text: a small BERT on a part of SQuAD, or your questions.

  python run.py --experiment=squad_bert --data_dir=DIR     # DIR holds squad/
  python run.py --experiment=squad_bert --data_dir=DIR --init_from=RUN_OF_SQUAD_MLM

--config.path=FILE.json reads a file of SQuAD's format, --config.path=FILE.csv a table
with the columns context, question and answer; --config.test=FILE is the split 'test'.

Needs: SQuAD (--data_dir, files); 20 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules
from experiments.squad_mlm import SPECIAL


def config(*, path: str | None = None, test: str | None = None, vocabulary: int = 6000,
           epochs: float = 10, batch_size: int = 16, length: int = 256,
           stride: int = 128, question: int = 40, match: bool = True, depth: int = 2,
           width: int = 128, heads: int = 4, learning_rate: float = 5e-4,
           seed: int = 0) -> Experiment:
  documents = texts.squad() if path is None else texts.QuestionFiles(path, test)
  source = data.QuestionWindows(
    documents, tokenizers.WordPiece(vocabulary, special=SPECIAL), length, stride=stride,
    question=question, match=match)
  return Experiment(
    model=partial(models.BertSpans, encoder=partial(
      models.Bert, length=length, depth=depth, width=width, heads=heads, types=3,
      unroll=True)),
    task=tasks.answer_spans,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_linear, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=32)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    log_every=Duration(steps=50),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/f1', goal='max'),
    # Only used with --init_from: the head is initialized.
    init_pattern='encoder/.*',
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
